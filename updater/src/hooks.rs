//! Hooks: what is done to this host's work before a reboot, and undone after it (drain and uncordon).
//!
//! Each executable of the hook folders is run with `before`, in the order of their names, and after the reboot (or when it was
//! given up) with `after`, in the reverse order. Only what was done is undone: a hook that ends with 10 found everything as it
//! should be, and is not called again. Which hooks have something to undo is kept durably before each is run, so that a power cut
//! forgets none.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::drop_ins;
use crate::health::{is_executable, run_command};
use crate::machine::Problem;

/// Exit code of a hook that had nothing to do, so that there is nothing to undo.
pub const NOTHING_DONE: i32 = 10;

/// Longest journal that is read, in bytes.
const MAX_SIZE: u64 = 256 * 1024;

/// The hooks of a host.
#[derive(Debug, Clone)]
pub struct Hooks {
    /// Their folders, the weakest first.
    pub folders: Vec<PathBuf>,
    /// The file with the names of those that have something to undo.
    pub journal: PathBuf,
    /// How long one may take.
    pub limit: Duration,
    /// Whether one that fails stops the reboot, and is repeated after it.
    pub must_succeed: bool,
}

/// Whether a file in a hook folder is one.
pub(crate) fn is_hook(path: &Path) -> bool {
    // A mask must take its place in the merge.
    is_executable(path) || path.is_symlink()
}

