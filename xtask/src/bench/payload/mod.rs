//! The update payload beside what else carries images: bytes, processor time and memory, to make and to apply.
//!
//! Every tool gets the same two files, and its output is compared with the new one byte for byte.

mod pair;
mod peers;
mod sizes;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::evidence::{Evidence, Figure, Goal, Publication, number};
use crate::measure::{self, Usage};
use crate::phase::Phases;
use crate::workspace;
use pair::Pair;
use peers::Cost;

/// Levels of our own tool: what a release gets for every base, and what it gets for the last ones.
const QUICK: &str = "3";
const BEST: &str = "19";

/// Bytes of output that the goal for applying is about.
const APPLY_GOAL_BYTES: f64 = 508e6;

/// What to measure.
#[derive(Args)]
pub(crate) struct Payload {
    /// Run the other tools too: some need minutes for one pair
    #[arg(long)]
    peers: bool,
    /// The pairs to measure
    #[arg(long = "pair", value_name = "PAIR", value_delimiter = ',', default_value = "server")]
    pairs: Vec<Pair>,
    /// The full payload at the best level, too: minutes
    #[arg(long)]
    full: bool,
    /// Apply to images of 0.5, 1 and 4 GiB, too: 9 GB of disk, minutes
    #[arg(long)]
    sizes: bool,
    /// How often what takes seconds is repeated; what takes minutes runs once
    #[arg(long, default_value_t = 3, value_name = "N")]
    runs: usize,
    #[command(flatten)]
    publication: Publication,
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

    fn new_size(&self) -> Result<u64> {
        Self::size(&self.new)
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
        let tool = tool(phases)?;
        let mut evidence = Evidence::new("bench payload");
        for pair in &self.pairs {
            let images = pair.images(phases)?;
            self.roots(&tool, *pair, &images.root, &mut evidence)?;
            if let Some(kernel) = &images.kernel {
                let ours = delta(&tool, kernel, BEST, 1)?;
                let name = format!("payload.{pair}.kernel.delta");
                evidence.add(Figure::count(name, ours.bytes, "B"));
            }
            if self.full {
                full(&tool, *pair, &images.root, self.peers, &mut evidence)?;
            }
            if self.sizes {
                sizes::run(&tool, &images.root, &mut evidence)?;
            }
        }
        evidence.publish(&self.publication)
    }

    fn roots(&self, tool: &Path, pair: Pair, files: &Files, evidence: &mut Evidence) -> Result<()> {
        let quick = delta(tool, files, QUICK, self.runs)?;
        say(pair, "ours, quick", &quick);
        let best = delta(tool, files, BEST, 1)?;
        say(pair, "ours, best", &best);
        let root = format!("payload.{pair}.root.delta");
        evidence.add(Figure::count(format!("{root}.quick"), quick.bytes, "B"));
        let found: Vec<_> = if self.peers {
            peers::ALL
                .iter()
                .map(|peer| {
                    let cost = peer.run(files);
                    match &cost {
                        Ok(cost) => say(pair, peer.name, cost),
                        Err(error) => eprintln!("{pair}: {}: {error:#}", peer.name),
                    }
                    (peer, cost)
                })
                .collect()
        } else {
            Vec::new()
        };
        if found.is_empty() {
            evidence.add(Figure::count(&root, best.bytes, "B"));
        }
        for (peer, cost) in &found {
            let figure = Figure::count(&root, best.bytes, "B");
            let figure = compare(figure, peer.name, cost, |cost| Some(number(cost.bytes)));
            evidence.add(match peer.goal {
                Some(goal) => figure.goal(Goal::RatioAtMost(goal)),
                None => figure,
            });
        }
        let seconds = |usage: &Usage| usage.cpu.as_secs_f64();
        let memory = |usage: &Usage| number(usage.peak_memory);
        let make = format!("payload.{pair}.make");
        let is_server = pair == Pair::Server;
        let goal = |figure: Figure, bound| {
            if is_server {
                figure.goal(Goal::AtMost(bound))
            } else {
                figure
            }
        };
        evidence.add(goal(
            Figure::new(format!("{make}.quick.cpu"), seconds(&quick.make), "s"),
            12.0,
        ));
        evidence.add(goal(
            Figure::new(format!("{make}.best.cpu"), seconds(&best.make), "s"),
            120.0,
        ));
        evidence.add(Figure::new(format!("{make}.peak_memory"), memory(&best.make), "B").goal(Goal::AtMost(2e9)));
        let apply = best.apply.context("ours applies")?;
        let bound = number(files.new_size()?) / APPLY_GOAL_BYTES;
        let name = format!("payload.{pair}.apply.cpu");
        evidence.add(goal(Figure::new(&name, seconds(&apply), "s"), bound));
        for (peer, cost) in &found {
            for (what, ours, unit) in [
                ("cpu", seconds(&best.make), "s"),
                ("peak_memory", memory(&best.make), "B"),
            ] {
                let figure = Figure::new(format!("{make}.best.{what}"), ours, unit);
                evidence.add(compare(figure, peer.name, cost, |cost| Some(pick(what, &cost.make))));
            }
            for (what, ours, unit) in [("cpu", seconds(&apply), "s"), ("peak_memory", memory(&apply), "B")] {
                let figure = Figure::new(format!("payload.{pair}.apply.{what}"), ours, unit);
                evidence.add(compare(figure, peer.name, cost, |cost| {
                    cost.apply.as_ref().map(|usage| pick(what, usage))
                }));
            }
        }
        Ok(())
    }
}

