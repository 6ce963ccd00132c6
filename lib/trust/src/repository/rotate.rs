//! Other keys for a role: rotation, revocation, thresholds.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use super::{PublicKey, Repository, RepositoryError};
use crate::metadata::{Key, ROOT, RoleKeys, SNAPSHOT, TARGETS, TIMESTAMP};

/// What is to change about the keys of a role.
#[derive(Debug, Clone, Default)]
pub struct KeyChange {
    /// Keys that speak for it from now on.
    pub add: Vec<PublicKey>,
    /// Ids of keys that do no longer: revoked.
    pub remove: Vec<String>,
    /// How many of its keys must sign; as before if not given.
    pub threshold: Option<u32>,
}

impl Repository {
    /// Gives `role` other keys. The role that names them and `role` itself get new versions: what the old keys signed is
    /// signed again by the new ones, so that a revoked key is of no use from then on.
    ///
    /// # Errors
    /// [`RepositoryError::NoSuchRole`], [`RepositoryError::UnknownKey`], [`RepositoryError::BadKeys`]; then nothing has
    /// changed.
    pub fn rotate(&mut self, role: &str, change: &KeyChange) -> Result<(), RepositoryError> {
        let no_such_role = || RepositoryError::NoSuchRole { role: role.to_owned() };
        let root = &mut self.state.root;
        let by_root = match role {
            ROOT => Some(&mut root.roles.root),
            TARGETS => Some(&mut root.roles.targets),
            SNAPSHOT => Some(&mut root.roles.snapshot),
            TIMESTAMP => Some(&mut root.roles.timestamp),
            _ => None,
        };
        if let Some(keys) = by_root {
            apply(role, keys, &mut root.keys, change)?;
            let roles = &root.roles;
            let used = [&roles.root, &roles.targets, &roles.snapshot, &roles.timestamp];
            forget_unused(&mut root.keys, used.into_iter());
            self.changed.extend([ROOT.to_owned(), role.to_owned()]);
        } else {
            let delegations = self.state.targets.delegations.as_mut().ok_or_else(no_such_role)?;
            let found = delegations.roles.iter_mut().find(|one| one.name == role);
            let found = found.ok_or_else(no_such_role)?;
            apply(role, &mut found.keys, &mut delegations.keys, change)?;
            forget_unused(&mut delegations.keys, delegations.roles.iter().map(|one| &one.keys));
            self.changed.extend([TARGETS.to_owned(), role.to_owned()]);
        }
        Ok(())
    }
}

fn apply(
    role: &str,
    keys: &mut RoleKeys,
    known: &mut BTreeMap<String, Key>,
    change: &KeyChange,
) -> Result<(), RepositoryError> {
    let mut ids = keys.keyids.clone();
    for id in &change.remove {
        let at = ids.iter().position(|one| one == id);
        let at = at.ok_or_else(|| RepositoryError::UnknownKey {
            role: role.to_owned(),
            key: id.clone(),
        })?;
        ids.remove(at);
    }
    for key in &change.add {
        if !ids.contains(&key.id()) {
            ids.push(key.id());
        }
    }
    let threshold = change.threshold.unwrap_or(keys.threshold.get());
    let enough = u64::from(threshold) <= ids.len() as u64;
    let Some(nonzero) = NonZeroU32::new(threshold).filter(|_| enough) else {
        return Err(RepositoryError::BadKeys {
            role: role.to_owned(),
            keys: ids.len(),
            threshold,
        });
    };
    for key in &change.add {
        known.insert(key.id(), Key::ed25519(key.public.into()));
    }
    (keys.keyids, keys.threshold) = (ids, nonzero);
    Ok(())
}

fn forget_unused<'a>(known: &mut BTreeMap<String, Key>, roles: impl Iterator<Item = &'a RoleKeys>) {
    let used: BTreeSet<&String> = roles.flat_map(|role| &role.keyids).collect();
    known.retain(|id, _| used.contains(id));
}
