//! Files replaced whole or not at all, and durable on return.
//!
//! The order is the one that survives a power cut on every journalling file system and, as far as FAT can promise
//! anything, on an ESP: write a temporary file in the same directory, flush it, rename it over the final name, flush the
//! directory. A reader sees the old bytes or the new ones; after an `Ok` the new ones are on the medium.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What went wrong, while doing what, to which path.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct Error {
    /// What was being done, as a verb phrase ("write", "flush the directory").
    pub action: &'static str,
    /// The path it was being done to.
    pub path: PathBuf,
    /// The operating system's reason.
    #[source]
    pub source: io::Error,
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error {
        action,
        path: path.to_owned(),
        source,
    }
}

/// Replaces the file at `path` by `bytes`, with permission bits `mode` (for example `0o600`).
///
/// On an error the file at `path` is as it was before, and the temporary file is removed.
///
/// # Errors
/// Any step that the operating system refuses, with the path of that step.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let temporary = temporary_beside(path);
    let written = write_flushed(&temporary, bytes, mode)
        .and_then(|()| fs::rename(&temporary, path).map_err(failed("move into place", path)));
    if let Err(error) = written {
        // The first error is the one to report; a left-over would be overwritten by the next attempt anyway.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    flush_directory_of(path)
}

/// Removes the file at `path` durably; a file that is not there is no error.
///
/// # Errors
/// The removal or the flush of the directory fails.
pub fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Ok(()) => flush_directory_of(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("remove", path)(error)),
    }
}

/// Flushes the directory that holds `path`, so that a creation, rename or removal in it is on the medium.
///
/// # Errors
/// The directory cannot be opened or flushed.
pub fn flush_directory_of(path: &Path) -> Result<(), Error> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)
        .and_then(|open| open.sync_all())
        .map_err(failed("flush the directory", directory))
}

fn write_flushed(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    // A left-over of an earlier cut may have other permissions: start from a new file.
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(failed("remove the left-over", path)(error));
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(failed("create", path))?;
    file.write_all(bytes).map_err(failed("write", path))?;
    file.sync_all().map_err(failed("flush", path))
}

fn temporary_beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn replacing_keeps_nothing_of_the_old_content_or_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        fs::write(&path, "a much longer old content").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();

        replace(&path, b"new", 0o600).unwrap();

        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn left_over_of_a_cut_write_does_not_stop_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        fs::write(temporary_beside(&path), "half").unwrap();

        replace(&path, b"whole", 0o600).unwrap();

        assert_eq!(fs::read(&path).unwrap(), b"whole");
    }

    #[test]
    fn failed_replacement_leaves_the_old_file_and_no_temporary() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        // A directory with content cannot be replaced by a rename.
        fs::create_dir_all(path.join("inside")).unwrap();

        let error = replace(&path, b"new", 0o600).unwrap_err();

        assert_eq!(error.action, "move into place");
        assert!(path.join("inside").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn removing_what_is_not_there_succeeds() {
        let folder = tempfile::tempdir().unwrap();
        remove(&folder.path().join("absent")).unwrap();
    }
}
