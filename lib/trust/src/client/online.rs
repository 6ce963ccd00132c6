//! The online roles: timestamp (TUF 1.0.x section 5.4) and snapshot (section 5.5).

use jiff::Timestamp;

use super::{Client, floors, limits};
use crate::metadata::{FileRecord, Role, SNAPSHOT, Snapshot, TIMESTAMP, TimestampRole, envelope};
use crate::{Fetcher, Hex32, TrustError, fetch};

pub(super) const TIMESTAMP_FILE: &str = "timestamp.json";
pub(super) const SNAPSHOT_FILE: &str = "snapshot.json";
pub(super) const TIMESTAMP_PATH: &str = "metadata/timestamp.json";

/// The sha256 of the kept timestamp and the tag that it came with.
const TAG_FILE: &str = "timestamp.tag";

impl Client {
    /// Takes the repository's timestamp if it is not older than what was seen.
    pub(super) fn refresh_timestamp(
        &mut self,
        fetcher: &mut dyn Fetcher,
        start: Timestamp,
    ) -> Result<TimestampRole, TrustError> {
        // A tag only saves bytes: what is kept is verified again like anything that arrives, and its date is judged anew.
        let tag = self.kept_tag();
        let answer = fetch::read_unless(fetcher, TIMESTAMP_PATH, limits::TIMESTAMP, tag.as_deref())?;
        let (bytes, tag) = match answer {
            Some(answer) => answer,
            None => (
                self.store.read(TIMESTAMP_FILE, limits::TIMESTAMP).unwrap_or_default(),
                tag,
            ),
        };
        let offered: TimestampRole = envelope::open(TIMESTAMP, &bytes, self.root.timestamp())?;
        floors::check(TIMESTAMP, offered.version(), self.floors.timestamp())?;
        floors::check(
            SNAPSHOT,
            snapshot_record(&offered)?.version.get(),
            self.floors.snapshot(),
        )?;

        // A second file of the same version is put aside, and the first one kept (section 5.4.3.1).
        let kept = self.kept_timestamp().filter(|kept| kept.version() == offered.version());
        let (trusted, new_bytes) = match kept {
            Some(kept) => (kept, None),
            None => (offered, Some(bytes)),
        };
        trusted.check_fresh(TIMESTAMP, start)?;
        self.floors
            .raise_timestamp(trusted.version(), snapshot_record(&trusted)?.version.get());
        self.floors.save(&self.store)?;
        if let Some(bytes) = new_bytes {
            self.store.write(TIMESTAMP_FILE, &bytes)?;
            let kept = tag.map(|tag| format!("{} {tag}", Hex32::sha256_of(&bytes)));
            self.store.write(TAG_FILE, kept.unwrap_or_default().as_bytes())?;
        }
        Ok(trusted)
    }

    /// The tag of the kept timestamp, if it is that of the very bytes that are kept and these are still of use.
    pub(super) fn kept_tag(&self) -> Option<String> {
        self.kept_timestamp()?;
        let bytes = self.store.read(TIMESTAMP_FILE, limits::TIMESTAMP)?;
        let kept = String::from_utf8(self.store.read(TAG_FILE, 1024)?).ok()?;
        let (hash, tag) = kept.split_once(' ')?;
        (hash == Hex32::sha256_of(&bytes).to_string()).then(|| tag.to_owned())
    }

    /// The timestamp kept from before, if it is whole, signed by today's keys and at or above the floors.
    pub(super) fn kept_timestamp(&self) -> Option<TimestampRole> {
        let bytes = self.store.read(TIMESTAMP_FILE, limits::TIMESTAMP)?;
        let kept: TimestampRole = envelope::open(TIMESTAMP, &bytes, self.root.timestamp()).ok()?;
        let current = kept.version() >= self.floors.timestamp()
            && kept
                .snapshot()
                .is_some_and(|record| record.version.get() >= self.floors.snapshot());
        current.then_some(kept)
    }

