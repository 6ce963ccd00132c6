//! What is going on, in one word for machines and one sentence for people.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use twinhull_layout::Version;

use super::{Known, Live, Stage};

/// The agent's phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Nothing to do, or nothing that can be done.
    Idle,
    /// What runs has not yet proved itself healthy.
    Trial,
    /// A release is being put into the other slot.
    Installing,
    /// A release is in the other slot and waits for the reboot.
    Staged,
    /// The reboot was ordered.
    Rebooting,
    /// The other slot boots next because somebody asked for it.
    RollbackPending,
}

/// What is going on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Situation {
    /// The phase.
    pub phase: Phase,
    /// The release it is about, if not the running one.
    pub version: Option<Version>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Why nothing more is being done, for machines.
    pub code: Option<String>,
    /// The same for people.
    pub reason: Option<String>,
    /// Since when that is the reason.
    pub reason_since: Option<Timestamp>,
}

impl Situation {
    /// Sums up what is known.
    pub fn of(known: &Known, live: &Live) -> Self {
        let waiting = live.waiting.as_ref();
        let (phase, version, since) = match (&known.attempt, &known.rollback) {
            _ if live.trial => (Phase::Trial, None, None),
            (_, Some(rollback)) => (Phase::RollbackPending, Some(rollback.to.clone()), Some(rollback.since)),
            (Some(attempt), None) => {
                let phase = match attempt.stage {
                    Stage::Writing => Phase::Installing,
                    Stage::Staged => Phase::Staged,
                    Stage::Rebooting => Phase::Rebooting,
                };
                (phase, Some(attempt.version.clone()), Some(attempt.since))
            }
            (None, None) => (Phase::Idle, None, None),
        };
        Self {
            phase,
            version,
            since,
            code: waiting.map(|waiting| waiting.problem.code.clone()),
            reason: waiting.map(|waiting| waiting.problem.text.clone()),
            reason_since: waiting.map(|waiting| waiting.since),
        }
    }
}
