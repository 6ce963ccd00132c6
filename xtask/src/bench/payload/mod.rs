//! The update payload beside what else carries images: bytes, processor time and memory, to make and to apply.
//!
//! Every tool gets the same two files, and its output is compared with the new one byte for byte.

mod ours;
mod pair;
mod peers;
mod rows;
mod sizes;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::evidence::{Evidence, Publication};
use crate::measure;
use crate::phase::Phases;
use ours::{BEST, QUICK, Tool};
use pair::Pair;
use rows::{Outcome, say};

/// What to measure.
#[derive(Args)]
pub(crate) struct Payload {
    /// Run the other tools too: some need minutes for one pair
    #[arg(long)]
    peers: bool,
    /// The pairs to measure
    #[arg(long = "pair", value_name = "PAIR", value_delimiter = ',', default_value = "server")]
    pairs: Vec<Pair>,
    /// Instead of the deltas
    #[arg(long, value_name = "WHAT")]
    only: Option<Only>,
    /// How often what takes seconds is repeated; what takes minutes runs once
    #[arg(long, default_value_t = 3, value_name = "N")]
    runs: usize,
    #[command(flatten)]
    publication: Publication,
}

/// What is measured apart from the deltas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Only {
    /// Nothing: the images of the pairs are made
    Images,
    /// The full payload of the newer root, at the best level: minutes
    Full,
    /// Updates of the agent to images of 0.5, 1 and 4 GiB: 14 GB of disk, minutes
    Sizes,
}

/// Two images, and a folder for what is made of them.
struct Files {
    old: PathBuf,
    new: PathBuf,
    scratch: PathBuf,
}

impl Files {
    fn size(path: &Path) -> Result<u64> {
        let read = fs::metadata(path).with_context(|| format!("cannot read the size of {}", path.display()))?;
        Ok(read.len())
    }

    /// An empty folder `name` in the scratch folder.
    fn fresh(&self, name: &str) -> Result<PathBuf> {
        let folder = self.scratch.join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        folder
            .canonicalize()
            .with_context(|| format!("there is no {}", folder.display()))
    }

    /// Fails if `output` is not the new image.
    fn compare(&self, tool: &str, output: &Path) -> Result<()> {
        let same = Command::new("cmp").arg("--quiet").arg(&self.new).arg(output).status();
        if !same.context("cannot start cmp")?.success() {
            bail!("{tool}: {} is not {}", output.display(), self.new.display());
        }
        Ok(())
    }
}

impl Payload {
    pub(crate) fn run(self, phases: &mut Phases) -> Result<()> {
        let mut evidence = Evidence::new(if self.peers {
            "bench payload --peers"
        } else {
            "bench payload"
        });
        if self.only == Some(Only::Sizes) {
            sizes::run(phases, &mut evidence)?;
            return evidence.publish(&self.publication);
        }
        let tool = Tool::build(phases)?;
        for pair in self.pairs.iter().copied() {
            let images = pair.images(phases)?;
            match self.only {
                Some(Only::Images) => continue,
                Some(Only::Full) => self.full(&tool, pair, &images.root, &mut evidence)?,
                _ => {
                    // The small one first: what is wrong with a tool shows at once.
                    let uki = self.outcome(&tool, pair, "uki", &images.uki)?;
                    let root = self.outcome(&tool, pair, "root", &images.root)?;
                    rows::bytes(pair, &root, &uki, &mut evidence);
                    rows::costs(pair, &root, &mut evidence);
                }
            }
            remove_scratch(&images.root.scratch)?;
        }
        evidence.publish(&self.publication)
    }

    /// Runs all tools over one image of a pair.
    fn outcome(&self, tool: &Tool, pair: Pair, image: &str, files: &Files) -> Result<Outcome> {
        let shown = |name: &str, cost: Result<peers::Cost>| {
            say(pair, image, name, &cost);
            cost
        };
        let quick = shown("ours, quick", tool.payload(files, true, QUICK, self.runs, self.runs))?;
        let best = shown("ours, best", tool.payload(files, true, BEST, 1, self.runs))?;
        let peers = if self.peers { peers::ALL } else { &[] };
        let peers = peers
            .iter()
            .map(|peer| (peer, shown(peer.name, peer.run(files))))
            .collect();
        Ok(Outcome {
            size: Files::size(&files.new)?,
            quick,
            best,
            peers,
        })
    }

    /// A full payload, and what zstd makes of the same image with a window of 128 MiB.
    fn full(&self, tool: &Tool, pair: Pair, files: &Files, evidence: &mut Evidence) -> Result<()> {
        let ours = tool.payload(files, false, BEST, 1, self.runs);
        say(pair, "root", "ours, full", &ours);
        let peer = self.peers.then(|| peers::whole(files));
        let name = "zstd -19 --long=27";
        if let Some(cost) = &peer {
            say(pair, "root", name, cost);
        }
        rows::full(pair, &ours?, peer.as_ref().map(|cost| (name, cost)), evidence);
        Ok(())
    }
}

fn remove_scratch(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

/// `program` to be measured, whose words are of no interest.
fn quiet(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = measure::program(program);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}
