//! The client: follows the detailed workflow of TUF 1.0.x section 5.
//!
//! Each step is in its own file: [`root`] (5.3), [`online`] (5.4 timestamp, 5.5 snapshot), [`search`] (5.6 targets and
//! delegations), [`target`] (5.7). What must survive a power cut is in [`floors`]; what may be lost is in [`store`].

mod floors;
mod online;
mod recover;
mod root;
mod search;
mod store;
mod target;

use std::collections::HashMap;
use std::path::Path;

use jiff::Timestamp;

pub use floors::Floors;
pub use recover::Recovered;
pub use target::Target;

use crate::metadata::{Role, Root, Snapshot, Targets};
use crate::{Clock, Fetcher, TrustError};
use store::Store;

/// The longest metadata files taken, in bytes. A length that is listed for a file lowers its bound, never raises it.
mod limits {
    pub(super) const ROOT: u64 = 512 * 1024;
    pub(super) const TIMESTAMP: u64 = 16 * 1024;
    pub(super) const SNAPSHOT: u64 = 2 * 1024 * 1024;
    pub(super) const TARGETS: u64 = 8 * 1024 * 1024;
    /// How many new roots one refresh follows.
    pub(super) const NEW_ROOTS: usize = 1024;
    /// How many targets roles one search visits.
    pub(super) const ROLES_VISITED: usize = 32;
}

/// Verifies what a repository says, and remembers what it must never say again.
///
/// One client owns its metadata directory; two at once on the same directory are for the caller to prevent.
#[derive(Debug)]
pub struct Client {
    store: Store,
    floors: Floors,
    root: Root,
    current: Option<Current>,
}

/// What one refresh has established.
#[derive(Debug)]
struct Current {
    /// The fixed start of the update: expiry is judged at this time until the next refresh.
    start: Timestamp,
    snapshot: Snapshot,
    targets: Targets,
    /// Delegated roles opened so far, by the way that led there: the same role under another delegator has other keys.
    delegated: HashMap<Vec<String>, Targets>,
}

/// What a refresh found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refreshed {
    /// Version of the root now trusted.
    pub root: u64,
    /// Version of the timestamp.
    pub timestamp: u64,
    /// Version of the snapshot.
    pub snapshot: u64,
    /// Version of the top-level targets.
    pub targets: u64,
    /// Whether anything differs from what this host had seen before.
    pub changed: bool,
    /// The time at which expiry was judged.
    pub judged_at: Timestamp,
    /// Whether the clock stands before a time that this host has already seen; then that time was used instead.
    pub clock_went_back: bool,
    /// When the first of root, timestamp, snapshot and targets expires.
    pub expires: Timestamp,
}

impl Client {
    /// Opens the client that keeps its state in `metadata_dir` (made if it is not there) and trusts `trusted_root`, the
    /// bytes of a root.json that came with the system.
    ///
    /// Authority comes from `trusted_root` alone: later roots found in the directory are verified from it anew.
    ///
    /// # Errors
    /// [`TrustError::TrustedRoot`] if the root is empty, malformed or not signed by its own keys; [`TrustError::Floors`] if
    /// the version floors are damaged or gone; [`TrustError::Directory`].
    pub fn open(metadata_dir: &Path, trusted_root: &[u8]) -> Result<Self, TrustError> {
        let shipped = root::shipped(trusted_root)?;
        let store = Store::open(metadata_dir)?;
        let floors = Floors::read(&store)?;
        let root = root::from_store(&store, shipped);
        Ok(Self {
            store,
            floors,
            root,
            current: None,
        })
    }

    /// Brings the metadata up to date and verifies all of it: root, timestamp, snapshot, targets.
    ///
    /// # Errors
    /// Any [`TrustError`]. What was verified before the error stays remembered, so that the next try goes on from there; a
    /// client whose last refresh failed answers no question.
    pub fn refresh(&mut self, fetcher: &mut dyn Fetcher, clock: &dyn Clock) -> Result<Refreshed, TrustError> {
        self.current = None;
        let before = self.floors.clone();
        let wall = clock.now();
        let start = wall.max(self.floors.time());

        self.refresh_root(fetcher, start)?;
        let timestamp = self.refresh_timestamp(fetcher, start)?;
        let snapshot = self.refresh_snapshot(fetcher, start, &timestamp)?;
        let targets = self.refresh_targets(fetcher, start, &snapshot)?;
        // Only now: everything was fresh at `start`, so a clock that runs far ahead cannot have brought us here, and the
        // floor of time never passes the date of signed metadata.
        self.floors.raise_time(start);
        self.floors.save(&self.store)?;

        let expires = [
            &self.root.common,
            timestamp.common(),
            snapshot.common(),
            targets.common(),
        ]
        .map(|one| one.expires);
        let refreshed = Refreshed {
            root: self.root.version(),
            timestamp: timestamp.version(),
            snapshot: snapshot.version(),
            targets: targets.version(),
            changed: !before.same_versions(&self.floors),
            judged_at: start,
            clock_went_back: wall < start,
            expires: expires.into_iter().min().unwrap_or(start),
        };
        self.current = Some(Current {
            start,
            snapshot,
            targets,
            delegated: HashMap::new(),
        });
        Ok(refreshed)
    }

    /// The oldest versions this client still accepts.
    pub fn floors(&self) -> &Floors {
        &self.floors
    }
}
