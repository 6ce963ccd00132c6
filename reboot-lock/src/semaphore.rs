//! The semaphore of one group as a pure function: a state and a request give the next state, an outcome, and what the
//! history says about it.
//!
//! What it promises, whatever the requests and their order (`semaphore/tests.rs`):
//! - a slot is granted only while fewer than the policy's slots are held;
//! - taking again and releasing again change nothing and succeed;
//! - a release by a host that holds nothing changes nothing;
//! - nothing but a release by the holder, a forced one, or a policy that says so frees a slot;
//! - what changes the state is in the history, and what is not there changes nothing.

mod refusal;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::history::Change;
use crate::names::HostId;
use crate::policy::{Absent, Policy};

pub use refusal::{Refusal, refusal};

/// How many failures are remembered at most. Bounds the record of a group in the store.
pub const MAX_FAILURES: usize = 1000;

/// The state of one group: its record in the store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Semaphore {
    /// The rules in force. Fewer slots than before evict nobody, so that for a while there can be more holders than slots;
    /// no further slot is granted until there are fewer.
    #[serde(default)]
    pub policy: Policy,
    /// What the configuration file said last. A policy set by a person stays until the file says something new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_file: Option<Policy>,
    /// The holders by id.
    pub holders: BTreeMap<HostId, Hold>,
    /// When the last slot was freed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_release: Option<Timestamp>,
    /// Whether a person stopped the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Pause>,
    /// Whether too many hosts failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halted: Option<Halt>,
    /// Hosts that rolled back or did not return, since a person resumed the group last.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failures: BTreeMap<HostId, Failure>,
    /// How many hosts were known when this was written: what shares are taken of while a server has not yet met them again.
    #[serde(default)]
    pub known: u32,
}

/// What is known of one held slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// When it was granted. Taking again does not change it.
    pub since: Timestamp,
    /// Where the host is, if it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The release that it reboots into, if it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether it has been away for longer than the policy allows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overdue: bool,
}

/// A person stopped the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// When.
    pub since: Timestamp,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// Too many hosts failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halt {
    /// When.
    pub since: Timestamp,
    /// How many of how many, for people.
    pub reason: String,
}

/// A host that rolled back or did not return.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When the server learned of it.
    pub at: Timestamp,
    /// Which of the two.
    pub what: FailureKind,
    /// The release it failed with, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// How a host failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// It says that it is back on the release it came from.
    RolledBack,
    /// It held its slot for longer than the policy allows.
    NotReturned,
}

/// How a reboot ended, as the host says when it releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// It is up and healthy.
    Healthy,
    /// It is back on the release it came from.
    RolledBack,
}

/// What a host tells of itself beyond the protocol; all of it may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The release that runs.
    pub version: Option<String>,
    /// The release that it is about to reboot into (take), or that failed (release).
    pub target: Option<String>,
    /// Where it is.
    pub zone: Option<String>,
    /// How its reboot ended.
    pub ending: Option<Ending>,
}

/// What a server knows of the group beyond its record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fleet {
    /// How many hosts it has met.
    pub known: u32,
    /// Whether it has run for so long that those are all. Until then the number in the record counts if it is larger.
    pub complete: bool,
    /// Zones that have hosts waiting.
    pub waiting_zones: Vec<String>,
}

/// What is asked of the semaphore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// FleetLock's `pre-reboot`: take a slot, or keep the one held.
    Take(HostId, Report),
    /// FleetLock's `steady-state`: free the slot if one is held.
    Release(HostId, Report),
    /// A person frees the slot of a host.
    ForceRelease {
        /// The host.
        id: HostId,
        /// Why.
        reason: String,
    },
    /// What the configuration file says. Changes nothing if it says the same as before.
    Configure(Policy),
    /// A person changes the policy; `reason` is theirs.
    SetPolicy {
        /// The new policy.
        policy: Policy,
        /// Why.
        reason: String,
    },
    /// A person stops the group.
    Pause {
        /// Why.
        reason: String,
    },
    /// A person ends a pause or a halt; the failures so far are forgotten.
    Resume {
        /// Why.
        reason: String,
    },
    /// Time has passed: see who should have returned.
    Tick,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A slot was free and is now held.
    Granted {
        /// The time of the grant.
        since: Timestamp,
    },
    /// The host held a slot already and keeps it.
    AlreadyHeld {
        /// The time of the first grant.
        since: Timestamp,
    },
    /// Not granted; nothing changed.
    Refused(Refusal),
    /// The slot was held and is free again.
    Released {
        /// Since when it had been held.
        since: Timestamp,
    },
    /// The host held nothing; nothing changed.
    NotHeld,
    /// What was asked for is now so, or was so already.
    Done {
        /// Whether anything changed.
        changed: bool,
    },
}

