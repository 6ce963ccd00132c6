//! Runs scenarios side by side, the long ones first, as far as memory allows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::{JoinSet, LocalSet};
use twinhull_layout::Arch;

use super::file::{self, Written};
use super::seats::Seats;
use super::stage::{HOST_MIB, OVERHEAD, Stage, Theatre, version};
use super::{Scenario, Script, Work};
use crate::accelerator::Choice;
use crate::artefacts::Artefacts;
use crate::error::{Error, Result};
use crate::report::Outcome;
use crate::steps::Board;
use crate::tools;

/// What is left to everything else on the host, in MiB.
const SPARE: u32 = 512;

/// How to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder of artefacts.
    pub artefacts: Artefacts,
    /// How to run processors.
    pub accelerator: Choice,
    /// How many machines at once, at least one; a scenario that has more runs alone.
    pub jobs: usize,
    /// Whether the machines' disks stay.
    pub keep: bool,
    /// How many of the states that a power cut can leave are booted for real.
    pub power_cuts: u16,
}

/// What came of a run.
#[derive(Debug)]
pub struct Ran {
    /// One for each scenario, in the order asked for.
    pub outcomes: Vec<Outcome>,
    /// Where the logs are.
    pub logs: PathBuf,
    /// Where the disks are, if they were to stay.
    pub disks: Option<PathBuf>,
}

/// A scenario that is ready to run, wherever it was written.
pub struct Piece {
    name: String,
    about: String,
    archs: BTreeSet<Arch>,
    machines: u32,
    memory_mib: u32,
    boots: u32,
    play: Box<dyn Fn(Rc<Stage>) -> Work>,
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Piece")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Piece {
    /// One of ours. What it needs of `artefacts` is looked for now, since that is better said before than in the middle.
    pub fn ours(scenario: &'static Scenario, artefacts: &Artefacts) -> Result<Self> {
        for text in scenario.images {
            artefacts.image(&version(text)?)?;
        }
        artefacts.program("twinhull")?;
        artefacts.program("twinhull-lock")?;
        for tool in scenario.tools {
            tools::program(tool)?;
        }
        let piece = match scenario.script {
            Script::File(_) => Self::written(scenario.written()?, None, artefacts)?,
            Script::Rust(work) => Self {
                name: String::new(),
                about: String::new(),
                archs: BTreeSet::from([artefacts.arch()]),
                machines: 1,
                memory_mib: HOST_MIB,
                boots: 0,
                play: Box::new(work),
            },
        };
        Ok(Self {
            name: scenario.name.to_owned(),
            about: scenario.about.to_owned(),
            boots: scenario.boots,
            ..piece
        })
    }

    /// One that somebody wrote in a file, with the image of the machines that name none. What it needs is looked for now.
    pub fn written(written: Written, image: Option<PathBuf>, artefacts: &Artefacts) -> Result<Self> {
        written.look_for_needs(artefacts, image.as_deref())?;
        let machines = u32::try_from(written.archs().count()).unwrap_or(u32::MAX);
        let written = Rc::new(written);
        Ok(Self {
            name: written.name.clone(),
            about: written.about.clone(),
            archs: written.archs().map(|arch| arch.unwrap_or(artefacts.arch())).collect(),
            machines,
            memory_mib: written.memory_mib().saturating_add(machines.saturating_mul(OVERHEAD)),
            boots: written.boots(),
            play: Box::new(move |stage| Box::pin(file::play(stage, Rc::clone(&written), image.clone()))),
        })
    }
}

/// Runs `pieces`; an error means that none could be tried.
///
/// To be called on a runtime of one thread (see [`crate::process::Process`]).
pub async fn run(pieces: Vec<Piece>, options: Options, board: Board) -> Result<Ran> {
    let order: Vec<_> = pieces.iter().map(|piece| piece.name.clone()).collect();
    if let Some(name) = order
        .iter()
        .enumerate()
        .find_map(|(at, name)| order[..at].contains(name).then_some(name))
    {
        return Err(Error::Usage(format!(
            "two scenarios are called {name}: their logs have one place"
        )));
    }
    let memory = available_mib().unwrap_or(u32::MAX).saturating_sub(SPARE);
    if let Some(piece) = pieces.iter().find(|piece| piece.memory_mib > memory) {
        return Err(Error::Memory {
            scenario: piece.name.clone(),
            needed: piece.memory_mib,
            there: memory,
        });
    }
    let archs: BTreeSet<_> = pieces.iter().flat_map(|piece| piece.archs.iter().copied()).collect();
    let theatre = Rc::new(Theatre::open(&options, archs, Seats::new(options.jobs, memory), &board).await?);
    let mut by_length = pieces;
    by_length.sort_by_key(|piece| std::cmp::Reverse(piece.boots));
    let mut outcomes = LocalSet::new()
        .run_until(async {
            let mut running = JoinSet::new();
            for piece in by_length {
                // In this order, since whoever asked first is served first.
                let (theatre, board) = (Rc::clone(&theatre), board.clone());
                running.spawn_local(async move {
                    let _seat = theatre.seats().take(piece.machines, piece.memory_mib).await;
                    one(&piece, &theatre, &board).await
                });
            }
            running.join_all().await
        })
        .await;
    outcomes.sort_by_key(|outcome| order.iter().position(|name| *name == outcome.name));
    let logs = theatre.logs().to_owned();
    let disks = Rc::try_unwrap(theatre)
        .ok()
        .filter(|_| options.keep)
        .map(Theatre::keep_disks);
    Ok(Ran { outcomes, logs, disks })
}

