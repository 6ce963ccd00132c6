//! Signing what has changed and writing it: all signatures first, then new files, the timestamp last.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::json;

use super::{Keyring, Repository, RepositoryError, State, files};
use crate::metadata::envelope::Signed;
use crate::metadata::{Delegator, FileRecord, ROOT, Role, Root, SNAPSHOT, TARGETS, TIMESTAMP, listed_as};
use crate::{TrustError, canonical};

/// The files of one commit in the order they are written; the last one makes it visible.
pub(super) type Files = Vec<(String, Vec<u8>)>;

/// How the roles of one commit are signed.
struct Signing<'a> {
    keys: &'a Keyring,
    given: &'a BTreeMap<String, Vec<u8>>,
    /// The root that hosts know, while another one is published.
    before: Option<&'a Root>,
}

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
        let mut next = self.next();
        let now = self.clock.now();
        next.snapshot.common.next(now);
        next.timestamp.common.next(now);

        let new_root = self.changed.contains(ROOT);
        let signing = Signing {
            keys: &self.keys,
            given: &self.given,
            before: new_root.then_some(&self.published_root),
        };
        let mut out: Files = self.new_files.clone().into_iter().collect();
        let (signed, by_both) = next.sign(&signing, |role| self.changed.contains(role))?;
        out.extend(signed);
        if new_root {
            let bytes = signing.root(&next.root)?;
            let numbered = (format!("metadata/{}.root.json", next.root.version()), bytes.clone());
            if by_both {
                // Hosts can verify everything under either root: whichever they have, and wherever this is cut.
                out.push(numbered);
            } else {
                // The keys that were replaced are not here. The new root comes right before the timestamp that fits it.
                out.insert(out.len().saturating_sub(1), numbered);
            }
            out.push(("metadata/root.json".to_owned(), bytes));
        }
        self.forget_overruled()?;
        self.write(&out)?;
        self.published_root = next.root.clone();
        self.state = next;
        self.changed.clear();
        self.new_files.clear();
        for role in std::mem::take(&mut self.given).into_keys() {
            self.forget_pending(&role)?;
        }
        self.forget_made()?;
        Ok(true)
    }

    /// The state to publish: every changed role but snapshot and timestamp counted up, unless it was signed elsewhere.
    pub(super) fn next(&self) -> State {
        let now = self.clock.now();
        let mut next = self.state.clone();
        for role in self.changed.iter().filter(|role| !self.given.contains_key(*role)) {
            if let Some(delegated) = next.delegated.get_mut(role) {
                delegated.common.next(now);
            }
            match role.as_str() {
                ROOT => next.root.common.next(now),
                TARGETS => next.targets.common.next(now),
                _ => {}
            }
        }
        next
    }

    /// Publishes version 1 of everything.
    pub(super) fn write_first(&mut self) -> Result<(), RepositoryError> {
        let given = BTreeMap::new();
        let signing = Signing {
            keys: &self.keys,
            given: &given,
            before: None,
        };
        let root = signing.root(&self.state.root)?;
        let mut out: Files = vec![
            ("metadata/1.root.json".to_owned(), root.clone()),
            ("metadata/root.json".to_owned(), root),
        ];
        out.extend(self.state.sign(&signing, |_| true)?.0);
        self.write(&out)
    }

    pub(super) fn write(&self, out: &Files) -> Result<(), RepositoryError> {
        out.iter()
            .try_for_each(|(path, bytes)| files::publish(&self.directory.join(Path::new(path)), bytes))
    }
}

impl Signing<'_> {
    /// The file of `role` and whether hosts that know the root before can verify it too.
    fn file<R: Role>(
        &self,
        role: &str,
        value: &R,
        now: Delegator<'_>,
        before: Option<Delegator<'_>>,
    ) -> Result<(Vec<u8>, bool), RepositoryError> {
        let bytes = match self.given.get(role) {
            Some(given) => given.clone(),
            None => signed(
                self.keys,
                role,
                value,
                &[Some(now), before].into_iter().flatten().collect::<Vec<_>>(),
            )?,
        };
        enough(role, &bytes, now)?;
        let both = before.is_none_or(|before| enough(role, &bytes, before).is_ok());
        Ok((bytes, both))
    }

    /// A new root needs its own keys and those of the root before it.
    fn root(&self, root: &Root) -> Result<Vec<u8>, RepositoryError> {
        let before = self.before.map(Root::root);
        let (bytes, _) = self.file(ROOT, root, root.root(), before)?;
        before.map_or(Ok(()), |before| enough(ROOT, &bytes, before))?;
        Ok(bytes)
    }
}

