//! Folders that more than one build may want: locked while in use.
//!
//! Those for unfinished work are emptied before and after. They have fixed names, so that what an interrupted run left behind is found
//! and removed by the next. Finished ones are read by several at a time, and removed by one that waits until nobody does.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Doing, Error, Result};

/// A locked, empty folder; removed with its content when dropped.
#[derive(Debug)]
pub struct Work {
    path: PathBuf,
    /// Holds the lock on the folder.
    _folder: File,
}

/// What to do when another process works in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfBusy {
    /// Wait until it has ended.
    Wait,
    /// Give up.
    Fail,
}

impl Work {
    /// Takes the folder `path`, making it when it is not there.
    ///
    /// # Errors
    /// Another process has it and `if_busy` says to fail; it cannot be made or emptied.
    pub fn take(path: &Path, if_busy: IfBusy) -> Result<Self> {
        loop {
            if let Err(error) = fs::create_dir(path)
                && error.kind() != ErrorKind::AlreadyExists
            {
                return Err(error).doing("make the working folder", path);
            }
            let Some(folder) = open(path)? else { continue };
            match folder.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if if_busy == IfBusy::Wait => folder.lock().doing("wait for", path)?,
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::Usage(format!(
                        "another build is working in {}; wait for its end",
                        path.display()
                    )));
                }
                Err(TryLockError::Error(error)) => return Err(error).doing("lock", path),
            }
            // Whoever had it before may have removed it: then the lock is on a folder that nobody finds.
            if open(path)?.is_none_or(|now| !same(&now, &folder)) {
                continue;
            }
            let work = Self {
                path: path.to_owned(),
                _folder: folder,
            };
            work.empty()?;
            // Unfinished files of an image are nobody else's business, and programs of the image must pass through.
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).doing("set the mode of", path)?;
            return Ok(work);
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn empty(&self) -> Result<()> {
        for entry in fs::read_dir(&self.path).doing("list", &self.path)? {
            let path = entry.doing("list", &self.path)?.path();
            let is_folder = path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
            if is_folder {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            }
            .doing("remove the left-over", &path)?;
        }
        Ok(())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next run.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A folder that is not removed while this is there ([`remove`]).
#[derive(Debug)]
pub struct Held {
    _folder: File,
}

impl Held {
    /// Holds the folder `path`, if it is there. Waits for one who removes it.
    pub fn take(path: &Path) -> Result<Option<Self>> {
        while let Some(folder) = open(path)? {
            folder.lock_shared().doing("wait for", path)?;
            // Meanwhile it may have been removed, and made anew.
            if open(path)?.is_some_and(|now| same(&now, &folder)) {
                return Ok(Some(Self { _folder: folder }));
            }
        }
        Ok(None)
    }
}

/// Ends the name of a folder that is being removed: one that an interruption leaves half there is found by nobody.
pub const GONE: &str = "gone";

/// Removes the folder `path` when nobody holds it any more.
pub fn remove(path: &Path) -> Result<()> {
    let Some(folder) = open(path)? else { return Ok(()) };
    folder.lock().doing("wait for", path)?;
    remove_locked(path)
}

/// Removes the folder `path` unless somebody holds it. Gives whether it did.
pub fn remove_unless_held(path: &Path) -> Result<bool> {
    let Some(folder) = open(path)? else { return Ok(false) };
    match folder.try_lock() {
        Ok(()) => remove_locked(path).map(|()| true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error).doing("lock", path),
    }
}

fn remove_locked(path: &Path) -> Result<()> {
    let gone = path.with_extension(GONE);
    if path != gone {
        match fs::remove_dir_all(&gone) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).doing("remove", &gone),
            _ => fs::rename(path, &gone).doing("move away", path)?,
        }
    }
    fs::remove_dir_all(&gone).doing("remove", &gone)
}

fn open(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        opened => opened.doing("open", path).map(Some),
    }
}

fn same(one: &File, other: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |file: &File| file.metadata().map(|meta| (meta.dev(), meta.ino())).ok();
    identity(one).is_some() && identity(one) == identity(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn left_overs_of_an_interrupted_run_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".work");
        fs::create_dir_all(path.join("tree/usr")).unwrap();
        fs::write(path.join("disk"), "half").unwrap();
        let work = Work::take(&path, IfBusy::Fail).unwrap();
        assert_eq!(fs::read_dir(work.path()).unwrap().count(), 0);
        drop(work);
        assert!(!path.exists());
    }

    #[test]
    fn second_one_is_refused_until_the_first_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".work");
        let first = Work::take(&path, IfBusy::Fail).unwrap();
        assert!(
            Work::take(&path, IfBusy::Fail)
                .unwrap_err()
                .to_string()
                .contains("another build")
        );
        drop(first);
        assert!(Work::take(&path, IfBusy::Fail).is_ok());
    }

    #[test]
    fn a_held_folder_is_removed_when_nobody_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("entry");
        assert!(Held::take(&path).unwrap().is_none());
        fs::create_dir(&path).unwrap();
        let held = [Held::take(&path).unwrap().unwrap(), Held::take(&path).unwrap().unwrap()];
        std::thread::scope(|scope| {
            let removing = scope.spawn(|| remove(&path).unwrap());
            for one in held {
                assert!(path.exists());
                drop(one);
            }
            removing.join().unwrap();
        });
        assert!(Held::take(&path).unwrap().is_none());
    }

    #[test]
    fn one_that_waits_gets_a_folder_that_can_be_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".work");
        let first = Work::take(&path, IfBusy::Fail).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| {
                let work = Work::take(&path, IfBusy::Wait).unwrap();
                fs::write(work.path().join("x"), "").unwrap();
                path.join("x").exists()
            });
            drop(first);
            assert!(second.join().unwrap());
        });
    }
}
