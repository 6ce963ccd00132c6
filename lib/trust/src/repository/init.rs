//! A new repository: keys, roles, and the root that hosts will trust.

use std::collections::{BTreeMap, BTreeSet};
use std::num::{NonZeroU32, NonZeroU64};
use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::secret::key_id;
use super::{CHANNELS, Keyring, RELEASES, Repository, RepositoryError, SecretKey, State, files};
use crate::metadata::{
    Common, DelegatedRole, Delegations, FileRecord, Key, ROOT, Role, RoleKeys, Root, SNAPSHOT, Snapshot, TARGETS,
    TIMESTAMP, Targets, TimestampRole, listed_as,
};
use crate::{CHANNEL_PATTERN, Clock, RELEASE_PATTERN, SystemClock};

/// How one role is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleTerms {
    /// How many keys speak for it.
    pub keys: u32,
    /// How many of them must sign.
    pub threshold: u32,
    /// For how long a signed version is valid.
    pub lifetime: SignedDuration,
}

/// How a new repository is signed.
///
/// By default each role has one key; the offline roles are valid for a year, channels and snapshot for 30 days, the
/// timestamp for 7. A lifetime is how long a host can be kept from newer metadata without noticing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    /// Names all keys. Offline.
    pub root: RoleTerms,
    /// Delegates to the next two and nothing else. Offline.
    pub targets: RoleTerms,
    /// Says what a release is. Offline.
    pub releases: RoleTerms,
    /// Says which release a channel offers. Online.
    pub channels: RoleTerms,
    /// Says what belongs together. Online.
    pub snapshot: RoleTerms,
    /// Says what is fresh. Online.
    pub timestamp: RoleTerms,
}

impl Default for Setup {
    fn default() -> Self {
        let terms = |days: i64| RoleTerms {
            keys: 1,
            threshold: 1,
            lifetime: SignedDuration::from_hours(24 * days),
        };
        Self {
            root: terms(365),
            targets: terms(365),
            releases: terms(365),
            channels: terms(30),
            snapshot: terms(30),
            timestamp: terms(7),
        }
    }
}

impl Setup {
    fn roles(&self) -> [(&'static str, RoleTerms); 6] {
        [
            (ROOT, self.root),
            (TARGETS, self.targets),
            (RELEASES, self.releases),
            (CHANNELS, self.channels),
            (SNAPSHOT, self.snapshot),
            (TIMESTAMP, self.timestamp),
        ]
    }
}

impl Repository {
    /// Makes a new repository in `directory` and the keys it needs in `keys_folder`, at the time of the system's clock. Keys
    /// that are in the folder already are used for the role they were made for.
    ///
    /// # Errors
    /// [`RepositoryError::AlreadyThere`]; terms that cannot work; files that cannot be written.
    pub fn init(directory: &Path, keys_folder: &Path, setup: &Setup) -> Result<Self, RepositoryError> {
        Self::init_at(directory, keys_folder, setup, &SystemClock)
    }

    /// As [`Repository::init`], at the time of `clock`.
    ///
    /// # Errors
    /// As [`Repository::init`].
    pub fn init_at(
        directory: &Path,
        keys_folder: &Path,
        setup: &Setup,
        clock: &dyn Clock,
    ) -> Result<Self, RepositoryError> {
        Self::init_with(directory, keys_folder, setup, clock, |keys| keys)
    }

