//! What changed, when, by whom and why: kept in the store, in the same transaction as the change itself.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::names::{GroupName, HostId};
use crate::policy::Policy;
use crate::semaphore::Ending;

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
        /// Where it is, if it said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
        /// The release that it reboots into, if it said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
    },
    /// A host gave its slot back.
    Released {
        /// The host.
        id: HostId,
        /// Since when it had held the slot.
        since: Timestamp,
        /// How its reboot ended, if it said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ending: Option<Ending>,
        /// The release that runs there now, if it said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
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
    /// A host did not return in time and keeps its slot.
    Overdue {
        /// The host.
        id: HostId,
        /// Since when it has held the slot.
        since: Timestamp,
    },
    /// A host did not return in time, and the policy freed its slot.
    TimedOut {
        /// The host.
        id: HostId,
        /// Since when it had held the slot.
        since: Timestamp,
        /// Which rule.
        reason: String,
    },
    /// The rules changed.
    Policy {
        /// The rules before.
        from: Policy,
        /// The rules now.
        to: Policy,
        /// Why, where a person changed them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A person stopped the group.
    Paused {
        /// Why, in the person's words.
        reason: String,
    },
    /// A person ended a pause or a halt.
    Resumed {
        /// Why, in the person's words.
        reason: String,
    },
    /// Too many hosts failed.
    Halted {
        /// How many of how many.
        reason: String,
    },
}

impl Change {
    /// The host that the change is about, if it is about one.
    pub fn host(&self) -> Option<&HostId> {
        match self {
            Self::Granted { id, .. }
            | Self::Released { id, .. }
            | Self::ForcedRelease { id, .. }
            | Self::Overdue { id, .. }
            | Self::TimedOut { id, .. } => Some(id),
            Self::Policy { .. } | Self::Paused { .. } | Self::Resumed { .. } | Self::Halted { .. } => None,
        }
    }

    /// Why, where there is a reason.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::ForcedRelease { reason, .. }
            | Self::TimedOut { reason, .. }
            | Self::Paused { reason }
            | Self::Resumed { reason }
            | Self::Halted { reason } => Some(reason),
            Self::Policy { reason, .. } => reason.as_deref(),
            Self::Granted { .. } | Self::Released { .. } | Self::Overdue { .. } => None,
        }
    }

    /// What happened, in a few words without the host and the reason.
    pub fn summary(&self) -> String {
        match self {
            Self::Granted { version: None, .. } => "granted".to_owned(),
            Self::Granted {
                version: Some(version), ..
            } => format!("granted, to boot {version}"),
            Self::Released {
                ending: Some(Ending::RolledBack),
                ..
            } => "released, rolled back".to_owned(),
            Self::Released { .. } => "released".to_owned(),
            Self::ForcedRelease { .. } => "forced release".to_owned(),
            Self::Overdue { .. } => "overdue".to_owned(),
            Self::TimedOut { .. } => "released by policy".to_owned(),
            Self::Policy { from, to, .. } => format!("policy: {from} → {to}"),
            Self::Paused { .. } => "paused".to_owned(),
            Self::Resumed { .. } => "resumed".to_owned(),
            Self::Halted { .. } => "halted".to_owned(),
        }
    }
}

/// For the log.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.summary())?;
        if let Some(id) = self.host() {
            write!(f, ": {id}")?;
        }
        match self.reason() {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
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
