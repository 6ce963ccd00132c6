//! Delegations: which role may speak for which target names.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Delegator, Key, ROOT, RoleKeys, SNAPSHOT, TARGETS, TIMESTAMP, pattern};

/// The delegations of one targets role, in order of priority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Delegations {
    pub(crate) keys: BTreeMap<String, Key>,
    #[serde(default)]
    pub(crate) roles: Vec<DelegatedRole>,
}

/// One delegation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DelegatedRole {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) keys: RoleKeys,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) paths: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path_hash_prefixes: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) terminating: bool,
}

impl Delegations {
    /// The rules that the types cannot say.
    pub(crate) fn check(&self) -> Result<(), String> {
        let mut names = BTreeSet::new();
        for role in &self.roles {
            let name = crate::name::shorten(&role.name);
            if [ROOT, TIMESTAMP, SNAPSHOT, TARGETS, ""].contains(&role.name.as_str()) {
                return Err(format!(
                    "it delegates to `{name}`, which is not a name for a delegated role"
                ));
            }
            if !names.insert(&role.name) {
                return Err(format!("it delegates to `{name}` twice"));
            }
            if role.paths.is_some() && role.path_hash_prefixes.is_some() {
                return Err(format!("its delegation to `{name}` has both paths and hash prefixes"));
            }
        }
        Ok(())
    }

    /// Who speaks for `role`.
    pub(crate) fn delegator<'a>(&'a self, role: &'a DelegatedRole) -> Delegator<'a> {
        Delegator {
            keys: &self.keys,
            role: &role.keys,
        }
    }
}

impl DelegatedRole {
    /// Whether this role may speak for the target `name`.
    pub(crate) fn may_speak_for(&self, name: &str) -> bool {
        if let Some(prefixes) = &self.path_hash_prefixes {
            let hash = hex::encode(Sha256::digest(name.as_bytes()));
            return prefixes.iter().any(|prefix| hash.starts_with(prefix));
        }
        self.paths.iter().flatten().any(|paths| pattern::matches(paths, name))
    }
}
