//! What was done to the file system, change by change: for tests of what a power cut leaves in between. Only with the feature
//! `record`, which no program is built with.

use std::cell::RefCell;
use std::path::PathBuf;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new, empty file.
    Create(PathBuf),
    /// Bytes at the end of a file.
    Write(PathBuf, Vec<u8>),
    /// The content of a file is on the medium; its name perhaps not.
    Flush(PathBuf),
    /// A file has another name, in place of what had it.
    Rename(PathBuf, PathBuf),
    /// A file is gone.
    Remove(PathBuf),
    /// A new, empty directory.
    CreateDirectory(PathBuf),
    /// The names in a directory are on the medium.
    FlushDirectory(PathBuf),
}

thread_local! {
    static NOTED: RefCell<Option<Vec<Change>>> = const { RefCell::new(None) };
}

/// From here on the changes that this thread makes are noted.
pub fn start() {
    NOTED.set(Some(Vec::new()));
}

/// What was noted since [`start`] or the last call; nothing without a start.
#[must_use]
pub fn take() -> Vec<Change> {
    NOTED.with_borrow_mut(|noted| noted.as_mut().map(std::mem::take).unwrap_or_default())
}

/// Nothing more is noted.
pub fn stop() {
    NOTED.set(None);
}

pub(crate) fn note(change: Change) {
    NOTED.with_borrow_mut(|noted| {
        if let Some(noted) = noted {
            noted.push(change);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacement_is_noted_in_its_order() {
        let folder = tempfile::tempdir().unwrap();
        let (path, new) = (folder.path().join("a"), folder.path().join(".a.new"));
        crate::replace(&path, b"before", 0o600).unwrap();
        assert_eq!(take(), [], "nobody listened");
        start();
        crate::replace(&path, b"x", 0o600).unwrap();
        let expected = [
            Change::Create(new.clone()),
            Change::Write(new.clone(), b"x".to_vec()),
            Change::Flush(new.clone()),
            Change::Rename(new, path),
            Change::FlushDirectory(folder.path().to_owned()),
        ];
        assert_eq!(take(), expected);
        stop();
        crate::remove(&folder.path().join("a")).unwrap();
        assert_eq!(take(), []);
    }
}