/// Applies `request`, made by `by` at `now`, to `state`. What is returned last goes into the history; when it is empty, the
/// state is the one before.
pub fn step(
    mut state: Semaphore,
    request: Request,
    fleet: &Fleet,
    by: &str,
    now: Timestamp,
) -> (Semaphore, Outcome, Vec<Change>) {
    let mut changes = Vec::new();
    let outcome = match request {
        Request::Take(id, report) => take(&mut state, id, report, fleet, now, &mut changes),
        Request::Release(id, report) => release(&mut state, id, report, fleet, now, &mut changes),
        Request::ForceRelease { id, reason } => match state.holders.remove(&id) {
            Some(Hold { since, .. }) => {
                state.last_release = Some(now);
                changes.push(Change::ForcedRelease { id, since, reason });
                Outcome::Released { since }
            }
            None => Outcome::NotHeld,
        },
        Request::Configure(policy) => {
            if state.from_file.as_ref() != Some(&policy) {
                state.from_file = Some(policy.clone());
                set_policy(&mut state, policy, None, &mut changes);
            }
            done(&changes)
        }
        Request::SetPolicy { policy, reason } => {
            if state.policy != policy {
                set_policy(&mut state, policy, Some(reason), &mut changes);
            }
            done(&changes)
        }
        Request::Pause { reason } => {
            if state.paused.is_none() {
                state.paused = Some(Pause {
                    since: now,
                    by: by.to_owned(),
                    reason: reason.clone(),
                });
                changes.push(Change::Paused { reason });
            }
            done(&changes)
        }
        Request::Resume { reason } => {
            if state.paused.is_some() || state.halted.is_some() {
                state.paused = None;
                state.halted = None;
                state.failures.clear();
                changes.push(Change::Resumed { reason });
            }
            done(&changes)
        }
        Request::Tick => {
            tick(&mut state, now, fleet, &mut changes);
            done(&changes)
        }
    };
    if !changes.is_empty() {
        state.known = known(&state, fleet);
    }
    (state, outcome, changes)
}

/// How many hosts the group has, as far as anybody knows.
pub fn known(state: &Semaphore, fleet: &Fleet) -> u32 {
    if fleet.complete {
        fleet.known
    } else {
        fleet.known.max(state.known)
    }
}

fn done(changes: &[Change]) -> Outcome {
    Outcome::Done {
        changed: !changes.is_empty(),
    }
}

fn set_policy(state: &mut Semaphore, policy: Policy, reason: Option<String>, changes: &mut Vec<Change>) {
    let from = std::mem::replace(&mut state.policy, policy.clone());
    changes.push(Change::Policy {
        from,
        to: policy,
        reason,
    });
}

fn take(
    state: &mut Semaphore,
    id: HostId,
    report: Report,
    fleet: &Fleet,
    now: Timestamp,
    changes: &mut Vec<Change>,
) -> Outcome {
    if let Some(Hold { since, .. }) = state.holders.get(&id) {
        return Outcome::AlreadyHeld { since: *since };
    }
    if let Some(refusal) = refusal(state, report.zone.as_deref(), fleet, now) {
        return Outcome::Refused(refusal);
    }
    let hold = Hold {
        since: now,
        zone: report.zone,
        version: report.target,
        overdue: false,
    };
    changes.push(Change::Granted {
        id: id.clone(),
        zone: hold.zone.clone(),
        version: hold.version.clone(),
    });
    state.holders.insert(id, hold);
    Outcome::Granted { since: now }
}