/// What the kernel says can be had without swapping, in MiB.
fn available_mib() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().split(' ').next()?.parse().ok()?;
    u32::try_from(kib >> 10).ok()
}

async fn one(piece: &Piece, theatre: &Rc<Theatre>, board: &Board) -> Outcome {
    let outcome = |taken, steps, counts, failure, logs| Outcome {
        name: piece.name.clone(),
        about: piece.about.clone(),
        taken,
        steps,
        counts,
        failure,
        logs,
    };
    let stage = match Stage::open(Rc::clone(theatre), &piece.name, board) {
        Ok(stage) => Rc::new(stage),
        Err(error) => {
            let failure = Some(error.to_string());
            return outcome(Duration::ZERO, Vec::new(), BTreeMap::new(), failure, PathBuf::new());
        }
    };
    let result = (piece.play)(Rc::clone(&stage)).await;
    let taken = stage.steps().elapsed();
    let verdict = if result.is_ok() { "passed" } else { "FAILED" };
    stage
        .steps()
        .finish(&format!("{verdict} after {:.0} s", taken.as_secs_f64()));
    let failure = result.err().map(|error| error.to_string());
    if let Some(failure) = &failure {
        stage.write_failure(failure);
        stage.collect().await;
    }
    stage.clear();
    let logs = stage.logs().to_owned();
    outcome(taken, stage.steps().taken(), stage.counts(), failure, logs)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn piece(text: &str, image: Option<PathBuf>, artefacts: &Artefacts) -> Result<Piece> {
        Piece::written(Written::parse(text, Path::new("big.toml")).unwrap(), image, artefacts)
    }

    #[test]
    fn what_is_not_there_is_told_before_anything_starts() {
        let work = tempfile::tempdir().unwrap();
        let artefacts = Artefacts::open(work.path(), Arch::X86_64).unwrap();
        let error = |machine: &str, more: &str| {
            let text = format!("about = \"x\"\n[machine.a]\n{machine}\n{more}[[step]]\ndo = \"boot\"\n");
            piece(&text, None, &artefacts).unwrap_err()
        };
        let none = error("", "");
        assert!(
            matches!(&none, Error::Usage(why) if why.contains("machine a of big.toml")),
            "{none}"
        );
        let release = error("release = \"1.0.0\"", "");
        assert!(
            release.is_environment() && release.to_string().contains("is missing"),
            "{release}"
        );
        let image = error("image = \"no.raw\"", "");
        assert!(image.to_string().contains("cannot find the image no.raw"), "{image}");
        let repository = error("image = \"/dev/null\"", "[service.r]\nkind = \"releases\"\n");
        assert!(
            repository.is_environment() && repository.to_string().contains("repo-pristine: is missing"),
            "{repository}"
        );
    }

    #[tokio::test]
    async fn more_machines_than_memory_are_refused_before_any_starts() {
        let text = "about = \"x\"\n[machine.a]\nmemory = 4000000000\n[[step]]\ndo = \"boot\"\n";
        let work = tempfile::tempdir().unwrap();
        let artefacts = Artefacts::open(work.path(), Arch::X86_64).unwrap();
        let piece = piece(text, Some("/dev/null".into()), &artefacts).unwrap();
        let options = Options {
            artefacts,
            accelerator: Choice::Auto,
            jobs: 1,
            keep: false,
            power_cuts: 0,
        };
        let error = run(vec![piece], options, Board::new()).await.unwrap_err();
        assert!(
            error.is_environment() && error.to_string().contains("MiB to give"),
            "{error}"
        );
        assert_eq!(std::fs::read_dir(work.path()).unwrap().count(), 0);
    }
}
