//! `cargo xtask crash`: power cuts at every write of an update, and what is left of the machine.
//!
//! The proof is a test of the agent that is too long for every run; this runs it and publishes what it counted.

use std::fs;

use anyhow::{Context, Result, anyhow};
use clap::Args;

use crate::evidence::{Evidence, Figure, Goal, Publication, number};
use crate::phase::Phases;
use crate::workspace::{cargo, work};

/// What to try, and where the figures go.
#[derive(Args, Debug)]
pub(crate) struct Crash {
    /// Where the samples begin; another number draws others
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    publication: Publication,
}

impl Crash {
    /// Runs the whole proof.
    pub(crate) fn run(&self, phases: &mut Phases) -> Result<()> {
        let counts_file = work().join("crash.json");
        let mut command = cargo();
        command
            .args(["test", "-p", "twinhull-updater", "--locked", "--test", "transaction"])
            .args(["--", "--ignored", "--exact", "--nocapture", "crash::full"])
            .env("TWINHULL_CRASH_SEED", self.seed.to_string())
            .env("TWINHULL_CRASH_FIGURES", std::path::absolute(&counts_file)?);
        phases.run_in_view("power cuts", &mut command)?;
        let read =
            fs::read_to_string(&counts_file).with_context(|| format!("cannot read {}", counts_file.display()))?;
        let counts: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&read)?;
        // What was not counted is not zero.
        let missing = |name: &str| anyhow!("the proof counted no {name}");
        let count = |name: &str| {
            let counted = counts.get(name).and_then(serde_json::Value::as_u64);
            counted.ok_or_else(|| missing(name))
        };
        let mut evidence = Evidence::new(format!("crash --seed {}", self.seed));
        let whole = |name: &str| Ok::<_, anyhow::Error>(Figure::count(name, count(name)?, "1"));
        evidence.add(whole("crash.states")?.goal(Goal::AtLeast(10_000.0)));
        evidence.add(whole("crash.unbootable")?.goal(Goal::AtMost(0.0)));
        evidence.add(whole("crash.floor_lost")?.goal(Goal::AtMost(0.0)));
        evidence.add(whole("crash.restarts")?);
        evidence.add(whole("crash.not_converged")?.goal(Goal::AtMost(0.0)));
        evidence.add(whole("crash.mutations")?);
        // Each is to be caught: the ratio to how many there were is one.
        let caught = whole("crash.mutations_caught")?.against("mutations made", number(count("crash.mutations")?));
        evidence.add(caught.goal(Goal::RatioAtLeast(1.0)));
        evidence.publish(&self.publication)
    }
}
