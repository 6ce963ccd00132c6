//! Starting anew after the floors were damaged: an operator's decision, never the program's.

use std::path::Path;

use super::floors::Floors;
use super::{Client, root, store::Store};
use crate::TrustError;
use crate::metadata::Role;

/// What a recovery could save of the floors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The floors from now on.
    pub floors: Floors,
    /// What this host no longer knows, one sentence each, for the operator to read.
    pub given_up: Vec<String>,
}

impl Client {
    /// Replaces floors that cannot be read, by what the kept metadata still proves: files in `metadata_dir` whose signatures
    /// verify from `trusted_root` set new floors, whatever their dates.
    ///
    /// This gives up part of the protection against rollbacks: until the next refresh, a repository in a thief's hand, or an
    /// old copy of it that has not expired, could show this host something older than what it had seen. Floors that can be
    /// read are kept as they are.
    ///
    /// # Errors
    /// As [`Client::open`], but for the floors.
    pub fn recover(metadata_dir: &Path, trusted_root: &[u8]) -> Result<Recovered, TrustError> {
        let shipped = root::shipped(trusted_root)?;
        let store = Store::open(metadata_dir)?;
        if let Ok(floors) = Floors::read(&store) {
            return Ok(Recovered {
                floors,
                given_up: Vec::new(),
            });
        }
        let root = root::from_store(&store, shipped);
        let mut client = Self {
            store,
            floors: Floors::default(),
            root,
            current: None,
        };
        let given_up = client.rebuild_floors();
        client.floors.save(&client.store)?;
        Ok(Recovered {
            floors: client.floors,
            given_up,
        })
    }

    fn rebuild_floors(&mut self) -> Vec<String> {
        let mut given_up = vec!["the earliest time: a clock that was set back is believed again".to_owned()];
        self.floors.bind_online_keys(&self.root);
        self.floors.raise_root(self.root.version());
        let Some(timestamp) = self.kept_timestamp() else {
            given_up.push("the versions of timestamp, snapshot and all targets roles seen so far".to_owned());
            return given_up;
        };
        let Some(record) = timestamp.snapshot() else {
            return given_up;
        };
        self.floors.raise_timestamp(timestamp.version(), record.version.get());
        match self.kept_snapshot(record) {
            Some(snapshot) => self.floors.raise_roles(&snapshot),
            None => given_up.push("the versions of all targets roles seen so far".to_owned()),
        }
        given_up
    }
}
