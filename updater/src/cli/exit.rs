//! Exit codes; the same table is in `--help`.

use std::process::ExitCode;

use crate::command::Outcome;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or nothing to do.
    Done,
    /// Failed.
    Failed,
    /// Refused for a reason that was printed.
    Refused,
    /// Another agent is at work.
    Busy,
    /// `check`: there is a release to install.
    Available,
    /// The configuration cannot be used (`EX_CONFIG` of `sysexits.h`): no use to start again before it is changed.
    Configuration,
}

impl Exit {
    /// The exit for what a command came to.
    pub(super) fn of(outcome: &Outcome) -> Self {
        match &outcome.problem {
            Some(problem) if problem.is_fault() => Self::Failed,
            Some(_) => Self::Refused,
            None if outcome.word == "available" => Self::Available,
            None => Self::Done,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Refused => 3,
            Exit::Busy => 4,
            Exit::Available => 10,
            Exit::Configuration => 78,
        })
    }
}
