//! The root role: from the one that came with the system to the newest, one by one (TUF 1.0.x sections 5.2 and 5.3).

use jiff::Timestamp;

use super::online::{SNAPSHOT_FILE, TIMESTAMP_FILE, TIMESTAMP_PATH};
use super::store::Store;
use super::{Client, floors, limits};
use crate::metadata::envelope::{self, Signed};
use crate::metadata::{ROOT, Role, Root};
use crate::{Expected, FetchError, Fetcher, TrustError, fetch};

/// The root that came with the system; it must at least be signed by its own keys.
///
/// # Errors
/// [`TrustError::TrustedRoot`].
pub(super) fn shipped(bytes: &[u8]) -> Result<Root, TrustError> {
    let unusable = |error: TrustError| TrustError::TrustedRoot { why: error.to_string() };
    if bytes.is_empty() {
        return Err(TrustError::TrustedRoot {
            why: "it is empty".to_owned(),
        });
    }
    let signed = Signed::parse(ROOT, bytes).map_err(unusable)?;
    let root: Root = signed.unverified(ROOT).map_err(unusable)?;
    root.root().verify(ROOT, &signed).map_err(unusable)?;
    Ok(root)
}

/// The newest root that the kept files lead to. A gap or a damaged file ends the chain; the rest is fetched again.
pub(super) fn from_store(store: &Store, shipped: Root) -> Root {
    let mut root = shipped;
    while let Some(bytes) = store.read(&kept_as(root.version().saturating_add(1)), limits::ROOT) {
        let Ok(next) = successor(&root, &bytes) else { break };
        root = next;
    }
    root
}

fn kept_as(version: u64) -> String {
    format!("roots/{version}.json")
}

/// Opens the root that follows `current`: signed by the keys of both, and exactly one version higher.
///
/// # Errors
/// [`TrustError::Signatures`], [`TrustError::Malformed`], [`TrustError::Rollback`], [`TrustError::Mismatch`].
fn successor(current: &Root, bytes: &[u8]) -> Result<Root, TrustError> {
    let next: Root = envelope::open(ROOT, bytes, current.root())?;
    next.root().verify(ROOT, &Signed::parse(ROOT, bytes)?)?;
    let wanted = current.version().saturating_add(1);
    floors::check(ROOT, next.version(), wanted)?;
    if next.version() > wanted {
        let why = format!(
            "it is version {} where {wanted} must follow; no root may be skipped",
            next.version()
        );
        return Err(TrustError::Mismatch {
            name: ROOT.to_owned(),
            why,
        });
    }
    Ok(next)
}

impl Client {
    /// Follows the roots that the repository has, then refuses an expired one.
    pub(super) fn refresh_root(&mut self, fetcher: &mut dyn Fetcher, start: Timestamp) -> Result<(), TrustError> {
        // The next root comes first, but nearly always there is none: ask for the timestamp in the same round trip.
        let tag = self.kept_tag();
        fetcher.expect(&[
            Expected {
                path: &format!("metadata/{}.root.json", self.root.version().saturating_add(1)),
                tag: None,
            },
            Expected {
                path: TIMESTAMP_PATH,
                tag: tag.as_deref(),
            },
        ]);
        for _ in 0..limits::NEW_ROOTS {
            let version = self.root.version().saturating_add(1);
            let bytes = match fetch::read_bounded(fetcher, &format!("metadata/{version}.root.json"), limits::ROOT) {
                Ok(bytes) => bytes,
                Err(TrustError::Fetch {
                    source: FetchError::NotFound,
                    ..
                }) => break,
                Err(error) => return Err(error),
            };
            let next = successor(&self.root, &bytes)?;
            self.adopt_root(next, &bytes)?;
        }
        floors::check(ROOT, self.root.version(), self.floors.root())?;
        self.bind_online_keys(&self.root.clone())?;
        self.floors.raise_root(self.root.version());
        self.root.check_fresh(ROOT, start)
    }

    /// Makes `next` the trusted root. The floor goes first: cut in between, the same root is fetched and adopted again.
    fn adopt_root(&mut self, next: Root, bytes: &[u8]) -> Result<(), TrustError> {
        let version = next.version();
        // A root that was adopted before and lost from the store changes nothing that is remembered.
        if version > self.floors.root() {
            self.bind_online_keys(&next)?;
            self.floors.raise_root(version);
            self.floors.save(&self.store)?;
        }
        self.store.write(&kept_as(version), bytes)?;
        self.root = next;
        Ok(())
    }

    /// If `root` gives the online roles other keys than before, forgets what they said (section 5.3.11): first the kept
    /// files, so that a cut in between leaves the floors to say that it is still to be done.
    fn bind_online_keys(&mut self, root: &Root) -> Result<(), TrustError> {
        if self.floors.seen_under_other_keys(root) {
            self.store.remove(TIMESTAMP_FILE)?;
            self.store.remove(SNAPSHOT_FILE)?;
        }
        self.floors.bind_online_keys(root);
        Ok(())
    }
}