impl Hooks {
    /// Runs all of them with `before`. After an error, call [`Hooks::after`]: some have done their work.
    ///
    /// # Errors
    /// `hook-failed` if one fails and they must succeed; or the journal cannot be kept.
    pub fn before(&self) -> Result<(), Problem> {
        let mut names = self.read()?;
        for path in drop_ins::effective(&self.folders, is_hook).map_err(|error| Problem::new("hook-failed", error))? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if names.contains(&name) {
                continue;
            }
            // Before it is run: cut in the middle, it may have done half.
            names.push(name);
            self.write(&names)?;
            match self.run(&path, "before", &[0, NOTHING_DONE]) {
                Ok(NOTHING_DONE) => {
                    names.pop();
                    self.write(&names)?;
                }
                Ok(_) => {}
                Err(problem) if self.must_succeed => return Err(problem),
                Err(problem) => tracing::warn!("{problem}"),
            }
        }
        Ok(())
    }

    /// Runs those that have done something with `after`, the last one first.
    ///
    /// # Errors
    /// `hook-failed` if one fails and they must succeed: it and those before it are still to be undone. Or the journal cannot be
    /// kept.
    pub fn after(&self) -> Result<(), Problem> {
        let mut names = self.read()?;
        let files = drop_ins::effective(&self.folders, is_hook).map_err(|error| Problem::new("hook-failed", error))?;
        while let Some(name) = names.last() {
            let wanted = OsString::from(name);
            match files.iter().find(|path| path.file_name() == Some(&wanted)) {
                None => tracing::warn!("the hook {name} is gone: what it did cannot be undone"),
                Some(path) => match self.run(path, "after", &[0]) {
                    Ok(_) => {}
                    Err(problem) if self.must_succeed => return Err(problem),
                    Err(problem) => tracing::warn!("{problem}"),
                },
            }
            names.pop();
            self.write(&names)?;
        }
        Ok(())
    }

    fn run(&self, path: &Path, when: &str, good: &[i32]) -> Result<i32, Problem> {
        tracing::info!("hook {} {when}", path.display());
        run_command(Command::new(path).arg(when), self.limit, good)
            .map_err(|wrong| Problem::new("hook-failed", format!("the hook {} {when} {wrong}", path.display())))
    }

    fn read(&self) -> Result<Vec<String>, Problem> {
        let failed = |why: String| {
            let text = format!(
                "cannot read which hooks are to be undone from {}: {why}",
                self.journal.display()
            );
            Problem::new("state", text)
        };
        let mut bytes = Vec::new();
        match File::open(&self.journal) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened
                .and_then(|file| file.take(MAX_SIZE).read_to_end(&mut bytes))
                .map_err(|error| failed(error.to_string()))?,
        };
        serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))
    }

    fn write(&self, names: &[String]) -> Result<(), Problem> {
        let written = if names.is_empty() {
            twinhull_durable::remove(&self.journal)
        } else {
            let bytes = serde_json::to_vec(names).unwrap_or_default();
            twinhull_durable::replace(&self.journal, &bytes, 0o644)
        };
        written.map_err(|error| Problem::new("state", error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use crate::script;

    struct Host {
        folder: tempfile::TempDir,
        hooks: Hooks,
    }

    impl Host {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let hooks = Hooks {
                folders: vec![folder.path().join("hooks.d")],
                journal: folder.path().join("hooks.json"),
                limit: Duration::from_mins(1),
                must_succeed: true,
            };
            fs::create_dir(&hooks.folders[0]).unwrap();
            Self { folder, hooks }
        }

        /// A hook that writes down what it was called for; `then` is run with `before` only.
        fn hook(&self, name: &str, then: &str) {
            let path = self.hooks.folders[0].join(name);
            let log = self.folder.path().join("log");
            let text = format!("echo {name} $1 >> {}\n[ $1 = after ] || {{ {then}; }}", log.display());
            script::write(&path, &text);
        }

        fn log(&self) -> String {
            let path = self.folder.path().join("log");
            let text = fs::read_to_string(&path).unwrap_or_default();
            let _ = fs::remove_file(path);
            text.trim().replace('\n', ", ")
        }
    }

    #[test]
    fn what_was_done_is_undone_in_reverse_and_nothing_else() {
        let host = Host::new();
        host.hook("10-drain", "true");
        host.hook("20-already-so", "exit 10");
        host.hook("30-silence", "true");
        host.hooks.before().unwrap();
        assert_eq!(host.log(), "10-drain before, 20-already-so before, 30-silence before");
        host.hooks.after().unwrap();
        assert_eq!(host.log(), "30-silence after, 10-drain after");
        host.hooks.after().unwrap();
        assert_eq!(host.log(), "", "once is enough");
    }

    #[test]
    fn failure_stops_and_what_was_begun_is_undone() {
        let host = Host::new();
        host.hook("10-drain", "true");
        host.hook("20-bad", "echo no quorum; exit 1");
        host.hook("30-never", "true");
        let problem = host.hooks.before().unwrap_err();
        assert_eq!(problem.code, "hook-failed");
        assert!(
            problem
                .text
                .ends_with("20-bad before failed (exit status: 1): no quorum"),
            "{problem}"
        );
        host.log();
        host.hooks.after().unwrap();
        assert_eq!(host.log(), "20-bad after, 10-drain after");
    }

    #[test]
    fn failure_is_passed_over_where_the_policy_says_so() {
        let mut host = Host::new();
        host.hooks.must_succeed = false;
        host.hook("10-bad", "exit 1");
        host.hook("20-good", "true");
        host.hooks.before().unwrap();
        assert_eq!(host.log(), "10-bad before, 20-good before");
        host.hooks.after().unwrap();
        assert_eq!(host.log(), "20-good after, 10-bad after");
    }

    #[test]
    fn power_cut_in_a_hook_is_no_reason_to_forget_it() {
        let host = Host::new();
        host.hook("10-drain", "true");
        host.hook("20-cut", "true");
        // As it is kept when the power goes while 20-cut runs.
        host.hooks.write(&["10-drain".to_owned(), "20-cut".to_owned()]).unwrap();
        host.hooks.after().unwrap();
        assert_eq!(host.log(), "20-cut after, 10-drain after");
    }

    #[test]
    fn hook_that_is_gone_does_not_stop_the_others() {
        let host = Host::new();
        host.hook("10-drain", "true");
        host.hooks
            .write(&["10-drain".to_owned(), "20-gone".to_owned()])
            .unwrap();
        host.hooks.after().unwrap();
        assert_eq!(host.log(), "10-drain after");
    }
}
