//! The outcome of a command, for people or for machines.

use std::io::{self, Write};

use serde::Serialize;

use super::{Exit, Output};
use crate::command::Outcome;

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

    /// Prints what a command came to: a reason why not goes to standard error for people, into the JSON for machines.
    pub(super) fn outcome(&self, outcome: &Outcome) -> anyhow::Result<Exit> {
        if self.json || outcome.problem.is_none() {
            self.print(outcome, &outcome.text)?;
        } else {
            eprintln!("{}", outcome.text);
        }
        Ok(Exit::of(outcome))
    }
}
