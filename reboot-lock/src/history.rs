//! What changed, when, by whom and why: kept in the store, in the same transaction as the change itself.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::names::{GroupName, HostId};

/// One change of one group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When it was made, by the server's clock.
    pub at: Timestamp,
    /// The group that changed.
    pub group: GroupName,
    /// What changed.
    #[serde(flatten)]
    pub change: Change,
    /// Who asked, as far as the server knows: the address of a host, or the credential of a person.
    pub by: String,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Change {
    /// A host took a slot.
    Granted {
        /// The host.
        id: HostId,
    },
    /// A host gave its slot back.
    Released {
        /// The host.
        id: HostId,
        /// Since when it had held the slot.
        since: Timestamp,
    },
    /// A person freed a host's slot.
    ForcedRelease {
        /// The host that held it.
        id: HostId,
        /// Since when it had held the slot.
        since: Timestamp,
        /// Why, in the person's words.
        reason: String,
    },
    /// The number of slots changed.
    Slots {
        /// The number before.
        from: u32,
        /// The number now.
        to: u32,
    },
}

impl Change {
    /// The host that the change is about, if it is about one.
    pub fn host(&self) -> Option<&HostId> {
        match self {
            Self::Granted { id } | Self::Released { id, .. } | Self::ForcedRelease { id, .. } => Some(id),
            Self::Slots { .. } => None,
        }
    }
}

/// For the log.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted { id } => write!(f, "granted to {id}"),
            Self::Released { id, since } => write!(f, "released by {id}, held since {since}"),
            Self::ForcedRelease { id, since, reason } => {
                write!(f, "slot of {id} released by force, held since {since}: {reason}")
            }
            Self::Slots { from, to } => write!(f, "slots changed from {from} to {to}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reads_back_as_written() {
        let text = r#"{"at":"2026-01-01T00:00:00Z","group":"default","what":"forced-release","id":"a","since":"2025-12-31T00:00:00Z","reason":"disk died","by":"uid 0"}"#;
        let event: Event = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&event).unwrap(), text);
    }
}