// The ending counts only with the release that it comes with, so that saying it again (the answer was lost) changes nothing.
fn release(
    state: &mut Semaphore,
    id: HostId,
    report: Report,
    fleet: &Fleet,
    now: Timestamp,
    changes: &mut Vec<Change>,
) -> Outcome {
    let Some(hold) = state.holders.remove(&id) else {
        return Outcome::NotHeld;
    };
    state.last_release = Some(now);
    // A host may say of an older release that it failed here; what counts is the one that the slot was taken for.
    let same = hold.version.is_none() || report.target.is_none() || hold.version == report.target;
    let ending = report.ending.filter(|_| same);
    changes.push(Change::Released {
        id: id.clone(),
        since: hold.since,
        ending,
        version: report.version,
    });
    if ending == Some(Ending::RolledBack) {
        let version = report.target.or(hold.version);
        fail(state, id, FailureKind::RolledBack, version, now);
        halt(state, fleet, now, changes);
    } else {
        state.failures.remove(&id);
    }
    Outcome::Released { since: hold.since }
}

fn tick(state: &mut Semaphore, now: Timestamp, fleet: &Fleet, changes: &mut Vec<Change>) {
    let patience = SignedDuration::from_secs(state.policy.return_seconds.into());
    let release = state.policy.absent == Absent::Release;
    let late: Vec<_> = state
        .holders
        .iter()
        .filter(|(_, hold)| now.duration_since(hold.since) >= patience && (release || !hold.overdue))
        .map(|(id, hold)| (id.clone(), hold.clone()))
        .collect();
    for (id, hold) in late {
        let since = hold.since;
        if release {
            state.holders.remove(&id);
            state.last_release = Some(now);
            let reason = format!("did not return within {} s", state.policy.return_seconds);
            let id = id.clone();
            changes.push(Change::TimedOut { id, since, reason });
        } else {
            if let Some(hold) = state.holders.get_mut(&id) {
                hold.overdue = true;
            }
            changes.push(Change::Overdue { id: id.clone(), since });
        }
        fail(state, id, FailureKind::NotReturned, hold.version, now);
    }
    if !changes.is_empty() {
        halt(state, fleet, now, changes);
    }
}

fn fail(state: &mut Semaphore, id: HostId, what: FailureKind, version: Option<String>, now: Timestamp) {
    if state.failures.len() >= MAX_FAILURES && !state.failures.contains_key(&id) {
        let oldest = state.failures.iter().min_by_key(|(_, failure)| failure.at);
        if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
            state.failures.remove(&oldest);
        }
    }
    state.failures.insert(id, Failure { at: now, what, version });
}

/// Stops the group if too many have failed.
fn halt(state: &mut Semaphore, fleet: &Fleet, now: Timestamp, changes: &mut Vec<Change>) {
    let failed = u32::try_from(state.failures.len()).unwrap_or(u32::MAX);
    let known = known(state, fleet).max(failed);
    let by_count = state.policy.halt_failures.is_some_and(|most| failed > most);
    let by_share = state
        .policy
        .halt_percent
        .is_some_and(|most| failed > 0 && u64::from(failed) * 100 > u64::from(most) * u64::from(known));
    if state.halted.is_some() || !(by_count || by_share) {
        return;
    }
    let count = |wanted| state.failures.values().filter(|failure| failure.what == wanted).count();
    let mut reason = format!(
        "{failed} of {known} hosts failed: {} rolled back, {} did not return",
        count(FailureKind::RolledBack),
        count(FailureKind::NotReturned)
    );
    let mut versions: Vec<_> = state
        .failures
        .values()
        .filter_map(|failure| failure.version.as_deref())
        .collect();
    versions.sort_unstable();
    versions.dedup();
    if let [first, rest @ ..] = versions.as_slice() {
        let more = match rest.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        reason = format!("{reason} ({first}{more})");
    }
    state.halted = Some(Halt {
        since: now,
        reason: reason.clone(),
    });
    changes.push(Change::Halted { reason });
}

#[cfg(test)]
pub(crate) mod tests;
