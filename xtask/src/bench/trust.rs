//! What trust costs: a look at the repository, and a rollout played through.

use anyhow::Result;
use serde::Deserialize;

use super::measuring_test;
use crate::evidence::{Evidence, Figure, Goal, Publication};

/// An idle look should cost at most this, in bytes of HTTP both ways.
const IDLE_GOAL: f64 = 1024.0;

/// A million hosts should be played through in seconds.
const SIMULATE_GOAL: f64 = 10.0;

/// What the measuring test of the agent prints.
#[derive(Deserialize)]
struct Found {
    first_bytes: u64,
    first_requests: u64,
    idle_bytes: u64,
    idle_requests: u64,
    verify_cpu_ns: u32,
    simulate_wall_ms: u32,
}

/// Measures with the agent's own client against nginx on loopback, with nothing but HTTP between them.
pub(crate) fn run(publication: &Publication) -> Result<()> {
    let found: Found = measuring_test::figures("polling::figures", "polling", None, &[])?;
    let mut evidence = Evidence::new("bench trust");
    evidence.add(Figure::count("trust.refresh.first.bytes", found.first_bytes, "B"));
    evidence.add(Figure::count("trust.refresh.first.requests", found.first_requests, "1"));
    evidence.add(Figure::count("trust.refresh.idle.bytes", found.idle_bytes, "B").goal(Goal::AtMost(IDLE_GOAL)));
    evidence.add(Figure::count("trust.refresh.idle.requests", found.idle_requests, "1").goal(Goal::AtMost(2.0)));
    evidence.add(Figure::new(
        "trust.verify.cpu",
        f64::from(found.verify_cpu_ns) / 1e9,
        "s",
    ));
    let wall = f64::from(found.simulate_wall_ms) / 1e3;
    evidence.add(Figure::new("rollout.simulate.1m.wall", wall, "s").goal(Goal::AtMost(SIMULATE_GOAL)));
    evidence.publish(publication)
}
