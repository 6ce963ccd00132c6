//! Runs scenarios side by side, the long ones first.

use std::path::PathBuf;
use std::rc::Rc;

use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};

use super::stage::Stage;
use super::{Scenario, stage};
use crate::accelerator::Choice;
use crate::artefacts::Artefacts;
use crate::error::Result;
use crate::report::Outcome;
use crate::steps::Board;

/// How to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder of artefacts.
    pub artefacts: Artefacts,
    /// How to run processors.
    pub accelerator: Choice,
    /// How many scenarios at once; at least one.
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

/// Runs `scenarios`; an error means that none could be tried.
///
/// To be called on a runtime of one thread (see [`crate::process::Process`]).
pub async fn run(scenarios: &[&'static Scenario], options: Options, board: Board) -> Result<Ran> {
    // What is missing is better said now than in the middle.
    for scenario in scenarios {
        for version in scenario.images {
            options.artefacts.image(&stage::version(version)?)?;
        }
    }
    options.artefacts.program("twinhull")?;
    options.artefacts.program("twinhull-lock")?;

    let theatre = Rc::new(stage::Theatre::open(&options, &board).await?);
    let mut by_length: Vec<_> = scenarios.to_vec();
    by_length.sort_by_key(|scenario| std::cmp::Reverse(scenario.boots));
    let seats = Rc::new(Semaphore::new(options.jobs.max(1)));
    let mut outcomes = LocalSet::new()
        .run_until(async {
            let mut running = JoinSet::new();
            for scenario in by_length {
                // In this order, since the semaphore serves whoever asked first.
                let (seats, theatre, board) = (Rc::clone(&seats), Rc::clone(&theatre), board.clone());
                running.spawn_local(async move {
                    let _seat = seats.acquire().await;
                    one(scenario, &theatre, &board).await
                });
            }
            running.join_all().await
        })
        .await;
    outcomes.sort_by_key(|outcome| scenarios.iter().position(|scenario| scenario.name == outcome.name));
    let logs = theatre.logs().to_owned();
    let disks = Rc::try_unwrap(theatre)
        .ok()
        .filter(|_| options.keep)
        .map(stage::Theatre::keep_disks);
    Ok(Ran { outcomes, logs, disks })
}

async fn one(scenario: &'static Scenario, theatre: &Rc<stage::Theatre>, board: &Board) -> Outcome {
    let stage = match Stage::open(Rc::clone(theatre), scenario.name, board) {
        Ok(stage) => Rc::new(stage),
        Err(error) => {
            let failure = Some(error.to_string());
            return Outcome {
                name: scenario.name.to_owned(),
                taken: std::time::Duration::ZERO,
                steps: Vec::new(),
                counts: std::collections::BTreeMap::new(),
                failure,
            };
        }
    };
    let result = (scenario.work)(Rc::clone(&stage)).await;
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
    Outcome {
        name: scenario.name.to_owned(),
        taken,
        steps: stage.steps().taken(),
        counts: stage.counts(),
        failure,
    }
}
