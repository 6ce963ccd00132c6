//! What `GET /v1/status` says: every group, who holds its slots, and what changed lately.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::history::Event;
use crate::names::{GroupName, HostId};

/// How many events of the history a status carries at most.
pub const RECENT: usize = 100;

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
}

/// One holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderStatus {
    /// The host.
    pub id: HostId,
    /// Since when it has held its slot.
    pub since: Timestamp,
}
