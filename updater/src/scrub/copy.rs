//! The copy of a file that starts this host, on the state partition.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use twinhull_trust::Hex32;

use super::{ScrubError, failed, from_medium, hash, names};

/// Ends the name of what is known of a copy.
const RECORD: &str = ".json";

/// Longest record that is read, in bytes.
const MAX_RECORD: u64 = 4096;

/// What is known of a copy. Without it a copy is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Its content.
    pub(super) sha256: Hex32,
    /// Its size in bytes.
    pub(super) size: u64,
    /// When the original was changed last, in seconds since 1970.
    pub(super) modified: u64,
    /// Whether the original is being written anew.
    #[serde(default)]
    pub(super) mending: bool,
}

/// A copy, there or not.
pub(super) struct Copy {
    path: PathBuf,
    record: Option<Record>,
}

impl Copy {
    /// The copy of the file `key` in the folder `copies`. A record that cannot be understood is none: the next one replaces it.
    pub(super) fn at(copies: &Path, key: &str) -> Result<Self, ScrubError> {
        let path = copies.join(key);
        let record = with(&path, RECORD);
        let text = match fs::metadata(&record) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Ok(metadata) if metadata.len() > MAX_RECORD => None,
            Ok(_) => Some(fs::read(&record).map_err(failed("read", &record))?),
            Err(error) => return Err(failed("look at", &record)(error)),
        };
        Ok(Self {
            record: text.and_then(|text| serde_json::from_slice(&text).ok()),
            path,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn record(&self) -> Option<Record> {
        self.record.clone()
    }

    /// Whether it is what its record says, on the medium.
    pub(super) fn is_whole(&self) -> bool {
        let found = from_medium(&self.path).and_then(|_| hash(&self.path));
        let found = found.ok();
        self.record.as_ref().map(|record| record.sha256) == found
    }

    /// Makes it anew from `original`, which was changed at `modified`. On an error the one before is still there, unless only the
    /// last step failed.
    pub(super) fn keep(&mut self, original: &Path, modified: u64) -> Result<(), ScrubError> {
        if let Some(folder) = self.path.parent() {
            twinhull_durable::create_directory(folder)?;
        }
        let fresh = with(&self.path, ".new");
        let size = write(original, &fresh).inspect_err(|_| {
            // Half a copy is of no use to anybody, least of all on a full disk.
            let _ = fs::remove_file(&fresh);
        })?;
        let sha256 = hash(&fresh)?;
        // Without its record what is left after a power cut is no copy.
        twinhull_durable::remove(&with(&self.path, RECORD))?;
        fs::rename(&fresh, &self.path).map_err(failed("move into place", &self.path))?;
        twinhull_durable::flush_directory_of(&self.path)?;
        self.record = Some(Record {
            sha256,
            size,
            modified,
            mending: false,
        });
        self.save()
    }

    /// Takes note that the original was changed at `modified`, and whether it is being written anew.
    pub(super) fn note(&mut self, modified: u64, mending: bool) -> Result<(), ScrubError> {
        if let Some(record) = &mut self.record {
            record.modified = modified;
            record.mending = mending;
        }
        self.save()
    }

    /// Removes it, the record first.
    pub(super) fn remove(&mut self) -> Result<(), ScrubError> {
        self.record = None;
        twinhull_durable::remove(&with(&self.path, RECORD))?;
        Ok(twinhull_durable::remove(&self.path)?)
    }

    fn save(&self) -> Result<(), ScrubError> {
        let path = with(&self.path, RECORD);
        let text = serde_json::to_vec(&self.record).map_err(|error| failed("describe", &path)(error.into()))?;
        Ok(twinhull_durable::replace(&path, &text, 0o600)?)
    }
}

/// The names of the copies in `folder`; none when there is no such folder.
pub(super) fn copied(folder: &Path) -> Result<Vec<String>, ScrubError> {
    let names = names(folder)?.into_iter();
    Ok(names
        .filter_map(|name| name.strip_suffix(RECORD).map(ToOwned::to_owned))
        .collect())
}

fn with(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Copies a file to the medium. Gives its size.
fn write(from: &Path, to: &Path) -> Result<u64, ScrubError> {
    let mut original = File::open(from).map_err(failed("open", from))?;
    let mut options = OpenOptions::new();
    let mut copy = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(to)
        .map_err(failed("create", to))?;
    let size = io::copy(&mut original, &mut copy).map_err(failed("write", to))?;
    copy.sync_all().map_err(failed("flush", to))?;
    Ok(size)
}
