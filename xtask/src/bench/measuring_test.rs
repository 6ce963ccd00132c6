//! A measurement that is an ignored test of the agent, because it needs the hosts and repositories that only tests make.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;

use crate::workspace;

/// Runs the test `name` with `environment`, and with `program` as the agent if that is to be another than the test's own build, and
/// reads the JSON that it prints in a line after `word`.
pub(super) fn figures<T: DeserializeOwned>(
    name: &str,
    word: &str,
    program: Option<&Path>,
    environment: &[(&str, String)],
) -> Result<T> {
    let mut command = workspace::cargo();
    command
        .args(["test", "--locked", "-p", "twinhull-updater", "--test", "transaction"])
        .args(["--", "--ignored", "--exact", name, "--nocapture"])
        .stdin(Stdio::null())
        .envs(environment.iter().map(|(name, value)| (name, value)));
    if let Some(program) = program {
        command.env("TWINHULL_UPDATER", program);
    }
    let output = command.output().context("cannot start cargo")?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!(
            "the measurement failed ({}):\n{said}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let start = format!("{word} {{");
    let line = said
        .lines()
        .find_map(|line| line.split_once(&start).map(|(_, rest)| format!("{{{rest}")))
        .context("the measurement printed no figures")?;
    serde_json::from_str(&line).context("the measurement printed something else than figures")
}
