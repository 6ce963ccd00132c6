//! New versions of offline roles that wait for the signatures of several people.
//!
//! A change is staged as `pending/ROLE.json`, a metadata file like any other but with too few signatures. It travels to
//! whoever holds a key, who adds a signature; when there are enough, the host with the online keys publishes it.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use super::commit::{enough, signed};
use super::{CHANNELS, Keyring, RELEASES, Repository, RepositoryError, State, files};
use crate::metadata::envelope::Signed;
use crate::metadata::{Delegator, ROOT, Role, Root, TARGETS, Targets};
use crate::{Hex32, TrustError};

/// The roles whose keys are kept offline, in the order in which they depend on one another.
const OFFLINE: [&str; 3] = [ROOT, TARGETS, RELEASES];

/// The longest pending file, in bytes.
const MAX_PENDING: u64 = 64 * 1024 * 1024;

/// A file in `pending/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pending {
    /// Its role.
    pub role: String,
    /// Its version.
    pub version: u64,
    /// The sha256 of what is to be signed: what people who sign compare by telephone.
    pub fingerprint: String,
    /// How many keys of the role have signed.
    pub signed: usize,
    /// How many must.
    pub threshold: u32,
    /// For a root: how many keys of the root before it have signed, and how many must.
    pub before: Option<(usize, u32)>,
}

impl Pending {
    /// How many signatures are missing.
    #[must_use]
    pub fn missing(&self) -> u64 {
        let missing = |have: usize, threshold: u32| u64::from(threshold).saturating_sub(have as u64);
        let before = self.before.map_or(0, |(have, threshold)| missing(have, threshold));
        missing(self.signed, self.threshold).max(before)
    }
}

impl Repository {
    /// Writes the changed offline roles into `pending/`, with the signatures of the keys at hand, instead of publishing them.
    /// Online roles are signed by those who hold their keys when all of this is published. Channels that were changed, too,
    /// are kept there until then.
    ///
    /// # Errors
    /// [`RepositoryError::CannotWait`] if a channel was removed; [`RepositoryError::Waiting`] if another version of such a
    /// role waits already; files that cannot be written. Nothing has changed then.
    pub fn stage(&mut self) -> Result<Vec<Pending>, RepositoryError> {
        let kept = self.channels_to_keep()?;
        let next = self.next();
        let changed: Vec<&str> = OFFLINE
            .into_iter()
            .filter(|role| self.changed.contains(*role))
            .collect();
        let of_channels = format!("targets/{CHANNELS}/");
        let documents = self
            .new_files
            .iter()
            .filter(|(path, _)| !path.starts_with(&of_channels));
        let mut out: super::commit::Files = documents.map(|(path, bytes)| (path.clone(), bytes.clone())).collect();
        out.extend(kept.into_iter().map(|(name, bytes)| (format!("pending/{name}"), bytes)));
        for role in changed {
            let path = self.pending(role);
            if path.exists() {
                let role = role.to_owned();
                return Err(RepositoryError::Waiting { path, role });
            }
            let bytes = match role {
                ROOT => signed(
                    &self.keys,
                    role,
                    &next.root,
                    &[next.root.root(), self.published_root.root()],
                )?,
                TARGETS => signed(&self.keys, role, &next.targets, &[next.root.targets()])?,
                _ => {
                    let Some((targets, delegator)) = next.delegate(role) else {
                        continue;
                    };
                    signed(&self.keys, role, targets, &[delegator])?
                }
            };
            out.push((format!("pending/{role}.json"), bytes));
        }
        self.write(&out)?;
        self.changed.clear();
        self.new_files.clear();
        let reopened = Self::open(&self.directory, &self.keys)?;
        self.state = reopened.state;
        self.pending_files()
    }

