//! Progress, and what took how long.

use std::fmt;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::machine::Spent;

/// The long steps of an install.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Checks, and making room.
    Prepare,
    /// Fetching and writing the root file system.
    Root,
    /// Reading it back from the medium.
    ReadBack,
    /// Fetching and writing the kernel image.
    Kernel,
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Prepare => "prepare",
            Self::Root => "root",
            Self::ReadBack => "read back",
            Self::Kernel => "kernel",
        })
    }
}

/// How far an install is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The step.
    pub step: Step,
    /// Bytes of it that are done.
    pub done: u64,
    /// Bytes of it in all; 0 if it has none.
    pub total: u64,
}

/// Tells the watcher, and measures.
pub(super) struct Timer<'a> {
    watch: &'a mut dyn FnMut(Progress),
    begun: Option<(Step, u64, Instant)>,
    spent: Vec<Spent>,
}

impl<'a> Timer<'a> {
    pub(super) fn new(watch: &'a mut dyn FnMut(Progress)) -> Self {
        Self {
            watch,
            begun: None,
            spent: Vec::new(),
        }
    }

    pub(super) fn begin(&mut self, step: Step, total: u64) {
        self.end();
        self.begun = Some((step, total, Instant::now()));
        self.at(0);
    }

    pub(super) fn at(&mut self, done: u64) {
        if let Some((step, total, _)) = self.begun {
            (self.watch)(Progress { step, done, total });
        }
    }

    pub(super) fn finish(mut self) -> Vec<Spent> {
        self.end();
        self.spent
    }

    fn end(&mut self) {
        if let Some((step, _, since)) = self.begun.take() {
            self.spent.push(Spent {
                phase: step.to_string(),
                milliseconds: u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
            });
        }
    }
}
