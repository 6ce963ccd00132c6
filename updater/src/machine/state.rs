//! What the agent knows.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use twinhull_layout::Version;

use super::{Problem, Spent};

/// The most records that are kept; the oldest go first.
const MAX_HISTORY: usize = 50;

/// What is kept over reboots.
///
/// After a fall-back an *older* agent reads what a newer one wrote. So every field has a default, unknown ones are ignored, and
/// no field ever changes its meaning.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Known {
    /// The newest release that was healthy here. Nothing older is installed.
    pub floor: Option<Version>,
    /// The release that is being put, or was put, into the other slot.
    pub attempt: Option<Attempt>,
    /// A way back that somebody asked for and that waits for a reboot.
    pub rollback: Option<Rollback>,
    /// Whether this host may hold the reboot lock.
    pub lock: Belief,
    /// Whether hooks were run before a reboot, and what they did has not been undone.
    pub prepared: bool,
    /// Somebody asked that nothing be done for now.
    pub hold: Option<Hold>,
    /// Releases that failed here since the last one that did not.
    pub setbacks: u32,
    /// When the last of them failed.
    pub last_setback: Option<Timestamp>,
    /// Releases that failed here and are not tried again by themselves.
    pub failed: BTreeMap<Version, Failure>,
    /// Whether the channel was halted when it could last be asked.
    pub halted: bool,
    /// Whether the staged release is no longer offered, and could not be taken out of the other slot yet.
    pub withdrawn: bool,
    /// The last look at the repository.
    pub last_check: Option<Check>,
    /// What happened, oldest first.
    pub history: Vec<Record>,
}

/// A release on its way into the other slot, or in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The release.
    pub version: Version,
    /// When the current stage began.
    pub since: Timestamp,
    /// How far it is.
    pub stage: Stage,
}

/// How far an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The other slot is being written. After a power cut the boot entry tells whether it was finished.
    Writing,
    /// The boot entry is in place: the next boot starts it.
    Staged,
    /// The reboot was ordered.
    Rebooting,
}

/// A way back to the other slot that takes effect at the next boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    /// What was left.
    pub from: Version,
    /// What will boot.
    pub to: Version,
    /// When it was asked for.
    pub since: Timestamp,
}

/// Nothing is installed and the host is not rebooted, because somebody said so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// When it was said.
    pub since: Timestamp,
    /// When it ends by itself, if it does.
    pub until: Option<Timestamp>,
    /// Why; may be empty.
    pub reason: String,
}

impl Hold {
    /// Whether it has ended by itself.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.until {
            Some(until) => write!(out, "held by hand until {until}")?,
            None => out.write_str("held by hand until `twinhull-updater unhold`")?,
        }
        if !self.reason.is_empty() {
            write!(out, ": {}", self.reason)?;
        }
        Ok(())
    }
}

/// Whether this host holds the reboot lock, as far as it can know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Belief {
    /// The server said that it does not.
    #[default]
    Free,
    /// Something was asked, and the outcome is unknown.
    Unsure,
    /// The server said that it does.
    Held,
}

/// Why a release is not tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// For machines.
    pub code: String,
    /// For people.
    pub reason: String,
    /// When it was noticed.
    pub since: Timestamp,
}