    /// What waits for signatures.
    ///
    /// # Errors
    /// A file in `pending/` that is not what it should be.
    pub fn pending_files(&self) -> Result<Vec<Pending>, RepositoryError> {
        let mut next = self.state.clone();
        let mut found = Vec::new();
        for role in OFFLINE {
            let Some(bytes) = self.read_pending(role)? else {
                continue;
            };
            found.push(
                next.take(role, &bytes, &self.published_root)
                    .map_err(|error| self.refused(role, error))?,
            );
        }
        Ok(found)
    }

    /// Takes every file of `pending/` that has its signatures, to be published with the next commit, and the changes of
    /// channels that waited for it. Returns what still waits for signatures.
    ///
    /// # Errors
    /// [`RepositoryError::Stale`]; a file that is not what it should be.
    pub fn take_pending(&mut self) -> Result<Vec<Pending>, RepositoryError> {
        let mut waiting = Vec::new();
        for role in OFFLINE {
            let Some(bytes) = self.read_pending(role)? else {
                continue;
            };
            let mut next = self.state.clone();
            let pending = next
                .take(role, &bytes, &self.published_root)
                .map_err(|error| self.refused(role, error))?;
            let published = self.state.version_of(role);
            if pending.version == published {
                // Published already, and cut before it was removed here.
                self.forget_pending(role)?;
                continue;
            }
            if pending.version != published + 1 {
                return Err(RepositoryError::Stale {
                    path: self.pending(role),
                    role: role.to_owned(),
                    found: pending.version,
                    wanted: published + 1,
                });
            }
            if pending.missing() > 0 {
                waiting.push(pending);
                continue;
            }
            self.state = next;
            self.changed.insert(role.to_owned());
            self.given.insert(role.to_owned(), bytes);
        }
        if waiting.iter().any(|one| one.role != RELEASES) && !self.given.is_empty() {
            // A change of keys is one change: half of it must not be published before the other.
            let reopened = Self::open(&self.directory, &self.keys)?;
            (self.state, self.changed) = (reopened.state, reopened.changed);
            self.given.clear();
        }
        self.take_kept()?;
        Ok(waiting)
    }

    /// Whether a commit needs a key that is not at hand: then [`Repository::stage`] is the way.
    #[must_use]
    pub fn lacks_offline_keys(&self) -> bool {
        let next = self.next();
        let lacks = |role: &str, bytes: Result<Vec<u8>, RepositoryError>, delegators: &[Delegator<'_>]| {
            self.changed.contains(role)
                && !self.given.contains_key(role)
                && bytes.is_ok_and(|bytes| {
                    delegators
                        .iter()
                        .any(|delegator| enough(role, &bytes, *delegator).is_err())
                })
        };
        let roots = [next.root.root(), self.published_root.root()];
        let targets = [next.root.targets()];
        lacks(ROOT, signed(&self.keys, ROOT, &next.root, &roots), &roots)
            || lacks(TARGETS, signed(&self.keys, TARGETS, &next.targets, &targets), &targets)
            || next.delegate(RELEASES).is_some_and(|(releases, delegator)| {
                lacks(
                    RELEASES,
                    signed(&self.keys, RELEASES, releases, &[delegator]),
                    &[delegator],
                )
            })
    }

    fn pending(&self, role: &str) -> PathBuf {
        self.directory.join(format!("pending/{role}.json"))
    }

    fn read_pending(&self, role: &str) -> Result<Option<Vec<u8>>, RepositoryError> {
        let path = self.pending(role);
        path.exists().then(|| files::read(&path, MAX_PENDING)).transpose()
    }

    pub(super) fn forget_pending(&self, role: &str) -> Result<(), RepositoryError> {
        Ok(twinhull_durable::remove(&self.pending(role))?)
    }

    fn refused(&self, role: &str, source: TrustError) -> RepositoryError {
        RepositoryError::Invalid {
            path: self.pending(role),
            source,
        }
    }
}

