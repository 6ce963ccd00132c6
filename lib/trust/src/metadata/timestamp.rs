//! The timestamp role: which snapshot is the current one (TUF 1.0.x section 4.6).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Common, FileRecord, Role, TIMESTAMP};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TimestampRole {
    #[serde(flatten)]
    pub(crate) common: Common,
    meta: BTreeMap<String, FileRecord>,
}

const SNAPSHOT_FILE: &str = "snapshot.json";

impl TimestampRole {
    pub(crate) fn new(common: Common, snapshot: FileRecord) -> Self {
        Self {
            common,
            meta: BTreeMap::from([(SNAPSHOT_FILE.to_owned(), snapshot)]),
        }
    }

    /// The snapshot it names; checked to be there when it was opened.
    pub(crate) fn snapshot(&self) -> Option<&FileRecord> {
        self.meta.get(SNAPSHOT_FILE)
    }

    /// Names another snapshot.
    pub(crate) fn set_snapshot(&mut self, snapshot: FileRecord) {
        self.meta.insert(SNAPSHOT_FILE.to_owned(), snapshot);
    }
}

impl Role for TimestampRole {
    const KIND: &'static str = TIMESTAMP;

    fn common(&self) -> &Common {
        &self.common
    }

    fn check_more(&self) -> Result<(), String> {
        if self.meta.len() == 1 && self.snapshot().is_some() {
            Ok(())
        } else {
            Err("it must list snapshot.json and nothing else".to_owned())
        }
    }
}
