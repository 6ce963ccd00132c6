//! The metadata directory: verified files kept exactly as signed, so that what has not changed is not fetched again.
//!
//! Everything here but the floors may be lost or damaged: it is verified again when read, and fetched again when it no
//! longer fits.
//!
//! | file | content |
//! |---|---|
//! | `floors.json` | see [`super::floors`] |
//! | `roots/N.json` | the root of version N, for each one followed since the root that came with the system |
//! | `timestamp.json`, `snapshot.json`, `targets.json` | the top-level roles |
//! | `timestamp.tag` | what the server calls the kept timestamp, so that it need not send it again |
//! | `delegated/ROLE.json` | delegated targets roles, names percent-encoded |
//! | `documents/SHA256` | target files that were read as documents, by the sha256 of their names |

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::TrustError;

const DIRECTORIES: [&str; 3] = ["roots", "delegated", "documents"];

/// Files are for the client alone to write, and for anyone to read: they are public.
const MODE: u32 = 0o644;

#[derive(Debug)]
pub(super) struct Store {
    directory: PathBuf,
}

impl Store {
    /// Opens the directory, made if need be.
    pub(super) fn open(directory: &Path) -> Result<Self, TrustError> {
        for name in DIRECTORIES {
            twinhull_durable::create_directory(&directory.join(name)).map_err(|error| TrustError::Directory {
                path: error.path,
                source: error.source,
            })?;
        }
        // Somebody may have made them who flushed nothing.
        twinhull_durable::flush_directory_of(&directory.join(DIRECTORIES[0]))?;
        twinhull_durable::flush_directory_of(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
        })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Whether no verified file has been kept yet. Left-overs of a cut first write do not count.
    pub(super) fn is_empty(&self) -> Result<bool, TrustError> {
        let failed = |source| TrustError::Directory {
            path: self.directory.clone(),
            source,
        };
        let directories = DIRECTORIES.map(|name| self.path(name));
        for directory in directories.iter().chain([&self.directory]) {
            for entry in fs::read_dir(directory).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
                if !hidden && !directories.contains(&entry.path()) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// A kept file of at most `max` bytes. One that cannot be read or is longer is as good as none: it is fetched again.
    pub(super) fn read(&self, name: &str, max: u64) -> Option<Vec<u8>> {
        self.read_exactly(name, max).ok().flatten()
    }

    /// A file of at most `max` bytes, `None` if there is none.
    pub(super) fn read_exactly(&self, name: &str, max: u64) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.path(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(max + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > max {
            return Err(io::Error::other(format!("it has more than {max} bytes")));
        }
        Ok(Some(bytes))
    }

    /// Keeps `bytes` durably, unless they are there already.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), TrustError> {
        if self.read(name, bytes.len() as u64).is_some_and(|there| there == bytes) {
            return Ok(());
        }
        Ok(twinhull_durable::replace(&self.path(name), bytes, MODE)?)
    }

    /// Removes a kept file durably; one that is not there is no error.
    pub(super) fn remove(&self, name: &str) -> Result<(), TrustError> {
        Ok(twinhull_durable::remove(&self.path(name))?)
    }

    /// Removes all files of `folder` if there are `most` or more. Failing is no harm: they are only copies.
    pub(super) fn make_room(&self, folder: &str, most: usize) {
        let Ok(entries) = fs::read_dir(self.path(folder)) else {
            return;
        };
        let files: Vec<_> = entries.flatten().collect();
        if files.len() >= most {
            for file in files {
                let _ = fs::remove_file(file.path());
            }
        }
    }
}
