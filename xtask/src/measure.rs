//! What a program needed, by the operating system's own accounting: processor time and memory, not the clock on the wall.
//!
//! The peak of memory that the system keeps for a process outlives `exec`: a program that is started from here would be said to
//! have held at least what *we* hold. So it is started by another process, which is this same program as a launcher
//! ([`launch`]): fresh, a few megabytes, and the parent that the program's figures begin with.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::rusage;

/// The word that makes this program a launcher.
pub(crate) const LAUNCHER: &str = "measured";

/// Where a launcher writes what it measured.
const REPORT: &str = "TWINHULL_MEASURED";

/// What one run of a program needed, its children that it waited for included.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// Processor time in user and kernel mode.
    pub(crate) cpu: Duration,
    /// The largest resident set of any one of its processes, in bytes. The launcher's own counts as one: 2 to 6 MB.
    pub(crate) peak_memory: u64,
    /// Time on the wall: noise on a shared machine.
    pub(crate) wall: Duration,
}

/// What a launcher reports.
#[derive(Serialize, Deserialize)]
struct Report {
    /// As `wait(2)` gives it.
    status: i32,
    usage: Usage,
}

/// A command that runs `program` by way of a launcher: the only kind that [`run`] takes. Give it arguments, folder, streams as any
/// other.
pub(crate) fn program(program: impl AsRef<OsStr>) -> Command {
    // Its link, not its path: the file may have been replaced by a new build meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command.arg(LAUNCHER).arg(program);
    command
}

/// Runs what [`program`] gave to its end and says what it needed.
///
/// # Errors
/// When it cannot be started or does not succeed.
pub(crate) fn run(command: &mut Command) -> Result<Usage> {
    let name = command.get_args().nth(1).unwrap_or_default().display().to_string();
    let report = tempfile::NamedTempFile::new().context("cannot make a file for what is measured")?;
    let launched = command.env(REPORT, report.path()).status();
    let launched = launched.with_context(|| format!("cannot start a launcher for {name}"))?;
    if !launched.success() {
        bail!("{name} was not started: its launcher ended with {launched}");
    }
    let text = fs::read(report.path()).context("cannot read what was measured")?;
    let report: Report =
        serde_json::from_slice(&text).with_context(|| format!("the launcher of {name} reported something else"))?;
    let status = ExitStatus::from_raw(report.status);
    if !status.success() {
        bail!("{name}: {status}");
    }
    Ok(report.usage)
}

/// The launcher: runs the program that `words` begin with and writes what it needed to the file that [`run`] named.
pub(crate) fn launch(mut words: impl Iterator<Item = OsString>) -> ExitCode {
    let launched = words
        .next()
        .context("the launcher of measured programs was given none")
        .and_then(|program| measured(Command::new(program).args(words)));
    match launched {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measured(command: &mut Command) -> Result<()> {
    let name = command.get_program().display().to_string();
    let path = env::var_os(REPORT).with_context(|| format!("{REPORT} names no file for what {name} needs"))?;
    let started = Instant::now();
    let child = command.env_remove(REPORT).spawn();
    let child = child.with_context(|| format!("cannot start {name}"))?;
    let (status, usage) = rusage::wait(&child).with_context(|| format!("cannot wait for {name}"))?;
    let report = Report {
        status: status.into_raw(),
        usage: Usage {
            wall: started.elapsed(),
            ..usage
        },
    };
    let text = serde_json::to_vec(&report).context("cannot express what was measured")?;
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Runs what `make` gives `runs` times (at least once) and takes the median of each figure.
pub(crate) fn median(runs: usize, mut make: impl FnMut() -> Result<Command>) -> Result<Usage> {
    let usages = (0..runs.max(1))
        .map(|_| run(&mut make()?))
        .collect::<Result<Vec<_>>>()?;
    Ok(Usage {
        cpu: middle(usages.iter().map(|usage| usage.cpu)),
        peak_memory: middle(usages.iter().map(|usage| usage.peak_memory)),
        wall: middle(usages.iter().map(|usage| usage.wall)),
    })
}

fn middle<T: Ord + Copy>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(middle([9, 1, 5].into_iter()), 5);
    }
}
