//! Our own tool, as it is released.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::peers::Cost;
use super::{Files, quiet};
use crate::measure;
use crate::phase::Phases;
use crate::workspace;

/// Levels: what a release gets for every base, and what it gets for the last ones.
pub(super) const QUICK: &str = "3";
pub(super) const BEST: &str = "19";

/// The tool.
pub(super) struct Tool {
    program: PathBuf,
}

impl Tool {
    /// Builds it.
    pub(super) fn build(phases: &mut Phases) -> Result<Self> {
        let mut command = workspace::cargo();
        command.args(["build", "--release", "--locked", "-p", "twinhull-payload"]);
        command.args(["--example", "payload"]);
        phases.run("build the payload tool", &mut command)?;
        let program = workspace::target().join("release/examples/payload");
        let program = program
            .canonicalize()
            .with_context(|| format!("there is no {}", program.display()))?;
        Ok(Self { program })
    }

    /// A payload for the new image of `files`: a delta from the old one if `base`, or a full one. Made and applied as often as
    /// said, and what came out compared with the new image. Applying includes the hash of every segment, the verity tree and
    /// the flush of both.
    pub(super) fn payload(
        &self,
        files: &Files,
        base: bool,
        level: &str,
        makes: usize,
        applications: usize,
    ) -> Result<Cost> {
        let folder = files.fresh("ours")?;
        let base = base.then_some(&files.old);
        let (payload, output) = (folder.join("payload"), folder.join("output"));
        let make = measure::median(makes, || {
            let mut command = quiet(&self.program);
            command.args(["make", level]).arg(&files.new).arg(&payload).args(base);
            Ok(command)
        })?;
        let apply = measure::median(applications, || {
            // As into a slot that holds nothing of use.
            if output.exists() {
                fs::remove_file(&output).with_context(|| format!("cannot remove {}", output.display()))?;
            }
            let mut command = quiet(&self.program);
            command.arg("apply").arg(&payload).arg(&output).args(base);
            Ok(command)
        })?;
        files.compare("ours", &output)?;
        Ok(Cost {
            bytes: Files::size(&payload)?,
            make,
            apply: Some(apply),
        })
    }
}