/// One look at the repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// When.
    pub at: Timestamp,
    /// What the channel offers, if that could be learnt.
    pub offered: Option<Version>,
    /// Why it is not installed, or could not be learnt.
    pub problem: Option<Problem>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub kind: RecordKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum RecordKind {
    /// A release is in the other slot and will boot next.
    Installed {
        /// The release.
        version: Version,
        /// Bytes that came over the network for it.
        fetched: u64,
        /// What took how long, in order.
        phases: Vec<Spent>,
    },
    /// A release was not installed.
    Refused {
        /// The release, if one was known.
        version: Option<Version>,
        /// Why.
        problem: Problem,
    },
    /// A release booted and proved itself healthy.
    Updated {
        /// What runs now.
        version: Version,
    },
    /// A release booted, did not become healthy, and the host fell back.
    Failed {
        /// The release.
        version: Version,
        /// Why.
        reason: String,
    },
    /// A staged release was taken back.
    Discarded {
        /// The release.
        version: Version,
        /// Why.
        reason: String,
    },
    /// The host went back to the other slot because somebody asked for it.
    RolledBack {
        /// What ran before.
        from: Version,
        /// What runs now.
        to: Version,
    },
    /// A release that had been healthy did not start any more, and the host came back to the other slot by itself.
    CameBack {
        /// What did not start.
        from: Version,
        /// What runs now.
        to: Version,
    },
    /// A file that starts this host had rotted on the EFI system partition, and was put right.
    Mended {
        /// The file, by its path there.
        file: String,
        /// Blocks of 4096 bytes that were written anew.
        blocks: u64,
    },
    /// A file that starts this host has rotted, and could not be put right.
    Rotten {
        /// The file, by its path on the EFI system partition.
        file: String,
        /// Why it stays so.
        reason: String,
    },
    /// A copy of the partition table had rotted, and was written anew from the other.
    MendedTable {
        /// Which of the two: 1 is the one at the beginning of the disk.
        copy: u8,
    },
    /// Anything that an older agent does not know.
    #[serde(other)]
    Unknown,
}

/// What is known only as long as the agent runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Live {
    /// The release that runs; `None` until the host was looked at.
    pub running: Option<Version>,
    /// Whether what runs is still on trial.
    pub trial: bool,
    /// Whether the outcome of the last attempt has been settled in this boot.
    pub settled: bool,
    /// Why nothing more is being done at the moment.
    pub waiting: Option<Waiting>,
    /// When to look at the repository next, on the clock of [`super::Now::uptime`].
    pub next_check: Duration,
    /// When to try next to reboot.
    pub next_try: Duration,
    /// Whether a reboot was given up and not everything that was done for it has been undone.
    pub standing_down: bool,
    /// When to try to release the lock next.
    pub next_release: Duration,
    /// Whether somebody asked for the look at the repository that is under way.
    pub asked: Asked,
    /// Looks at the repository that failed, or installs that did, one after the other.
    pub failures: u32,
}

/// Whether somebody asked for an update.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Asked {
    /// Nobody did: it was time.
    #[default]
    Nobody,
    /// Somebody did.
    Once,
    /// Somebody did, also for a release that failed here.
    Retry,
}

/// Why nothing more is being done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The reason.
    pub problem: Problem,
    /// Since when it is this one.
    pub since: Timestamp,
}

impl Known {
    /// Appends a record. What says the same as the last one did is left out, unless it happened again.
    pub fn record(&mut self, at: Timestamp, kind: RecordKind) {
        // What has rotted once more is news, also when it is the same place again.
        let news = matches!(kind, RecordKind::Mended { .. } | RecordKind::MendedTable { .. });
        if !news && self.history.last().is_some_and(|last| last.kind == kind) {
            return;
        }
        self.history.push(Record { at, kind });
        let surplus = self.history.len().saturating_sub(MAX_HISTORY);
        self.history.drain(..surplus);
    }

    /// The release in the other slot that the next boot will start.
    pub fn staged(&self) -> Option<&Attempt> {
        self.attempt.as_ref().filter(|attempt| attempt.stage != Stage::Writing)
    }

    /// The release that failed here last.
    pub fn failed_last(&self) -> Option<&Version> {
        let last = self.failed.iter().max_by_key(|(_, failure)| failure.since);
        last.map(|(version, _)| version)
    }
}

impl Live {
    /// Makes everything due: the rules have changed.
    pub fn look_again(&mut self) {
        (self.next_check, self.next_try, self.next_release) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        self.waiting = None;
    }

    /// Says why nothing more is done; the time stays that of the first time if the reason is the same.
    pub fn wait(&mut self, at: Timestamp, problem: Problem) {
        match &mut self.waiting {
            Some(waiting) if waiting.problem.code == problem.code => waiting.problem = problem,
            _ => self.waiting = Some(Waiting { problem, since: at }),
        }
    }
}