impl State {
    fn delegate(&self, role: &str) -> Option<(&Targets, Delegator<'_>)> {
        let delegations = self.targets.delegations.as_ref()?;
        let found = delegations.roles.iter().find(|one| one.name == role)?;
        Some((self.delegated.get(role)?, delegations.delegator(found)))
    }

    fn version_of(&self, role: &str) -> u64 {
        match role {
            ROOT => self.root.version(),
            TARGETS => self.targets.version(),
            _ => self.delegated.get(role).map_or(0, Role::version),
        }
    }

    /// Makes the file of a role the present one, and says who has signed it.
    fn take(&mut self, role: &str, bytes: &[u8], before: &Root) -> Result<Pending, TrustError> {
        let signed = Signed::parse(role, bytes)?;
        let old = match role {
            ROOT => {
                self.root = signed.unverified(role)?;
                let old = before.root();
                Some((old.count(&signed).0, old.role.threshold.get()))
            }
            TARGETS => {
                self.targets = signed.unverified(role)?;
                None
            }
            _ => {
                self.delegated.insert(role.to_owned(), signed.unverified(role)?);
                None
            }
        };
        let delegator = match role {
            ROOT => self.root.root(),
            TARGETS => self.root.targets(),
            _ => {
                let found = self.delegate(role);
                found
                    .map(|(_, delegator)| delegator)
                    .ok_or_else(|| TrustError::RoleNotListed { role: role.to_owned() })?
            }
        };
        Ok(Pending {
            role: role.to_owned(),
            version: self.version_of(role),
            fingerprint: Hex32::sha256_of(&signed.message).to_string(),
            signed: delegator.count(&signed).0,
            threshold: delegator.role.threshold.get(),
            before: old,
        })
    }
}

/// The sha256 of what is to be signed in the pending file `path`, as [`Pending::fingerprint`]: who signs elsewhere compares it
/// with others.
///
/// # Errors
/// The file is not the metadata of `role`.
pub fn fingerprint(path: &Path, role: &str) -> Result<String, RepositoryError> {
    let taken = Signed::parse(role, &files::read(path, MAX_PENDING)?);
    let taken = taken.map_err(|source| RepositoryError::Invalid {
        path: path.to_owned(),
        source,
    })?;
    Ok(Hex32::sha256_of(&taken.message).to_string())
}

/// Adds to the pending file `path` the signatures of those `keys` that were made for `role`. Works on a copy of the file
/// anywhere: a machine without a network needs nothing else. Returns how many signatures were added.
///
/// # Errors
/// The file is not the metadata of `role`, or cannot be written; a key that cannot sign.
pub fn sign_pending(path: &Path, role: &str, keys: &Keyring) -> Result<usize, RepositoryError> {
    let invalid = |source| RepositoryError::Invalid {
        path: path.to_owned(),
        source,
    };
    let bytes = files::read(path, MAX_PENDING)?;
    let taken = Signed::parse(role, &bytes).map_err(invalid)?;
    // Nothing is signed that is not what it is called: a root must not be signed as a list of releases.
    match role {
        ROOT => drop(taken.unverified::<Root>(role).map_err(invalid)?),
        _ => drop(taken.unverified::<Targets>(role).map_err(invalid)?),
    }
    let mut file: Value = crate::json::parse(&bytes).map_err(|error| {
        invalid(TrustError::Malformed {
            role: role.to_owned(),
            why: error.to_string(),
        })
    })?;
    let ids = keys.ids_of(role);
    let wanted = ids.iter().map(String::as_str).collect();
    let mut signatures = keys.sign(&taken.message, &wanted)?;
    signatures.retain(|id, _| !taken.signatures.iter().any(|(known, _)| known == id));
    if let Some(list) = file["signatures"].as_array_mut() {
        list.extend(
            signatures
                .iter()
                .map(|(keyid, sig)| json!({"keyid": keyid, "sig": sig})),
        );
    }
    twinhull_durable::replace(path, file.to_string().as_bytes(), 0o644)?;
    Ok(signatures.len())
}