    /// Takes the snapshot that `timestamp` names.
    pub(super) fn refresh_snapshot(
        &mut self,
        fetcher: &mut dyn Fetcher,
        start: Timestamp,
        timestamp: &TimestampRole,
    ) -> Result<Snapshot, TrustError> {
        let record = snapshot_record(timestamp)?;
        let (snapshot, new_bytes) = match self.kept_snapshot(record) {
            Some(kept) => (kept, None),
            None => self.fetch_snapshot(fetcher, record)?,
        };
        // Every role seen before must still be there, and none older (section 5.5.5).
        for (role, floor) in self.floors.roles() {
            let listed = snapshot
                .role(role)
                .ok_or_else(|| TrustError::RoleDropped { role: role.clone() })?;
            floors::check(role, listed.version.get(), *floor)?;
        }
        snapshot.check_fresh(SNAPSHOT, start)?;
        self.floors.raise_roles(&snapshot);
        self.floors.save(&self.store)?;
        if let Some(bytes) = new_bytes {
            self.store.write(SNAPSHOT_FILE, &bytes)?;
        }
        Ok(snapshot)
    }

    /// The snapshot kept from before, if it is the one that is listed.
    pub(super) fn kept_snapshot(&self, record: &FileRecord) -> Option<Snapshot> {
        let bytes = self.store.read(SNAPSHOT_FILE, limits::SNAPSHOT)?;
        record.check(&bytes).ok()?;
        let kept: Snapshot = envelope::open(SNAPSHOT, &bytes, self.root.snapshot()).ok()?;
        (kept.version() == record.version.get()).then_some(kept)
    }

    fn fetch_snapshot(
        &self,
        fetcher: &mut dyn Fetcher,
        record: &FileRecord,
    ) -> Result<(Snapshot, Option<Vec<u8>>), TrustError> {
        let prefix = self.root.file_prefix(record.version.get());
        let path = format!("metadata/{prefix}{SNAPSHOT_FILE}");
        let bytes = fetch_listed(fetcher, SNAPSHOT, &path, record, limits::SNAPSHOT)?;
        let snapshot: Snapshot = envelope::open(SNAPSHOT, &bytes, self.root.snapshot())?;
        check_listed_version(SNAPSHOT, snapshot.version(), record)?;
        Ok((snapshot, Some(bytes)))
    }
}

fn snapshot_record(timestamp: &TimestampRole) -> Result<&FileRecord, TrustError> {
    timestamp.snapshot().ok_or_else(|| TrustError::RoleNotListed {
        role: SNAPSHOT.to_owned(),
    })
}

/// Fetches the metadata file of `role` and compares it with what is listed for it. The hashes are from a role that is
/// verified already, so bad bytes are refused before any of them is parsed.
///
/// # Errors
/// The fetcher's; [`TrustError::TooLong`], [`TrustError::Mismatch`].
pub(super) fn fetch_listed(
    fetcher: &mut dyn Fetcher,
    role: &str,
    path: &str,
    record: &FileRecord,
    limit: u64,
) -> Result<Vec<u8>, TrustError> {
    let max = record.length.unwrap_or(limit).min(limit);
    let bytes = fetch::read_bounded(fetcher, path, max)?;
    record.check(&bytes).map_err(|why| TrustError::Mismatch {
        name: role.to_owned(),
        why,
    })?;
    Ok(bytes)
}

/// Refuses a file that is signed but of another version than listed: mix-and-match.
///
/// # Errors
/// [`TrustError::Mismatch`].
pub(super) fn check_listed_version(role: &str, found: u64, record: &FileRecord) -> Result<(), TrustError> {
    let listed = record.version.get();
    if found == listed {
        return Ok(());
    }
    let why = format!("it is version {found} where version {listed} is listed");
    Err(TrustError::Mismatch {
        name: role.to_owned(),
        why,
    })
}
