//! What a failed health check found, kept over the reboots that follow so that the old release can tell.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use twinhull_layout::Version;

/// Longest report that is read, in bytes.
const MAX_SIZE: u64 = 256 * 1024;

/// A failed health check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The release that was checked.
    pub version: Version,
    /// When.
    pub at: Timestamp,
    /// What was wrong.
    pub reasons: Vec<String>,
}

/// What the last health check of this boot found, for `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latest {
    /// When.
    pub at: Timestamp,
    /// What is wrong and decides.
    pub wrong: Vec<String>,
    /// What is wrong and only reported.
    pub reported: Vec<String>,
}

/// The last report, if there is one that can be read: it only explains, nothing depends on it.
pub fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_SIZE).read_to_end(&mut bytes))
        .ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Keeps a report durably.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, report: &impl Serialize) -> Result<(), twinhull_durable::Error> {
    let bytes = serde_json::to_vec_pretty(report).unwrap_or_default();
    if let Some(folder) = path.parent() {
        // If it cannot be made, the write says so.
        let _ = std::fs::create_dir_all(folder);
    }
    twinhull_durable::replace(path, &bytes, 0o644)
}

/// Removes the report: what was found of one release says nothing of the next.
///
/// # Errors
/// The file cannot be removed.
pub fn forget(path: &Path) -> Result<(), twinhull_durable::Error> {
    twinhull_durable::remove(path)
}
