//! What can happen.

use std::fmt;

use serde::{Deserialize, Serialize};
use twinhull_layout::{BootEntry, Version};

use crate::gates::Observed;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The host was looked at.
    Seen(Result<Seen, Problem>),
    /// The time asked for with [`super::Effect::Wake`] has come, or somebody asked to look again.
    Woke,
    /// Somebody asked for an update now.
    Asked {
        /// Whether a release that failed here may be tried again.
        retry: bool,
    },
    /// The repository was asked what the channel offers.
    Checked(Result<Offer, Problem>),
    /// An install ended.
    Installed(Result<Installed, Problem>),
    /// The host was looked at for the gates.
    Observed(Box<Observed>),
    /// The hooks before a reboot have run.
    Prepared(Result<(), Problem>),
    /// What the hooks did was undone.
    Undone(Result<(), Problem>),
    /// The lock server was asked for the lock, or did not answer.
    Taken(Grant),
    /// The lock server was told that the lock is not needed.
    Released(Result<(), Problem>),
    /// The staged release was taken out of the other slot.
    Discarded(Result<(), Problem>),
    /// The reboot could not be ordered.
    RebootFailed(Problem),
}

/// What a look at the host found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The release that runs.
    pub running: Version,
    /// Whether its boot entry still has a counter.
    pub trial: bool,
    /// Whether it has no entry that would boot again: somebody has set it aside.
    pub aside: bool,
    /// The boot entries of other releases.
    pub others: Vec<BootEntry>,
    /// What the last failed health check said, and of which release.
    pub unhealthy: Option<(Version, String)>,
}

/// What the channel offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The release for this host.
    pub version: Version,
    /// Whether it may be installed.
    pub turn: Turn,
}

/// Whether a host may have what is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// It may.
    Now,
    /// The rollout has not reached this host: a sentence that says when it will.
    Later(String),
    /// The channel is halted and nobody may move: a sentence that says why.
    Halted(String),
}

/// A finished install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Bytes that came over the network.
    pub fetched: u64,
    /// What took how long, in order.
    pub phases: Vec<Spent>,
}

/// How long a phase of an install took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// The phase.
    pub phase: String,
    /// Milliseconds.
    pub milliseconds: u64,
}

/// What came of asking for the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// This host holds it.
    Granted,
    /// It does not; the server says why.
    Refused(Problem),
    /// Nobody can say. The server may have granted it.
    Unknown(Problem),
}

/// A reason, for machines and for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// One of a fixed set of kebab-case words; see `docs/operations.md`.
    pub code: String,
    /// A sentence.
    pub text: String,
}

impl Problem {
    /// A reason.
    pub fn new(code: &str, text: impl fmt::Display) -> Self {
        Self {
            code: code.to_owned(),
            text: text.to_string(),
        }
    }

    /// Whether something is broken, in contrast to a rule that says no.
    pub fn is_fault(&self) -> bool {
        matches!(
            self.code.as_str(),
            "network"
                | "disk"
                | "esp"
                | "state"
                | "partition-table"
                | "base-damaged"
                | "root-hash"
                | "kernel-hash"
                | "read-back"
                | "reboot-failed"
        )
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}
