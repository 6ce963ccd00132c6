//! Builds of images: processor time, memory and disk, beside mkosi with the same packages, overlays and partitions.
//!
//! Both sides have their packages before anything is measured, and fetch nothing any more. A *cold* build has them and nothing else; then
//! one file of an overlay changes; then nothing does.

mod content;
mod disk;
mod mkosi;
mod ours;

use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::bench::mkosi_host;
use crate::evidence::{Evidence, Figure, Goal, Publication, number};
use crate::measure;
use crate::phase::Phases;
use crate::workspace;
use content::Place;
use mkosi::Mkosi;
use ours::Ours;

/// Our processor time over the peer's.
const COLD_GOAL: f64 = 0.75;
const OVERLAY_GOAL: f64 = 0.15;

/// Seconds for a build that has nothing to do.
const UNCHANGED_GOAL: f64 = 1.0;

/// What a build may hold, over the image without its holes; the package files come on top.
const DISK_GOAL: f64 = 1.5;

/// Bytes of a kernel image with its initramfs.
const UKI_GOAL: f64 = 20e6;

/// Bytes of the root of the smallest role.
const MINIMAL_GOAL: f64 = 268_435_456.0;

/// What to measure.
#[derive(Args)]
pub(crate) struct Build {
    /// Run mkosi too, in a tree of Debian 13 that is made for it: 1 GB of disk, minutes
    #[arg(long)]
    peer: bool,
    /// How often each kind of build is run; the median counts
    #[arg(long, default_value_t = 3, value_name = "N")]
    runs: usize,
    #[command(flatten)]
    publication: Publication,
}

/// What a build finds when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    /// The package files.
    Cold,
    /// All that an earlier build left, and one file of an overlay that is another.
    Overlay,
    /// All that an earlier build left.
    Unchanged,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cold => "cold",
            Self::Overlay => "overlay",
            Self::Unchanged => "unchanged",
        })
    }
}

/// What one build needed.
#[derive(Debug, Clone, Copy)]
struct Cost {
    cpu: Duration,
    wall: Duration,
    /// Bytes.
    memory: u64,
    /// Bytes, the package files included.
    disk: u64,
}

/// The builds of one kind.
#[derive(Debug, Default)]
struct Runs(Vec<Cost>);

impl Runs {
    fn add(&mut self, who: &str, case: Case, cost: Cost) {
        println!(
            "{who}, {case}: {:.1} CPU s, {:.1} s, {} MB of memory, {} MB of disk",
            cost.cpu.as_secs_f64(),
            cost.wall.as_secs_f64(),
            cost.memory / 1_000_000,
            cost.disk / 1_000_000
        );
        self.0.push(cost);
    }

    fn median<T: Ord>(&self, of: impl Fn(&Cost) -> T) -> T {
        let mut values: Vec<T> = self.0.iter().map(of).collect();
        values.sort_unstable();
        values.swap_remove(values.len() / 2)
    }

    fn cpu(&self) -> f64 {
        self.median(|cost| cost.cpu).as_secs_f64()
    }
}

/// The builds of one side.
#[derive(Debug, Default)]
struct Side {
    cold: Runs,
    overlay: Runs,
    unchanged: Runs,
}

impl Side {
    fn runs(&mut self, case: Case) -> &mut Runs {
        match case {
            Case::Cold => &mut self.cold,
            Case::Overlay => &mut self.overlay,
            Case::Unchanged => &mut self.unchanged,
        }
    }
}

impl Build {
    pub(crate) fn run(&self, phases: &mut Phases) -> Result<()> {
        ensure!(self.runs > 0, "--runs 0 measures nothing");
        let place = Place::new(std::path::absolute(workspace::work().join("bench/build"))?)?;
        let ours = Ours::prepare(phases, &place)?;
        // A peer that cannot be had is named in every row that it should stand in.
        let peer = self.peer.then(|| Mkosi::prepare(phases, &place));
        let (mut left, mut right) = (Side::default(), Side::default());
        for case in [Case::Cold, Case::Overlay, Case::Unchanged] {
            if case == Case::Overlay
                && let Some(Ok(peer)) = &peer
            {
                peer.warm(phases)?;
            }
            for round in 0..self.runs {
                if case == Case::Overlay {
                    place.change(&format!("round {round}"))?;
                }
                left.runs(case).add("twinhull", case, ours.run(case)?);
                if let Some(Ok(peer)) = &peer {
                    right.runs(case).add(mkosi_host::NAME, case, peer.run(case)?);
                }
            }
        }
        let mut evidence = Evidence::new(if self.peer { "bench build --peer" } else { "bench build" });
        let table = Table {
            peer: match &peer {
                None => Beside::Nobody,
                Some(Ok(peer)) => Beside::Peer(peer.version()?, &right),
                Some(Err(why)) => Beside::Missing(format!("{why:#}")),
            },
        };
        table.times(&left, &mut evidence);
        let peer = peer.and_then(Result::ok);
        let of_peer = |of: fn(&Mkosi) -> Result<u64>| peer.as_ref().map(of).transpose();
        evidence.add(table.beside(
            Figure::count("build.uki.x86_64", ours.kernel_image()?, "B").goal(Goal::AtMost(UKI_GOAL)),
            of_peer(Mkosi::kernel_image)?,
        ));
        evidence.add(table.beside(Figure::count("build.image", ours.image()?, "B"), of_peer(Mkosi::image)?));
        evidence.add(table.beside(
            Figure::count("build.packages", ours.packages()?, "B"),
            of_peer(Mkosi::packages)?,
        ));
        let bound = DISK_GOAL * number(ours.image()?) + number(ours.packages()?);
        evidence.add(table.beside(
            Figure::count("build.peak_disk", left.cold.median(|cost| cost.disk), "B").goal(Goal::AtMost(bound)),
            peer.as_ref().map(|_| right.cold.median(|cost| cost.disk)),
        ));
        let minimal = ours.minimal_root(phases)?;
        evidence.add(Figure::count("build.minimal.root", minimal, "B").goal(Goal::AtMost(MINIMAL_GOAL)));
        evidence.publish(&self.publication)
    }
}

