//! The folders of one run: private ones that vanish with it, and the logs that stay.

use std::cell::Cell;
use std::fs::{self, File, TryLockError};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::error::{Error, Result};

/// Beginning of the names of the folders of a run.
const PREFIX: &str = "twinhull-run.";

/// Kept locked by a run; when nobody holds it, the run is over and its folder may go.
const LOCK: &str = ".lock";

/// The longest path at which sockets are made. A socket's has 108 bytes: to this one come a folder of the run (20), one of a machine
/// (7) and a name, of which the longest is that of ssh with what it adds while it connects (21).
const SOCKETS_BELOW: usize = 60;

/// The folders of one run.
#[derive(Debug)]
pub struct RunFolder {
    disks: Private,
    sockets: Private,
    logs: PathBuf,
    /// How many sockets were named.
    named: Cell<u32>,
    // After the folders, so that it finds nothing left to do.
    _caretaker: Caretaker,
}

/// A process that removes the folders when this one is gone, however it ended: its input ends then.
#[derive(Debug)]
struct Caretaker(Child);

impl Caretaker {
    /// A folder whose lock file is gone is left alone: it was kept on purpose.
    const SCRIPT: &str = "cat > /dev/null; for folder; do test -e \"$folder/.lock\" && rm -rf -- \"$folder\"; done";

    fn start(folders: [&Path; 2]) -> Result<Self> {
        let shell = "/bin/sh";
        let child = Command::new(shell)
            .args(["-c", Self::SCRIPT, "twinhull-caretaker"])
            .args(folders)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C at the terminal is not for it.
            .process_group(0)
            .spawn()
            .map_err(|source| Error::file("start", shell, source))?;
        Ok(Self(child))
    }
}

impl Drop for Caretaker {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // Reaped, so that a long-lived program that has many runs collects no zombies.
        drop(self.0.wait());
    }
}

/// A folder that only this user can enter, removed in the end.
#[derive(Debug)]
struct Private {
    folder: TempDir,
    // Held for as long as the folder is in use.
    _lock: File,
}

impl Private {
    fn create(base: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(base)
            .map_err(|source| Error::file("make a folder in", base, source))?;
        let (path, new) = (folder.path().join(LOCK), folder.path().join(".lock.new"));
        let lock = File::create(&new).map_err(|source| Error::file("create", &new, source))?;
        lock.lock().map_err(|source| Error::file("lock", &new, source))?;
        // Under its name only when it is locked, so that no other run sees it free.
        fs::rename(&new, &path).map_err(|source| Error::file("create", &path, source))?;
        Ok(Self { folder, _lock: lock })
    }
}

impl RunFolder {
    /// Makes them: disks below `work`, sockets and keys below the system's folder for temporary files, logs in
    /// `WORK/logs`. Folders of runs that were killed are removed first.
    pub fn create(work: &Path) -> Result<Self> {
        Self::with_logs(work, work.join("logs"))
    }

    /// The same with another folder for logs.
    pub(crate) fn with_logs(work: &Path, logs: PathBuf) -> Result<Self> {
        let mut base = std::env::temp_dir();
        if base.as_os_str().len() > SOCKETS_BELOW {
            base = PathBuf::from("/tmp");
        }
        remove_abandoned(work)?;
        remove_abandoned(&base)?;
        fs::create_dir_all(&logs).map_err(|source| Error::file("make the folder", &logs, source))?;
        let (disks, sockets) = (Private::create(work)?, Private::create(&base)?);
        let caretaker = Caretaker::start([disks.folder.path(), sockets.folder.path()])?;
        Ok(Self {
            disks,
            sockets,
            logs,
            named: Cell::new(0),
            _caretaker: caretaker,
        })
    }

    /// Where machines have their disks.
    pub fn disks(&self) -> &Path {
        self.disks.folder.path()
    }

    /// A short path for sockets and keys, which only this user can enter.
    pub fn sockets(&self) -> &Path {
        self.sockets.folder.path()
    }

    /// A path for a socket, short and another one each time.
    pub(crate) fn socket(&self) -> PathBuf {
        let number = self.named.get();
        self.named.set(number.wrapping_add(1));
        self.sockets().join(format!("{number}.socket"))
    }

    /// Where logs are written. They stay.
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// Leaves the disks behind; where they are.
    pub fn keep_disks(self) -> PathBuf {
        let path = self.disks.folder.keep();
        // Without its lock file the next run does not take it for one that was killed.
        drop(fs::remove_file(path.join(LOCK)));
        path
    }
}

/// Removes the folders in `base` of runs that ended without a chance to clean up.
fn remove_abandoned(base: &Path) -> Result<()> {
    let failed = |source| Error::file("list", base, source);
    for entry in fs::read_dir(base).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let ours = path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with(PREFIX));
        // A folder without a lock file was kept on purpose, or is being made at this moment.
        let Some(lock) = ours.then(|| File::open(path.join(LOCK)).ok()).flatten() else {
            continue;
        };
        match lock.try_lock() {
            // What cannot be removed now is tried again by the next run; it is in nobody's way.
            Ok(()) => drop(fs::remove_dir_all(&path)),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => return Err(Error::file("lock", &path, source)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_logs_is_left() {
        let work = tempfile::tempdir().unwrap();
        let run = RunFolder::create(work.path()).unwrap();
        let (disks, sockets) = (run.disks().to_owned(), run.sockets().to_owned());
        assert!(disks.is_dir() && sockets.is_dir());
        drop(run);
        assert!(!disks.exists() && !sockets.exists());
        assert!(work.path().join("logs").is_dir());
    }

    #[test]
    fn a_killed_runs_disks_go_and_a_living_runs_stay() {
        let work = tempfile::tempdir().unwrap();
        let living = RunFolder::create(work.path()).unwrap();
        let killed = work.path().join("twinhull-run.killed");
        fs::create_dir(&killed).unwrap();
        File::create(killed.join(LOCK)).unwrap();
        let other = RunFolder::create(work.path()).unwrap();
        assert!(!killed.exists());
        assert!(living.disks().is_dir() && other.disks().is_dir());
    }

    #[test]
    fn the_caretaker_removes_what_a_run_left_and_nothing_that_was_kept() {
        let work = tempfile::tempdir().unwrap();
        let (left, kept) = (work.path().join("left"), work.path().join("kept"));
        for folder in [&left, &kept] {
            fs::create_dir(folder).unwrap();
        }
        fs::write(left.join(LOCK), "").unwrap();
        // Dropping it is what the end of the process does: its input ends.
        drop(Caretaker::start([&left, &kept]).unwrap());
        assert!(!left.exists() && kept.exists());
    }

    #[test]
    fn disks_kept_on_purpose_survive_the_next_run() {
        let work = tempfile::tempdir().unwrap();
        let kept = RunFolder::create(work.path()).unwrap().keep_disks();
        drop(RunFolder::create(work.path()).unwrap());
        assert!(kept.is_dir());
    }
}
