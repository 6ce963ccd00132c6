//! What the agent costs the host that it runs on.

use anyhow::{Context, Result};
use serde::Deserialize;

use super::measuring_test;
use crate::arch::Arch;
use crate::artefacts;
use crate::evidence::{Evidence, Figure, Goal, Publication};
use crate::phase::Phases;

/// The static program should be smaller than this, in bytes.
const BINARY_GOAL: f64 = 6e6;

/// An idle service should be smaller than this, in bytes resident.
const IDLE_GOAL: f64 = 8e6;

/// A service that updates should never be larger than this, in bytes resident.
const PEAK_GOAL: f64 = 32e6;

/// What the measuring test of the agent prints.
#[derive(Deserialize)]
struct Footprint {
    idle_memory: u64,
    idle_wake_ups: u64,
    idle_seconds: u64,
    memory_after_update: u64,
    update_peak_memory: u64,
    update_cpu_hundredths: u32,
    root: u64,
}

/// Measures the agent as it is shipped: idle, then over one update of a root of 192 MiB of which a fiftieth is new.
pub(crate) fn run(phases: &mut Phases, publication: &Publication) -> Result<()> {
    let program = artefacts::static_program(phases, "twinhull-updater", Arch::X86_64)?;
    let size = std::fs::metadata(&program)
        .with_context(|| format!("cannot read the size of {}", program.display()))?
        .len();
    // Absolute, for the test runs in another folder.
    let absolute = program
        .canonicalize()
        .with_context(|| format!("there is no {}", program.display()))?;
    let found: Footprint = measuring_test::figures("footprint::footprint", "footprint", Some(&absolute), &[])?;
    println!(
        "one update of {} MiB by delta; an idle service woke {} times in {} s",
        found.root >> 20,
        found.idle_wake_ups,
        found.idle_seconds
    );
    let mut evidence = Evidence::new("bench agent");
    evidence.add(Figure::count("agent.binary", size, "B").goal(Goal::AtMost(BINARY_GOAL)));
    evidence.add(Figure::count("agent.idle.memory", found.idle_memory, "B").goal(Goal::AtMost(IDLE_GOAL)));
    // A service stays up for months, and what an update took must not stay with it.
    let after = Figure::count("agent.idle.memory_after_update", found.memory_after_update, "B");
    evidence.add(after.goal(Goal::AtMost(IDLE_GOAL)));
    evidence.add(Figure::count("agent.idle.wake_ups", found.idle_wake_ups, "1").goal(Goal::AtMost(0.0)));
    evidence
        .add(Figure::count("agent.update.peak_memory", found.update_peak_memory, "B").goal(Goal::AtMost(PEAK_GOAL)));
    let seconds = f64::from(found.update_cpu_hundredths) / 100.0;
    evidence.add(Figure::new("agent.update.cpu", seconds, "s"));
    evidence.publish(publication)
}
