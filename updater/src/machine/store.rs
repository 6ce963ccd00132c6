//! The durable part of the state, as a file.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::Known;

/// Longest file that is read, in bytes. Fifty records have some 20 KiB.
const MAX_SIZE: u64 = 1024 * 1024;

/// The state cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be read.
    #[error("cannot read the agent's state {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The file is damaged. It is never ignored: with it the version floor and the list of failed releases would be forgotten.
    #[error(
        "the agent's state {} is damaged: {source}. To start afresh, with the running release as the oldest allowed, move the \
         file away",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// The file or its folder cannot be written.
    #[error("cannot keep the agent's state: {0}")]
    Write(#[from] twinhull_durable::Error),
}

/// Reads the state; a host without one starts with nothing known.
///
/// # Errors
/// The file is there and cannot be read, or is damaged.
pub fn load(path: &Path) -> Result<Known, StoreError> {
    let failed = |source| StoreError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Known::default()),
        opened => opened
            .and_then(|file| file.take(MAX_SIZE).read_to_end(&mut bytes))
            .map_err(failed)?,
    };
    serde_json::from_slice(&bytes).map_err(|source| StoreError::Damaged {
        path: path.to_owned(),
        source,
    })
}

/// Keeps the state: on return it is on the medium.
///
/// # Errors
/// The folder or the file cannot be written; the old state is then still there.
pub fn save(path: &Path, known: &Known) -> Result<(), StoreError> {
    if let Some(folder) = path.parent() {
        twinhull_durable::create_directory(folder)?;
    }
    let mut bytes = serde_json::to_vec_pretty(known).map_err(|source| StoreError::Damaged {
        path: path.to_owned(),
        source,
    })?;
    bytes.push(b'\n');
    Ok(twinhull_durable::replace(path, &bytes, 0o644)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Problem, RecordKind};

    fn sample() -> Known {
        let mut known = Known {
            floor: Some("1.1.0".parse().unwrap()),
            ..Known::default()
        };
        known.record(
            "2026-01-01T00:00:00Z".parse().unwrap(),
            RecordKind::Refused {
                version: None,
                problem: Problem::new("network", "no route"),
            },
        );
        known
    }

    #[test]
    fn state_goes_to_the_file_and_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/state.json");
        assert_eq!(load(&path).unwrap(), Known::default());
        save(&path, &sample()).unwrap();
        assert_eq!(load(&path).unwrap(), sample());
    }

    #[test]
    fn torn_state_is_an_error_and_not_a_fresh_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        save(&path, &sample()).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in [0, whole.len() / 2, whole.len() - 2] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(matches!(load(&path), Err(StoreError::Damaged { .. })), "{length}");
        }
    }

    #[test]
    fn what_a_newer_agent_wrote_is_understood_as_far_as_known() {
        let text = r#"{"floor": "2.0.0", "colour": "red", "history": [{"at": "2026-01-01T00:00:00Z", "event": "sung", "song": 3}]}"#;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        std::fs::write(&path, text).unwrap();
        let known = load(&path).unwrap();
        assert_eq!(known.floor, Some("2.0.0".parse().unwrap()));
        assert_eq!(known.history[0].kind, RecordKind::Unknown);
    }
}