/// What stands beside our figures.
enum Beside<'a> {
    Nobody,
    /// Its name, and what it needed.
    Peer(String, &'a Side),
    /// Why not.
    Missing(String),
}

/// From builds to rows.
struct Table<'a> {
    peer: Beside<'a>,
}

impl Table<'_> {
    fn beside(&self, figure: Figure, value: Option<u64>) -> Figure {
        self.beside_number(figure, value.map(number))
    }

    fn beside_number(&self, figure: Figure, value: Option<f64>) -> Figure {
        match (&self.peer, value) {
            (Beside::Peer(name, _), Some(value)) => figure.against(name, value),
            (Beside::Missing(why), _) => figure.without(mkosi_host::NAME, why),
            _ => figure,
        }
    }

    fn times(&self, left: &Side, evidence: &mut Evidence) {
        let right = match &self.peer {
            Beside::Peer(_, right) => Some(*right),
            _ => None,
        };
        let seconds =
            |name: &str, of: &dyn Fn(&Side) -> f64| self.beside_number(Figure::new(name, of(left), "s"), right.map(of));
        evidence.add(seconds("build.cold.cpu", &|side| side.cold.cpu()).goal(Goal::RatioAtMost(COLD_GOAL)));
        evidence.add(seconds("build.overlay.cpu", &|side| side.overlay.cpu()).goal(Goal::RatioAtMost(OVERLAY_GOAL)));
        evidence.add(seconds("build.unchanged.cpu", &|side| side.unchanged.cpu()).goal(Goal::AtMost(UNCHANGED_GOAL)));
        let wall = |side: &Side| side.unchanged.median(|cost| cost.wall).as_secs_f64();
        evidence.add(seconds("build.unchanged.wall", &wall).goal(Goal::AtMost(UNCHANGED_GOAL)));
        let memory = |side: &Side| side.cold.median(|cost| cost.memory);
        evidence.add(self.beside(Figure::count("build.peak_memory", memory(left), "B"), right.map(memory)));
    }
}

/// Runs `command` and says what it needed; `folders` are where it writes.
fn measured(command: &Command, folders: &[PathBuf]) -> Result<Cost> {
    let log = tempfile::tempfile().context("cannot make a file for what is said")?;
    let share = || log.try_clone().context("cannot share a log between two streams");
    let mut launched = measure::program(command.get_program());
    launched
        .args(command.get_args())
        .stdin(Stdio::null())
        .stdout(share()?)
        .stderr(share()?);
    let (usage, disk) = disk::peak_during(folders, || {
        measure::run(&mut launched).with_context(|| format!("it said: {}", said(&log)))
    })?;
    Ok(Cost {
        cpu: usage.cpu,
        wall: usage.wall,
        memory: usage.peak_memory,
        disk,
    })
}

/// The end of what a program said.
fn said(mut log: &std::fs::File) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let mut text = String::new();
    let read = log.seek(SeekFrom::Start(0)).and_then(|_| log.read_to_string(&mut text));
    let lines: Vec<&str> = text.lines().collect();
    match read {
        Ok(_) => lines[lines.len().saturating_sub(8)..].join("\n"),
        Err(error) => error.to_string(),
    }
}

fn quietly(command: &mut Command) -> Result<()> {
    let name = command.get_program().display().to_string();
    let status = command.status().with_context(|| format!("cannot start {name}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_has_a_median_of_its_own() {
        let cost = |cpu: u64, disk: u64| Cost {
            cpu: Duration::from_secs(cpu),
            wall: Duration::ZERO,
            memory: 0,
            disk,
        };
        let runs = Runs(vec![cost(9, 1), cost(1, 2), cost(5, 3)]);
        assert!((runs.cpu() - 5.0).abs() < f64::EPSILON);
        assert_eq!(runs.median(|cost| cost.disk), 2);
    }
}