fn pick(what: &str, usage: &Usage) -> f64 {
    match what {
        "cpu" => usage.cpu.as_secs_f64(),
        _ => number(usage.peak_memory),
    }
}

fn compare(figure: Figure, name: &str, cost: &Result<Cost>, value: impl Fn(&Cost) -> Option<f64>) -> Figure {
    match cost {
        Ok(cost) => match value(cost) {
            Some(value) => figure.against(name, value),
            None => figure.without(name, "only its bytes are counted here"),
        },
        Err(error) => figure.without(name, format!("{error:#}")),
    }
}

fn say(pair: Pair, tool: &str, cost: &Cost) {
    let usage = |usage: &Usage| {
        format!(
            "{:.2} CPU s, {} MB",
            usage.cpu.as_secs_f64(),
            usage.peak_memory / 1_000_000
        )
    };
    let apply = cost.apply.as_ref().map_or_else(|| "not run".to_owned(), usage);
    eprintln!(
        "{pair}: {tool}: {} bytes; make {}; apply {apply}",
        cost.bytes,
        usage(&cost.make)
    );
}

/// Our own tool, as it is released.
fn tool(phases: &mut Phases) -> Result<PathBuf> {
    phases.run(
        "build the payload tool",
        Command::new(workspace::cargo()).args([
            "build",
            "--release",
            "--locked",
            "-p",
            "twinhull-payload",
            "--example",
            "payload",
        ]),
    )?;
    let tool = workspace::target().join("release/examples/payload");
    tool.canonicalize()
        .with_context(|| format!("there is no {}", tool.display()))
}

/// A delta of ours, made and applied. Applying includes the verity tree and the flush.
fn delta(tool: &Path, files: &Files, level: &str, runs: usize) -> Result<Cost> {
    let folder = files.fresh("ours")?;
    let (payload, output) = (folder.join("delta"), folder.join("output"));
    let make = measure::median(runs, || {
        let mut command = quiet(tool);
        command
            .args(["make", level])
            .arg(&files.new)
            .arg(&payload)
            .arg(&files.old);
        Ok(command)
    })?;
    let apply = applied(tool, files, &payload, &output, Some(&files.old))?;
    Ok(Cost {
        bytes: Files::size(&payload)?,
        make,
        apply: Some(apply),
    })
}

/// Applies `payload` three times to a file that is not there, and compares the last output.
fn applied(tool: &Path, files: &Files, payload: &Path, output: &Path, base: Option<&Path>) -> Result<Usage> {
    let apply = measure::median(3, || {
        if output.exists() {
            fs::remove_file(output).with_context(|| format!("cannot remove {}", output.display()))?;
        }
        let mut command = quiet(tool);
        command.arg("apply").arg(payload).arg(output).args(base);
        Ok(command)
    })?;
    files.compare("ours", output)?;
    Ok(apply)
}

/// A full payload, and what zstd makes of the same image with a window of 128 MiB.
fn full(tool: &Path, pair: Pair, files: &Files, peers: bool, evidence: &mut Evidence) -> Result<()> {
    let folder = files.fresh("full")?;
    let (payload, output) = (folder.join("full"), folder.join("output"));
    let mut command = quiet(tool);
    let make = measure::run(command.args(["make", BEST]).arg(&files.new).arg(&payload))?;
    let apply = applied(tool, files, &payload, &output, None)?;
    let cost = Cost {
        bytes: Files::size(&payload)?,
        make,
        apply: Some(apply),
    };
    say(pair, "ours, full", &cost);
    let name = "zstd -19 --long=27";
    let figure = Figure::count(format!("payload.{pair}.full"), cost.bytes, "B").goal(Goal::RatioAtMost(1.05));
    evidence.add(if peers {
        compare(figure, name, &peers::whole(files), |cost| Some(number(cost.bytes)))
    } else {
        figure.without(name, "run with --peers")
    });
    evidence.add(Figure::new(
        format!("payload.{pair}.full.make.cpu"),
        cost.make.cpu.as_secs_f64(),
        "s",
    ));
    evidence.add(Figure::new(
        format!("payload.{pair}.full.apply.peak_memory"),
        number(apply.peak_memory),
        "B",
    ));
    Ok(())
}

/// `program`, whose words are of no interest.
fn quiet(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null());
    command
}
