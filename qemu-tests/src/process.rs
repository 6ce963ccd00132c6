//! A program that runs beside us and must never outlive us.

use std::fs::File;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use tokio::process::Command;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::error::{Error, Result};
use crate::tools;

/// A child process, killed when this value is dropped.
///
/// It is also killed by the kernel should this process die without dropping anything. The kernel ties that to the
/// *thread* which started the child: call [`Process::start`] only on a runtime whose tasks stay on one thread.
#[derive(Debug)]
pub struct Process {
    id: u32,
    ended: watch::Receiver<Option<ExitStatus>>,
    kill: mpsc::Sender<()>,
    task: JoinHandle<()>,
}

impl Process {
    /// Starts `program` with `arguments`, its output and errors going to the file `log`.
    pub fn start(
        program: &Path,
        arguments: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>,
        log: &Path,
    ) -> Result<Self> {
        Self::start_in(program, arguments, Path::new("."), log)
    }

    /// As [`Process::start`], in the folder `folder`.
    pub fn start_in(
        program: &Path,
        arguments: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>,
        folder: &Path,
        log: &Path,
    ) -> Result<Self> {
        let file = File::create(log).map_err(|source| Error::file("create the log", log, source))?;
        let errors = file
            .try_clone()
            .map_err(|source| Error::file("open the log", log, source))?;
        let mut command = Command::new(tools::program("setpriv")?);
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            // A Ctrl-C at the terminal is for us to act on: the child is ended in order, not at the same instant.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .map_err(|source| Error::file("start", program, source))?;
        let id = child.id().unwrap_or_default();
        let (kill, mut asked) = mpsc::channel(1);
        let (report, ended) = watch::channel(None);
        let task = tokio::spawn(async move {
            let status = tokio::select! {
                status = child.wait() => status,
                _ = asked.recv() => {
                    // Already gone is as good as killed; wait() tells how it went either way.
                    drop(child.start_kill());
                    child.wait().await
                }
            };
            if let Ok(status) = status {
                report.send_replace(Some(status));
            }
        });
        Ok(Self { id, ended, kill, task })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// How it ended, when it has.
    pub fn status(&self) -> Option<ExitStatus> {
        *self.ended.borrow()
    }

    /// Waits for its end.
    pub async fn wait(&self) -> Option<ExitStatus> {
        let mut ended = self.ended.clone();
        // An error means that the watcher is gone without a status; the process is gone as well then.
        ended.wait_for(Option::is_some).await.ok().and_then(|status| *status)
    }

    /// Kills it and waits until it is gone.
    pub async fn kill(&self) {
        // A full or closed channel means that it is being killed or has ended already.
        let _ = self.kill.try_send(());
        self.wait().await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn output_goes_to_the_log_and_the_status_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let process = Process::start(Path::new("/bin/sh"), ["-c", "echo one; echo two >&2; exit 7"], &log).unwrap();
        assert_eq!(process.wait().await.and_then(|status| status.code()), Some(7));
        assert_eq!(std::fs::read_to_string(log).unwrap(), "one\ntwo\n");
    }

    #[tokio::test]
    async fn dropping_it_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let process = Process::start(Path::new("/bin/sleep"), ["1000"], &folder.path().join("log")).unwrap();
        let status = format!("/proc/{}/stat", process.id());
        drop(process);
        let gone = async {
            // A zombie counts as ended: the runtime reaps it in its own time.
            while std::fs::read_to_string(&status).is_ok_and(|text| !text.contains(") Z ")) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), gone)
            .await
            .unwrap();
    }
}
