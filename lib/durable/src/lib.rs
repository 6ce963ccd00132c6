//! Files replaced whole or not at all, and durable on return.
//!
//! The order is the one that survives a power cut on every journalling file system and, as far as FAT can promise
//! anything, on an ESP: write a temporary file in the same directory, flush it, rename it over the final name, flush the
//! directory. A reader sees the old bytes or the new ones; after an `Ok` the new ones are on the medium.

#[cfg(feature = "record")]
pub mod record;
mod step;

use std::ffi::OsString;
use std::io;
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
        .and_then(|()| step::rename(&temporary, path).map_err(failed("move into place", path)));
    if let Err(error) = written {
        // The first error is the one to report; a left-over would be overwritten by the next attempt anyway.
        let _ = step::remove(&temporary);
        return Err(error);
    }
    flush_directory_of(path)
}

/// Removes the file at `path` durably; a file that is not there is no error.
///
/// # Errors
/// The removal or the flush of the directory fails.
pub fn remove(path: &Path) -> Result<(), Error> {
    match step::remove(path) {
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
    step::flush_directory(directory).map_err(failed("flush the directory", directory))
}

/// Makes the directory at `path`, and those above it that are missing, each durably; one that is there is no error.
///
/// # Errors
/// A directory cannot be made, or the one that holds it cannot be flushed.
pub fn create_directory(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_directory(parent)?;
    }
    match step::create_directory(path) {
        // Somebody else was faster, and may not have flushed it yet.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made.map_err(failed("make the directory", path))?,
    }
    flush_directory_of(path)
}

fn write_flushed(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    // A left-over of an earlier cut may have other permissions: start from a new file.
    if let Err(error) = step::remove(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(failed("remove the left-over", path)(error));
    }
    let mut file = step::create(path, mode).map_err(failed("create", path))?;
    step::write(&mut file, path, bytes).map_err(failed("write", path))?;
    step::flush(&file, path).map_err(failed("flush", path))
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
    use std::fs;
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

    #[test]
    fn directories_are_made_once_and_a_file_in_the_way_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c");
        create_directory(&deep).unwrap();
        create_directory(&deep).unwrap();
        assert!(deep.is_dir());
        fs::write(folder.path().join("file"), "").unwrap();
        let error = create_directory(&folder.path().join("file/below")).unwrap_err();
        assert!(error.to_string().contains("file"), "{error}");
    }
}
