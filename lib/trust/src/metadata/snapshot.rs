//! The snapshot role: which versions of all targets roles belong together (TUF 1.0.x section 4.4).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Common, FileRecord, Role, SNAPSHOT, listed_as};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    #[serde(flatten)]
    pub(crate) common: Common,
    pub(crate) meta: BTreeMap<String, FileRecord>,
}

impl Snapshot {
    /// What is listed for a targets role.
    pub(crate) fn role(&self, role: &str) -> Option<&FileRecord> {
        self.meta.get(&listed_as(role))
    }

    /// Every listed role and its version.
    pub(crate) fn roles(&self) -> impl Iterator<Item = (&str, u64)> {
        self.meta
            .iter()
            .filter_map(|(file, record)| Some((file.strip_suffix(".json")?, record.version.get())))
    }
}

impl Role for Snapshot {
    const KIND: &'static str = SNAPSHOT;

    fn common(&self) -> &Common {
        &self.common
    }
}
