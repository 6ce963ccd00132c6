//! Version floors: what this host has seen, so that nothing older is ever accepted again.
//!
//! The cached metadata files may be torn by a power cut and are then fetched anew; these numbers may not. They are one
//! small file with its own checksum, replaced durably *before* the files they speak of. If it is damaged, or gone while
//! other state is there, the client refuses to work until an operator decides (see [`crate::Client::recover`]).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::store::Store;
use crate::metadata::{Root, Snapshot};
use crate::{Hex32, TrustError, canonical, json};

/// The name of the file in the metadata directory.
const FILE: &str = "floors.json";

/// A snapshot may list thousands of roles; beyond this the file is not ours.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The format written; another number is another program's.
const FORMAT: u32 = 1;

/// The oldest versions still accepted, and the earliest time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floors {
    format: u32,
    root: u64,
    /// The keys of timestamp and snapshot under which the next three were seen.
    online_keys: Option<Hex32>,
    timestamp: u64,
    snapshot: u64,
    roles: BTreeMap<String, u64>,
    time: Timestamp,
}

impl Default for Floors {
    fn default() -> Self {
        Self {
            format: FORMAT,
            root: 0,
            online_keys: None,
            timestamp: 0,
            snapshot: 0,
            roles: BTreeMap::new(),
            time: Timestamp::UNIX_EPOCH,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    /// sha256 of the canonical form of `floors`: tells a torn or flipped file from a good one.
    check: Hex32,
    floors: Floors,
}

impl Floors {
    /// The oldest version of the root accepted; 0 if none was seen.
    pub fn root(&self) -> u64 {
        self.root
    }

    /// The oldest version of the timestamp accepted; 0 if none was seen.
    pub fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// The oldest version of the snapshot accepted; 0 if none was seen.
    pub fn snapshot(&self) -> u64 {
        self.snapshot
    }

    /// The oldest version accepted of each targets role seen, `targets` included.
    pub fn roles(&self) -> &BTreeMap<String, u64> {
        &self.roles
    }

    /// The earliest time that expiry is judged at.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// Reads the floors; writes new ones into a directory that holds nothing yet, before anything else is put there.
    ///
    /// # Errors
    /// [`TrustError::Floors`] if they are damaged, or gone while there is other state.
    pub(super) fn read(store: &Store) -> Result<Self, TrustError> {
        let refused = |why: String| TrustError::Floors {
            path: store.path(FILE),
            why,
        };
        match store.read_exactly(FILE, MAX_BYTES) {
            Ok(Some(bytes)) => Self::parse(&bytes).map_err(refused),
            Ok(None) if store.is_empty()? => {
                let fresh = Self::default();
                fresh.save(store)?;
                Ok(fresh)
            }
            Ok(None) => Err(refused(
                "it is gone, but the metadata it belongs to is there".to_owned(),
            )),
            Err(error) => Err(refused(format!("it cannot be read: {error}"))),
        }
    }

    /// Reads what [`Floors::save`] wrote.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let damaged = |detail: String| format!("it is damaged ({detail})");
        let value = json::parse(bytes).map_err(|error| damaged(error.to_string()))?;
        let wire: Wire = serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?;
        if wire.floors.check()? != wire.check {
            return Err(damaged("its checksum does not fit its content".to_owned()));
        }
        if wire.floors.format != FORMAT {
            return Err(format!(
                "it is of format {}, this program reads format {FORMAT}",
                wire.floors.format
            ));
        }
        Ok(wire.floors)
    }

    fn check(&self) -> Result<Hex32, String> {
        let value = serde_json::to_value(self).map_err(|error| error.to_string())?;
        Ok(Hex32::sha256_of(
            &canonical::to_vec(&value).map_err(|error| error.to_string())?,
        ))
    }

    /// Makes the floors durable, unless the file says this already.
    ///
    /// # Errors
    /// [`TrustError::Store`].
    pub(super) fn save(&self, store: &Store) -> Result<(), TrustError> {
        if let Ok(Some(bytes)) = store.read_exactly(FILE, MAX_BYTES)
            && Self::parse(&bytes).is_ok_and(|there| there == *self)
        {
            return Ok(());
        }
        let unwritable = |why| TrustError::Floors {
            path: store.path(FILE),
            why,
        };
        let wire = Wire {
            check: self.check().map_err(unwritable)?,
            floors: self.clone(),
        };
        let bytes = serde_json::to_vec(&wire).map_err(|error| unwritable(error.to_string()))?;
        store.write(FILE, &bytes)
    }

    pub(super) fn raise_root(&mut self, version: u64) {
        self.root = self.root.max(version);
    }

    pub(super) fn raise_timestamp(&mut self, version: u64, snapshot: u64) {
        self.timestamp = self.timestamp.max(version);
        self.snapshot = self.snapshot.max(snapshot);
    }

    pub(super) fn raise_roles(&mut self, snapshot: &Snapshot) {
        for (role, version) in snapshot.roles() {
            let floor = self.roles.entry(role.to_owned()).or_default();
            *floor = version.max(*floor);
        }
    }

    pub(super) fn raise_time(&mut self, time: Timestamp) {
        self.time = self.time.max(time);
    }

    /// Ties the floors to the online keys of `root`. If the floors were seen under other keys, what those said, perhaps in a
    /// thief's hand and with versions that could never be reached, no longer binds (TUF 1.0.x section 5.3.11, recovery
    /// from a fast-forward attack). Compared with what is remembered, not with the root before: a new image may bring a
    /// root that is several versions further.
    pub(super) fn bind_online_keys(&mut self, root: &Root) {
        if self.seen_under_other_keys(root) {
            self.timestamp = 0;
            self.snapshot = 0;
            self.roles.clear();
        }
        self.online_keys = Some(root.online_keys());
    }

    /// Whether what is remembered of the online roles was said with other keys than those of `root`.
    pub(super) fn seen_under_other_keys(&self, root: &Root) -> bool {
        self.online_keys.is_some_and(|keys| keys != root.online_keys())
    }

    pub(super) fn same_versions(&self, other: &Self) -> bool {
        Self {
            time: other.time,
            ..self.clone()
        } == *other
    }
}

/// Refuses a version below its floor.
///
/// # Errors
/// [`TrustError::Rollback`].
pub(super) fn check(role: &str, offered: u64, floor: u64) -> Result<(), TrustError> {
    if offered >= floor {
        return Ok(());
    }
    Err(TrustError::Rollback {
        role: role.to_owned(),
        offered,
        floor,
    })
}
