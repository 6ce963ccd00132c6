//! What needs no virtual machine.

use anyhow::Result;

use crate::other_tuf;
use crate::phase::Phases;
use crate::workspace::cargo;

/// Formatting, lints, unit and integration tests, and the tests of others.
pub(crate) fn run(phases: &mut Phases) -> Result<()> {
    phases.run("formatting", cargo().args(["fmt", "--all", "--check"]))?;
    phases.run(
        "lints",
        cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "--deny",
            "warnings",
        ]),
    )?;
    phases.run_in_view(
        "unit and integration tests",
        cargo()
            // What tests look with is installed by setup: one that cannot look has seen nothing.
            .env("TWINHULL_TESTS_SKIP_NOTHING", "1")
            .args(["test", "--workspace", "--locked", "--quiet"]),
    )?;
    other_tuf::judge(phases)
}
