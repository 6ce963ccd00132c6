//! The file of the embedded store: opened, or made whole before it gets its name.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Database, DatabaseError};

use super::tables;

/// Pages kept in memory, in bytes. The whole file is rarely larger than this.
const CACHE: usize = 8 * 1024 * 1024;

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("cannot open the lock store {}: another process has it open; only one server may use it", .0.display())]
    InUse(PathBuf),
    /// The file or its folder cannot be used.
    #[error("cannot open the lock store {}: {source}; its folder must exist and be writable", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The file is not a store, is damaged, or cannot be written.
    #[error("cannot use the lock store {}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system gave no thread.
    #[error("cannot start the thread that writes the lock store: {0}")]
    Thread(io::Error),
}

/// Opens the store at `path`, or creates it there with mode 0600.
///
/// # Errors
/// [`OpenError`]. What is at `path` and is not a store, or is a damaged one, stays as it is.
pub(super) fn open(path: &Path) -> Result<Database, OpenError> {
    match OpenOptions::new().read(true).write(true).open(path) {
        // An empty file would be taken for a new store, and may be all that a failing file system left of one.
        Ok(file) if file.metadata().map_err(failed(path))?.len() == 0 => Err(OpenError::Content {
            path: path.to_owned(),
            reason: "the file is empty; if it never was a store, remove it".to_owned(),
        }),
        Ok(file) => sealed(file, path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path),
        Err(source) => Err(failed(path)(source)),
    }
}

/// Makes a store under another name and renames it: when the very first start is cut off, the next finds no half of one.
fn create(path: &Path) -> Result<Database, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let unfinished = PathBuf::from(name);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&unfinished)
        .map_err(failed(&unfinished))?;
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => OpenError::InUse(path.to_owned()),
        TryLockError::Error(source) => failed(&unfinished)(source),
    })?;
    // Another server may have been quicker; only who holds the lock and sees no store makes one.
    if path.exists() {
        return open(path);
    }
    file.set_len(0).map_err(failed(&unfinished))?;
    let database = sealed(file, path)?;
    std::fs::rename(&unfinished, path).map_err(failed(path))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))
        .and_then(|folder| folder.sync_all())
        .map_err(failed(path))?;
    Ok(database)
}

fn sealed(file: File, path: &Path) -> Result<Database, OpenError> {
    let content = |reason: String| OpenError::Content {
        path: path.to_owned(),
        reason,
    };
    let database = FileBackend::new(file)
        .and_then(|file| Database::builder().set_cache_size(CACHE).create_with_backend(file))
        .map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => OpenError::InUse(path.to_owned()),
            error => content(error.to_string()),
        })?;
    tables::seal(&database).map_err(|error| content(error.to_string()))?;
    Ok(database)
}

fn failed(path: &Path) -> impl Fn(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::File {
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn first_start_that_was_cut_off_leaves_nothing_in_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock.redb");
        std::fs::write(folder.path().join("lock.redb.new"), [0; 10_000]).unwrap();
        drop(open(&path).unwrap());
        drop(open(&path).unwrap());
        assert!(!folder.path().join("lock.redb.new").exists());
    }

    #[test]
    fn store_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock.redb");
        drop(open(&path).unwrap());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn store_has_no_name_until_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock.redb");
        let unfinished = File::create(folder.path().join("lock.redb.new")).unwrap();
        unfinished.lock().unwrap();
        assert!(matches!(open(&path), Err(OpenError::InUse(_))));
        assert!(!path.exists());
    }

    #[test]
    fn empty_file_in_place_of_a_store_is_not_taken_for_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock.redb");
        std::fs::write(&path, "").unwrap();
        assert!(matches!(open(&path), Err(OpenError::Content { .. })));
        assert!(std::fs::read(&path).unwrap().is_empty());
    }
}
