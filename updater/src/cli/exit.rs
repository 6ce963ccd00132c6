//! Exit codes; the same table is in `--help`.

use std::process::ExitCode;

use crate::machine::Problem;

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
    /// The exit for a reason of the state machine: some are faults, most are refusals.
    pub(super) fn of(problem: &Problem) -> Self {
        match problem.code.as_str() {
            "network" | "disk" | "esp" | "state" | "partition-table" | "read-back" | "reboot-failed" => Self::Failed,
            _ => Self::Refused,
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