    /// As [`Repository::init_at`]; `reach` adds signers for the keys of the folder that are on tokens.
    ///
    /// # Errors
    /// As [`Repository::init`]; a token that does not sign.
    pub fn init_with(
        directory: &Path,
        keys_folder: &Path,
        setup: &Setup,
        clock: &dyn Clock,
        reach: impl FnOnce(Keyring) -> Keyring,
    ) -> Result<Self, RepositoryError> {
        if directory.join("metadata/timestamp.json").exists() {
            return Err(RepositoryError::AlreadyThere {
                path: directory.to_owned(),
            });
        }
        let keys = reach(Keyring::complete(keys_folder, setup)?);
        for folder in ["metadata", "targets", "payloads"] {
            files::make_folder(&directory.join(folder))?;
        }
        let state = State::new(setup, &keys, clock.now());
        let mut made = Self {
            directory: directory.to_owned(),
            published_root: state.root.clone(),
            state,
            keys,
            clock: Box::new(SystemClock),
            changed: BTreeSet::new(),
            new_files: BTreeMap::new(),
            given: BTreeMap::new(),
            made_of_kept: BTreeSet::new(),
        };
        made.write_first()?;
        Ok(made)
    }
}

impl Keyring {
    /// The keys in `folder`, which is made when it is not there, with new ones for each role of `setup` that lacks them.
    ///
    /// # Errors
    /// Terms that cannot work; files that cannot be read or written.
    pub fn complete(folder: &Path, setup: &Setup) -> Result<Self, RepositoryError> {
        files::make_folder(folder)?;
        let mut keys = Self::load(folder)?;
        for (
            role,
            RoleTerms {
                keys: wanted,
                threshold,
                ..
            },
        ) in setup.roles()
        {
            if threshold == 0 || threshold > wanted || wanted > 100 {
                return Err(RepositoryError::BadTerms {
                    role,
                    threshold,
                    keys: wanted,
                });
            }
            for _ in keys.ids_of(role).len()..wanted as usize {
                keys.add(role, SecretKey::generate()?);
            }
        }
        keys.save(folder)?;
        Ok(keys)
    }
}

fn role_keys(keys: &Keyring, role: &str, threshold: u32) -> RoleKeys {
    RoleKeys {
        keyids: keys.ids_of(role),
        threshold: NonZeroU32::new(threshold).unwrap_or(NonZeroU32::MIN),
    }
}

impl State {
    fn new(setup: &Setup, keys: &Keyring, now: Timestamp) -> Self {
        let public = |roles: &[&str]| {
            roles
                .iter()
                .flat_map(|role| keys.public_of(role))
                .map(|public| (key_id(public), Key::ed25519(public)))
                .collect()
        };
        let role_keys = |role: &str, terms: RoleTerms| role_keys(keys, role, terms.threshold);
        let root = Root {
            common: Common::new(Root::KIND, now, setup.root.lifetime),
            consistent_snapshot: true,
            keys: public(&[ROOT, TIMESTAMP, SNAPSHOT, TARGETS]),
            roles: crate::metadata::Roles {
                root: role_keys(ROOT, setup.root),
                timestamp: role_keys(TIMESTAMP, setup.timestamp),
                snapshot: role_keys(SNAPSHOT, setup.snapshot),
                targets: role_keys(TARGETS, setup.targets),
            },
        };
        let delegated = |role: &str, terms, pattern: &str| DelegatedRole {
            name: role.to_owned(),
            keys: role_keys(role, terms),
            paths: Some(vec![pattern.to_owned()]),
            path_hash_prefixes: None,
            terminating: true,
        };
        let targets = |terms: RoleTerms, delegations| Targets {
            common: Common::new(Targets::KIND, now, terms.lifetime),
            listed: BTreeMap::new(),
            delegations,
        };
        let delegations = Delegations {
            keys: public(&[RELEASES, CHANNELS]),
            roles: vec![
                delegated(RELEASES, setup.releases, RELEASE_PATTERN),
                delegated(CHANNELS, setup.channels, CHANNEL_PATTERN),
            ],
        };
        // Lengths and hashes follow when the files are signed.
        let unsigned = FileRecord {
            version: NonZeroU64::MIN,
            length: None,
            hashes: None,
        };
        let listed = [TARGETS, RELEASES, CHANNELS].map(|role| (listed_as(role), unsigned.clone()));
        Self {
            root,
            targets: targets(setup.targets, Some(delegations)),
            delegated: BTreeMap::from([
                (RELEASES.to_owned(), targets(setup.releases, None)),
                (CHANNELS.to_owned(), targets(setup.channels, None)),
            ]),
            snapshot: Snapshot {
                common: Common::new(Snapshot::KIND, now, setup.snapshot.lifetime),
                meta: listed.into_iter().collect(),
            },
            timestamp: TimestampRole::new(
                Common::new(TimestampRole::KIND, now, setup.timestamp.lifetime),
                unsigned,
            ),
        }
    }
}
