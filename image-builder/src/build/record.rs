//! What an earlier build of the same inputs gave: kept in the cache, by the hash of the inputs.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{forget, inputs};
use crate::error::{Doing, Error, Result};

/// The artefacts of a build, by name, each with the hash of its content; the manifest is the last in `order`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    order: Vec<String>,
    hashes: BTreeMap<String, String>,
}

impl Record {
    /// Describes `files`. Each is read by a thread of its own: the two largest take nearly all the time.
    pub(super) fn of(files: &[PathBuf]) -> Result<Self> {
        let hashes = std::thread::scope(|scope| {
            let running: Vec<_> = (files.iter())
                .map(|file| (file, scope.spawn(move || inputs::content(file))))
                .collect();
            let ended = running.into_iter().map(|(file, thread)| {
                let hash = thread.join().unwrap_or_else(|_| Err(ErrorKind::Other.into()));
                Ok((name(file), hex::encode(hash.doing("read", file)?)))
            });
            ended.collect::<Result<BTreeMap<_, _>>>()
        })?;
        Ok(Self {
            order: files.iter().map(|file| name(file)).collect(),
            hashes,
        })
    }

    /// The record of the inputs `key`, if there is one.
    pub(super) fn read(cache: &Path, key: &str) -> Result<Option<Self>> {
        let path = place(cache, key);
        match fs::read(&path) {
            // One that cannot be understood is as good as none: it is only there to save work.
            Ok(text) => {
                forget::used(&path);
                Ok(serde_json::from_slice(&text).ok())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).doing("read", &path),
        }
    }

    /// Keeps this record for the inputs `key`.
    pub(super) fn keep(&self, cache: &Path, key: &str) -> Result<()> {
        let path = place(cache, key);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::Content(format!("cannot write {}: {error}", path.display())))?;
        Ok(twinhull_durable::replace(&path, &text, 0o644)?)
    }

    /// The artefacts in `output`, if they are all there and as they were made.
    pub(super) fn intact(&self, output: &Path) -> Result<Option<Vec<PathBuf>>> {
        let files: Vec<PathBuf> = self.order.iter().map(|name| output.join(name)).collect();
        if !files.iter().all(|file| file.is_file()) {
            return Ok(None);
        }
        Ok((Self::of(&files)? == *self).then_some(files))
    }

    /// The first artefact that differs from `other`'s.
    pub(super) fn difference<'a>(&'a self, other: &'a Self) -> Option<&'a str> {
        let names = self.order.iter().chain(&other.order);
        names
            .map(String::as_str)
            .find(|name| self.hashes.get(*name) != other.hashes.get(*name))
    }
}

fn name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn place(cache: &Path, key: &str) -> PathBuf {
    cache.join(format!("{}{key}.json", forget::BUILT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_and_missing_artefacts_are_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let files: Vec<PathBuf> = ["a.raw", "a.json"]
            .iter()
            .map(|name| folder.path().join(name))
            .collect();
        for file in &files {
            fs::write(file, "as made").unwrap();
        }
        let record = Record::of(&files).unwrap();
        record.keep(folder.path(), "k").unwrap();
        let record = Record::read(folder.path(), "k").unwrap().unwrap();
        assert_eq!(record.intact(folder.path()).unwrap(), Some(files.clone()));
        fs::write(&files[0], "As made").unwrap();
        assert_eq!(record.intact(folder.path()).unwrap(), None);
        assert_eq!(record.difference(&Record::of(&files).unwrap()), Some("a.raw"));
        fs::remove_file(&files[1]).unwrap();
        assert_eq!(record.intact(folder.path()).unwrap(), None);
        assert_eq!(Record::read(folder.path(), "other").unwrap(), None);
    }
}
