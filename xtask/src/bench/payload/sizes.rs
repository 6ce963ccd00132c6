//! Memory that the agent needs for an update, by the size of the image.

use anyhow::Result;
use serde::Deserialize;

use crate::arch::Arch;
use crate::artefacts;
use crate::bench::measuring_test;
use crate::evidence::{Evidence, Figure, Goal};
use crate::phase::Phases;

/// What the agent may hold at most, in bytes.
const MEMORY: f64 = 32e6;

/// What the measuring test prints.
#[derive(Deserialize)]
struct BySize {
    root: u64,
    payload: u64,
    peak_memory: u64,
    cpu_hundredths: u32,
}

/// Has the agent, as it is shipped, go through an update to an image of each size of which a fiftieth is new: metadata, payload, the slot
/// read back, kernel image.
pub(super) fn run(phases: &mut Phases, evidence: &mut Evidence) -> Result<()> {
    let program = artefacts::static_program(phases, "twinhull-updater", Arch::X86_64)?;
    // Absolute, for the test runs in another folder.
    let program = std::path::absolute(program)?;
    for (name, mebibytes) in [("512m", 512), ("1g", 1024), ("4g", 4096)] {
        let size = [("TWINHULL_BENCH_MIB", mebibytes.to_string())];
        let found: BySize = measuring_test::figures("by_size::footprint", "by_size", Some(&program), &size)?;
        eprintln!(
            "{} MiB from {} bytes: {:.2} CPU s for the whole update",
            found.root >> 20,
            found.payload,
            f64::from(found.cpu_hundredths) / 100.0
        );
        let peak = Figure::count(format!("payload.apply.peak_memory.{name}"), found.peak_memory, "B");
        evidence.add(peak.goal(Goal::AtMost(MEMORY)));
    }
    Ok(())
}
