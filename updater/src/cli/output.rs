//! The outcome of a command, for people or for machines.

use std::io::{self, Write};

use serde::Serialize;
use twinhull_layout::Version;

use super::{Exit, Output};
use crate::machine::Problem;

/// What a command came to, as JSON has it.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    /// One word.
    #[serde(rename = "outcome")]
    pub(super) word: &'static str,
    /// The release it is about.
    pub(super) version: Option<Version>,
    /// Why not.
    pub(super) problem: Option<Problem>,
}

impl Output {
    /// Prints `value` as JSON, or `text`. A reader that went away is no error.
    pub(super) fn print(&self, value: &impl Serialize, text: &str) -> anyhow::Result<()> {
        let text = if self.json {
            serde_json::to_string_pretty(value)?
        } else {
            text.trim_end().to_owned()
        };
        match writeln!(io::stdout().lock(), "{text}") {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Prints a reason: on standard error for people, in the JSON for machines.
    pub(super) fn refuse(&self, version: Option<Version>, problem: Problem) -> anyhow::Result<Exit> {
        let exit = Exit::of(&problem);
        if self.json {
            let outcome = if exit == Exit::Refused { "refused" } else { "failed" };
            let outcome = Outcome {
                word: outcome,
                version,
                problem: Some(problem),
            };
            self.print(&outcome, "")?;
        } else {
            eprintln!("{problem}");
        }
        Ok(exit)
    }
}