impl State {
    /// Signs the targets roles that `changed` names, and whatever lists them. Says, too, whether all of it can be verified
    /// with the root before as well.
    fn sign(
        &mut self,
        signing: &Signing<'_>,
        changed: impl Fn(&str) -> bool,
    ) -> Result<(Files, bool), RepositoryError> {
        let mut out = Files::new();
        if let Some(delegations) = &self.targets.delegations {
            for role in delegations.roles.iter().filter(|role| changed(&role.name)) {
                let Some(targets) = self.delegated.get(&role.name) else {
                    continue;
                };
                let (bytes, _) = signing.file(&role.name, targets, delegations.delegator(role), None)?;
                let record = FileRecord::of(targets.common.version, &bytes);
                self.snapshot.meta.insert(listed_as(&role.name), record);
                out.push((file(targets.version(), &role.name), bytes));
            }
        }
        let mut by_both = true;
        if changed(TARGETS) {
            let before = signing.before.map(Root::targets);
            let (bytes, both) = signing.file(TARGETS, &self.targets, self.root.targets(), before)?;
            by_both &= both;
            self.snapshot
                .meta
                .insert(listed_as(TARGETS), FileRecord::of(self.targets.common.version, &bytes));
            out.push((file(self.targets.version(), TARGETS), bytes));
        }
        let before = signing.before.map(Root::snapshot);
        let (bytes, both) = signing.file(SNAPSHOT, &self.snapshot, self.root.snapshot(), before)?;
        by_both &= both;
        self.timestamp
            .set_snapshot(FileRecord::of(self.snapshot.common.version, &bytes));
        out.push((file(self.snapshot.version(), SNAPSHOT), bytes));
        let before = signing.before.map(Root::timestamp);
        let (bytes, both) = signing.file(TIMESTAMP, &self.timestamp, self.root.timestamp(), before)?;
        by_both &= both;
        out.push(("metadata/timestamp.json".to_owned(), bytes));
        Ok((out, by_both))
    }
}

fn file(version: u64, role: &str) -> String {
    format!("metadata/{version}.{role}.json")
}

/// The file of `role`, signed with every key at hand that speaks for it in the eyes of any of `delegators`.
pub(super) fn signed<R: Role>(
    keys: &Keyring,
    role: &str,
    value: &R,
    delegators: &[Delegator<'_>],
) -> Result<Vec<u8>, RepositoryError> {
    let malformed = |why: String| {
        RepositoryError::Refused(TrustError::Malformed {
            role: role.to_owned(),
            why,
        })
    };
    let value = serde_json::to_value(value).map_err(|error| malformed(error.to_string()))?;
    let message = canonical::to_vec(&value).map_err(|error| malformed(error.to_string()))?;
    let wanted: BTreeSet<&str> = delegators
        .iter()
        .flat_map(|delegator| &delegator.role.keyids)
        .map(String::as_str)
        .collect();
    let signatures: Vec<_> = keys
        .sign(&message, &wanted)?
        .into_iter()
        .map(|(keyid, sig)| json!({"keyid": keyid, "sig": sig}))
        .collect();
    Ok(json!({"signatures": signatures, "signed": value})
        .to_string()
        .into_bytes())
}

/// Refuses a file that too few keys of its role have signed.
pub(super) fn enough(role: &str, bytes: &[u8], delegator: Delegator<'_>) -> Result<(), RepositoryError> {
    let signed = Signed::parse(role, bytes).map_err(RepositoryError::Refused)?;
    let (have, _) = delegator.count(&signed);
    let threshold = delegator.role.threshold.get();
    if have as u64 >= u64::from(threshold) {
        return Ok(());
    }
    Err(RepositoryError::MissingKeys {
        role: role.to_owned(),
        threshold,
        have,
    })
}
