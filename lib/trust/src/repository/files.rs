//! Reading and making files and folders of a repository.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::RepositoryError;

pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RepositoryError {
    let path = path.to_owned();
    move |source| RepositoryError::Files { action, path, source }
}

/// Reads a file of at most `max` bytes.
pub(super) fn read(path: &Path, max: u64) -> Result<Vec<u8>, RepositoryError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed("open", path))?;
    file.take(max + 1)
        .read_to_end(&mut bytes)
        .map_err(failed("read", path))?;
    if bytes.len() as u64 > max {
        return Err(failed("read", path)(io::Error::other(format!(
            "it has more than {max} bytes"
        ))));
    }
    Ok(bytes)
}

/// Makes a folder and those above it, durably.
pub(super) fn make_folder(path: &Path) -> Result<(), RepositoryError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_folder(parent)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(failed("make the folder", path)(error));
        }
        _ => {}
    }
    Ok(twinhull_durable::flush_directory_of(path)?)
}

/// Writes a file that everybody may read, with the folders above it, durably.
pub(super) fn publish(path: &Path, bytes: &[u8]) -> Result<(), RepositoryError> {
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    Ok(twinhull_durable::replace(path, bytes, 0o644)?)
}
