//! What `GET /v1/status` says: every group, who holds its slots, and what changed lately.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::history::Event;
use crate::names::{GroupName, HostId};
use crate::policy::Policy;
use crate::semaphore::{FailureKind, Halt, Pause};

/// How many events of the history a status carries at most.
pub const RECENT: usize = 100;

/// How many waiting hosts a status names at most, for each group.
pub const NAMED_WAITING: usize = 100;

/// The whole answer. Fields may be added; a reader ignores those it does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The server's clock.
    pub now: Timestamp,
    /// All groups that are configured, or still have a holder, by name.
    pub groups: Vec<GroupStatus>,
    /// The latest events, newest first, at most [`RECENT`].
    pub history: Vec<Event>,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Its name.
    pub name: GroupName,
    /// How many hosts may hold a slot.
    pub slots: u32,
    /// Whether the configuration names it. One that it no longer names grants nothing and waits for its last holder.
    pub configured: bool,
    /// Who holds a slot, longest first.
    pub holders: Vec<HolderStatus>,
    /// The rules in force.
    #[serde(default)]
    pub policy: Policy,
    /// Whether a person stopped the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Pause>,
    /// Whether too many hosts failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halted: Option<Halt>,
    /// Hosts that rolled back or did not return, since a person resumed the group last; latest first.
    #[serde(default)]
    pub failures: Vec<FailureStatus>,
    /// How many hosts wait for a slot, as far as this server knows.
    #[serde(default)]
    pub waiting: usize,
    /// Those that have waited longest, at most [`NAMED_WAITING`].
    #[serde(default)]
    pub waiting_hosts: Vec<WaitingStatus>,
    /// How many hosts the group has, as far as this server knows.
    #[serde(default)]
    pub known: u32,
    /// How many hosts run which version, as far as they said so to this server.
    #[serde(default)]
    pub versions: Vec<VersionStatus>,
}

/// A host that rolled back or did not return.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureStatus {
    /// The host.
    pub id: HostId,
    /// When the server learned of it.
    pub at: Timestamp,
    /// Which of the two.
    pub what: FailureKind,
    /// The release it failed with, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A host that waits for a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingStatus {
    /// The host.
    pub id: HostId,
    /// Since when it asks.
    pub since: Timestamp,
    /// Where it is, if it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Why it gets none now, for people.
    pub why: String,
}

/// A version and how many hosts run it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionStatus {
    /// The version; none for hosts that did not say.
    pub version: Option<String>,
    /// How many.
    pub hosts: usize,
}

/// One holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderStatus {
    /// The host.
    pub id: HostId,
    /// Since when it has held its slot.
    pub since: Timestamp,
    /// Where it is, if it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The release that it reboots into, if it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether it has been away for longer than the policy allows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overdue: bool,
}
