//! The root role: names the keys of all top-level roles, its own included (TUF 1.0.x section 4.3).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Common, Delegator, Key, ROOT, Role, RoleKeys};
use crate::{Hex32, canonical};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Root {
    #[serde(flatten)]
    pub(crate) common: Common,
    #[serde(default)]
    pub(crate) consistent_snapshot: bool,
    pub(crate) keys: BTreeMap<String, Key>,
    pub(crate) roles: Roles,
}

/// The top-level roles; each must be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Roles {
    pub(crate) root: RoleKeys,
    pub(crate) timestamp: RoleKeys,
    pub(crate) snapshot: RoleKeys,
    pub(crate) targets: RoleKeys,
}

impl Role for Root {
    const KIND: &'static str = ROOT;

    fn common(&self) -> &Common {
        &self.common
    }
}

impl Root {
    fn delegator<'a>(&'a self, role: &'a RoleKeys) -> Delegator<'a> {
        Delegator { keys: &self.keys, role }
    }

    /// Who speaks for the root.
    pub(crate) fn root(&self) -> Delegator<'_> {
        self.delegator(&self.roles.root)
    }

    /// Who speaks for the timestamp.
    pub(crate) fn timestamp(&self) -> Delegator<'_> {
        self.delegator(&self.roles.timestamp)
    }

    /// Who speaks for the snapshot.
    pub(crate) fn snapshot(&self) -> Delegator<'_> {
        self.delegator(&self.roles.snapshot)
    }

    /// Who speaks for the top-level targets.
    pub(crate) fn targets(&self) -> Delegator<'_> {
        self.delegator(&self.roles.targets)
    }

    /// A fingerprint of the keys of timestamp and snapshot: another one means that they were rotated.
    pub(crate) fn online_keys(&self) -> Hex32 {
        let sets = [self.timestamp(), self.snapshot()].map(|role| json!(role.key_set()));
        // Keys come from parsed JSON without fractions, so this form always exists.
        Hex32::sha256_of(&canonical::to_vec(&json!(sets)).unwrap_or_default())
    }

    /// The prefix of the file name of version `version` of a role (TUF 1.0.x section 6.2).
    pub(crate) fn file_prefix(&self, version: u64) -> String {
        if self.consistent_snapshot {
            format!("{version}.")
        } else {
            String::new()
        }
    }
}
