//! Targets roles: what a target is, and who else may say so (TUF 1.0.x section 4.5).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Common, Delegations, Hashes, Role, TARGETS};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Targets {
    #[serde(flatten)]
    pub(crate) common: Common,
    #[serde(rename = "targets")]
    pub(crate) listed: BTreeMap<String, TargetRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) delegations: Option<Delegations>,
}

/// What is signed about one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TargetRecord {
    pub(crate) length: u64,
    pub(crate) hashes: Hashes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) custom: Option<Value>,
}

impl Role for Targets {
    const KIND: &'static str = TARGETS;

    fn common(&self) -> &Common {
        &self.common
    }

    fn check_more(&self) -> Result<(), String> {
        self.delegations.as_ref().map_or(Ok(()), Delegations::check)
    }
}
