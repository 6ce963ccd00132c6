//! The repository: a folder of static files, edited and signed.
//!
//! | folder | content |
//! |---|---|
//! | `metadata/` | `N.root.json`, `N.targets.json`, `N.releases.json`, `N.channels.json`, `N.snapshot.json`, `timestamp.json` |
//! | `targets/` | the documents, each as `DIR/SHA256.FILE` |
//! | `pending/` | new versions of offline roles that wait for signatures, channels that wait for their releases; hosts never ask for them |
//! | `payloads/` | what the documents refer to; written by whoever publishes, before the release is added |
//!
//! Any web server can serve it. A reader at any moment, and a writer cut at any moment, find a repository that is whole:
//! new files come first, under names that nobody has asked for yet, and the timestamp last.

mod commit;
mod edit;
mod error;
mod files;
mod init;
mod kept;
mod keyring;
mod open;
mod pending;
mod rotate;
mod secret;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

pub use error::RepositoryError;
pub use init::{RoleTerms, Setup};
pub(crate) use keyring::parse_key_file;
pub use keyring::{Keyring, PublicKey, TokenKey};
pub use pending::{Pending, fingerprint, sign_pending};
pub use rotate::KeyChange;
pub use secret::{SecretKey, Signer};

use crate::Clock;
use crate::metadata::{Root, Snapshot, Targets, TimestampRole};

/// The delegated role that says what a release is. Kept offline.
pub(crate) const RELEASES: &str = "releases";

/// The delegated role that says what a channel offers. Kept online.
pub(crate) const CHANNELS: &str = "channels";

/// A repository opened for editing. Changes are in memory until [`Repository::commit`].
pub struct Repository {
    directory: PathBuf,
    keys: Keyring,
    clock: Box<dyn Clock>,
    state: State,
    /// The root that hosts know; in `state` there may be its successor.
    published_root: Root,
    /// Roles whose metadata is to get a new version.
    changed: BTreeSet<String>,
    /// Target files to write, by path below the repository.
    new_files: BTreeMap<String, Vec<u8>>,
    /// New versions of roles that were signed elsewhere, as they are to be published.
    given: BTreeMap<String, Vec<u8>>,
    /// Channels that are changed because a change that waited can be made now.
    made_of_kept: BTreeSet<String>,
}

/// All roles as they are, or as they will be.
#[derive(Debug, Clone)]
struct State {
    root: Root,
    targets: Targets,
    delegated: BTreeMap<String, Targets>,
    snapshot: Snapshot,
    timestamp: TimestampRole,
}

impl Repository {
    /// The folder with `metadata/`, `targets/` and `payloads/`.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the root.json is that a host is to trust from the start: the newest one.
    pub fn trusted_root(&self) -> PathBuf {
        self.directory.join("metadata/root.json")
    }

    /// Signs with the time of `clock` instead of the system's. Given the same keys and times, the same edits give the same
    /// bytes.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repository")
            .field("directory", &self.directory)
            .field("changed", &self.changed)
            .finish_non_exhaustive()
    }
}
