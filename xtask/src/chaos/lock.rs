//! The long form of the reboot lock's fault test (`reboot-lock/tests/chaos`).

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::evidence::{Evidence, Figure, Goal, Publication, number};
use crate::phase::Phases;
use crate::workspace;

/// What the test writes.
#[derive(Deserialize)]
struct Report {
    seeds: u64,
    grants: u64,
    violations: u64,
    unfinished: u64,
    controls: u64,
    controls_caught: u64,
}

pub(super) fn run(phases: &mut Phases, seeds: u64, minutes: u64, publication: &Publication) -> Result<()> {
    // The test runs in the folder of its package.
    let file = std::path::absolute(workspace::work().join("chaos-lock.json"))?;
    if file.exists() {
        std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    let seconds = (minutes * 60 / seeds.max(1)).max(5);
    let mut command = workspace::cargo();
    command
        .args([
            "test",
            "--locked",
            "--workspace",
            "--test",
            "chaos",
            "--",
            "--nocapture",
        ])
        .env("TWINHULL_CHAOS_SEEDS", seeds.to_string())
        .env("TWINHULL_CHAOS_SECONDS", seconds.to_string())
        .env("TWINHULL_CHAOS_REPORT", &file);
    // It fails on a violation, too; the figures say more.
    let outcome = phases.run("faults around the reboot lock", &mut command);
    if !file.exists() {
        return outcome;
    }
    let text = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let report: Report = serde_json::from_slice(&text).with_context(|| format!("cannot read {}", file.display()))?;
    let mut evidence = Evidence::new(format!("chaos lock --seeds {seeds} --minutes {minutes}"));
    evidence.add(Figure::count("lock.chaos.seeds", report.seeds, "1"));
    evidence.add(Figure::count("lock.chaos.grants", report.grants, "1").goal(Goal::AtLeast(1.0)));
    evidence.add(Figure::count("lock.chaos.violations", report.violations, "1").goal(Goal::AtMost(0.0)));
    evidence.add(Figure::count("lock.chaos.unfinished", report.unfinished, "1").goal(Goal::AtMost(0.0)));
    evidence.add(Figure::count("lock.chaos.controls", report.controls, "1"));
    let all = Goal::AtLeast(number(report.controls));
    evidence.add(Figure::count("lock.chaos.controls_caught", report.controls_caught, "1").goal(all));
    evidence.publish(publication)?;
    if outcome.is_err() {
        bail!("a promise was broken, or a control was not caught; the log of the phase says which");
    }
    Ok(())
}
