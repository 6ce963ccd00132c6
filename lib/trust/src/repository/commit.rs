//! Signing what has changed and writing it: all signatures first, then new files, the timestamp last.

use std::path::Path;

use serde_json::json;

use super::{Keyring, Repository, RepositoryError, State, files};
use crate::metadata::{Delegator, FileRecord, ROOT, Role, SNAPSHOT, TARGETS, TIMESTAMP, listed_as};
use crate::{TrustError, canonical};

/// The files of one commit in the order they are written; the last one makes it visible.
type Files = Vec<(String, Vec<u8>)>;

impl Repository {
    /// Signs and publishes what was changed since the last commit; nothing if nothing was. Returns whether anything was
    /// published.
    ///
    /// Every file is written durably by a rename. Cut anywhere, readers have the old state or the new one, and a further
    /// commit of the same changes succeeds.
    ///
    /// # Errors
    /// [`RepositoryError::MissingKeys`] before anything is written; files that cannot be written.
    pub fn commit(&mut self) -> Result<bool, RepositoryError> {
        if self.changed.is_empty() {
            return Ok(false);
        }
        let now = self.clock.now();
        let mut next = self.state.clone();
        for role in &self.changed {
            if let Some(delegated) = next.delegated.get_mut(role) {
                delegated.common.next(now);
            }
        }
        if self.changed.contains(TARGETS) {
            next.targets.common.next(now);
        }
        next.snapshot.common.next(now);
        next.timestamp.common.next(now);

        let mut out: Files = self.new_files.clone().into_iter().collect();
        out.extend(next.sign(&self.keys, |role| self.changed.contains(role))?);
        self.write(&out)?;
        self.state = next;
        self.changed.clear();
        self.new_files.clear();
        Ok(true)
    }

    /// Publishes version 1 of everything.
    pub(super) fn write_first(&mut self) -> Result<(), RepositoryError> {
        let root = sign(&self.keys, ROOT, &self.state.root, self.state.root.root())?;
        let mut out: Files = vec![
            ("metadata/1.root.json".to_owned(), root.clone()),
            ("metadata/root.json".to_owned(), root),
        ];
        out.extend(self.state.sign(&self.keys, |_| true)?);
        self.write(&out)
    }

    fn write(&self, out: &Files) -> Result<(), RepositoryError> {
        out.iter()
            .try_for_each(|(path, bytes)| files::publish(&self.directory.join(Path::new(path)), bytes))
    }
}

impl State {
    /// Signs the targets roles that `changed` names, and whatever lists them.
    fn sign(&mut self, keys: &Keyring, changed: impl Fn(&str) -> bool) -> Result<Files, RepositoryError> {
        let mut out = Files::new();
        if let Some(delegations) = &self.targets.delegations {
            for role in delegations.roles.iter().filter(|role| changed(&role.name)) {
                let Some(targets) = self.delegated.get(&role.name) else {
                    continue;
                };
                let bytes = sign(keys, &role.name, targets, delegations.delegator(role))?;
                let record = FileRecord::of(targets.common.version, &bytes);
                self.snapshot.meta.insert(listed_as(&role.name), record);
                out.push((file(targets.version(), &role.name), bytes));
            }
        }
        if changed(TARGETS) {
            let bytes = sign(keys, TARGETS, &self.targets, self.root.targets())?;
            self.snapshot
                .meta
                .insert(listed_as(TARGETS), FileRecord::of(self.targets.common.version, &bytes));
            out.push((file(self.targets.version(), TARGETS), bytes));
        }
        let bytes = sign(keys, SNAPSHOT, &self.snapshot, self.root.snapshot())?;
        self.timestamp
            .set_snapshot(FileRecord::of(self.snapshot.common.version, &bytes));
        out.push((file(self.snapshot.version(), SNAPSHOT), bytes));
        let bytes = sign(keys, TIMESTAMP, &self.timestamp, self.root.timestamp())?;
        out.push(("metadata/timestamp.json".to_owned(), bytes));
        Ok(out)
    }
}

fn file(version: u64, role: &str) -> String {
    format!("metadata/{version}.{role}.json")
}

/// The file of `role`, signed with every key at hand that speaks for it.
fn sign<R: Role>(keys: &Keyring, role: &str, signed: &R, delegator: Delegator<'_>) -> Result<Vec<u8>, RepositoryError> {
    let malformed = |why: String| {
        RepositoryError::Refused(TrustError::Malformed {
            role: role.to_owned(),
            why,
        })
    };
    let value = serde_json::to_value(signed).map_err(|error| malformed(error.to_string()))?;
    let message = canonical::to_vec(&value).map_err(|error| malformed(error.to_string()))?;
    let mut signatures: Vec<(String, String)> = keys
        .keys()
        .filter(|key| delegator.role.keyids.contains(&key.id()))
        .map(|key| (key.id(), hex::encode(key.sign(&message))))
        .collect();
    signatures.sort();
    signatures.dedup();
    let threshold = delegator.role.threshold.get();
    if (signatures.len() as u64) < u64::from(threshold) {
        return Err(RepositoryError::MissingKeys {
            role: role.to_owned(),
            threshold,
            have: signatures.len(),
        });
    }
    let signatures: Vec<_> = signatures
        .into_iter()
        .map(|(keyid, sig)| json!({"keyid": keyid, "sig": sig}))
        .collect();
    Ok(json!({"signatures": signatures, "signed": value})
        .to_string()
        .into_bytes())
}
