//! What the agent costs the host that it runs on.

use anyhow::{Context, Result};

use crate::artefacts;
use crate::evidence::{Evidence, Figure, Goal, Publication};
use crate::phase::Phases;

/// The static program should be smaller than this.
const BINARY_GOAL: f64 = 6e6;

/// Measures the agent as it is shipped.
pub(crate) fn run(phases: &mut Phases, publication: &Publication) -> Result<()> {
    let program = artefacts::static_program(phases, "twinhull-updater")?;
    let size = std::fs::metadata(&program)
        .with_context(|| format!("cannot read the size of {}", program.display()))?
        .len();
    let mut evidence = Evidence::new("bench agent");
    evidence.add(Figure::count("agent.binary", size, "B").goal(Goal::AtMost(BINARY_GOAL)));
    evidence.publish(publication)
}
