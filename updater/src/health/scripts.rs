//! Scripts that must succeed.

use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::drop_ins;
use crate::http::one_line;

/// Between two looks whether a script has ended.
const LOOK: Duration = Duration::from_millis(50);

/// How much of the end of a script's output is kept.
const OUTPUT: u64 = 4096;

/// Who runs the scripts.
pub trait Scripts {
    /// Runs all, each for at most `limit`. Gives what is wrong.
    fn run_all(&self, limit: Duration) -> Vec<String>;
}

/// The executable files of some folders, merged as drop-ins, in the order of their names.
impl Scripts for Vec<PathBuf> {
    fn run_all(&self, limit: Duration) -> Vec<String> {
        match drop_ins::effective(self, |_| true) {
            Ok(files) => files
                .iter()
                .filter(|path| is_executable(path))
                .filter_map(|path| {
                    run(path, limit)
                        .err()
                        .map(|wrong| format!("{} {wrong}", path.display()))
                })
                .collect(),
            Err(error) => vec![error.to_string()],
        }
    }
}

pub(crate) fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// Runs one script for at most `limit`; then it is killed, with everything it started.
///
/// # Errors
/// What is wrong, as the rest of a sentence that begins with the script's name, ending in the last line it wrote.
pub fn run(path: &Path, limit: Duration) -> Result<(), String> {
    run_with(&mut Command::new(path), limit, &[0]).map(drop)
}

/// The same for a command whose exit code is one of `good`; gives it.
///
/// # Errors
/// As [`run`].
pub fn run_with(command: &mut Command, limit: Duration, good: &[i32]) -> Result<i32, String> {
    let ran = start(command).and_then(|(child, mut output)| {
        let status = wait(child, limit)?;
        Ok((status, last_line(&mut output)?))
    });
    let (outcome, said) = match ran {
        Ok((Some(status), _)) if status.code().is_some_and(|code| good.contains(&code)) => {
            return Ok(status.code().unwrap_or_default());
        }
        Ok((Some(status), said)) => (format!("failed ({status})"), said),
        Ok((None, said)) => (format!("took longer than {} s", limit.as_secs()), said),
        Err(error) => return Err(format!("could not be run: {error}")),
    };
    Err(if said.is_empty() {
        outcome
    } else {
        format!("{outcome}: {said}")
    })
}

fn start(command: &mut Command) -> io::Result<(Child, std::fs::File)> {
    // A file and not a pipe: what the script leaves running must not keep us waiting for an end of its output.
    let output = unnamed_file()?;
    let child = command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .process_group(0)
        .spawn()?;
    Ok((child, output))
}

fn unnamed_file() -> io::Result<std::fs::File> {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    Ok(memfd_create(c"health-script-output", MFdFlags::MFD_CLOEXEC)?.into())
}

/// The status, or none if the time was up.
fn wait(mut child: Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let started = Instant::now();
    let group = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() >= limit {
            killpg(group, Signal::SIGKILL)?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}

fn last_line(output: &mut std::fs::File) -> io::Result<String> {
    let size = output.seek(SeekFrom::End(0))?;
    output.seek(SeekFrom::Start(size.saturating_sub(OUTPUT)))?;
    let mut bytes = Vec::new();
    output.take(OUTPUT).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(one_line(text.trim_end().lines().next_back().unwrap_or_default()))
}
