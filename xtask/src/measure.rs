//! What a program needed, by the operating system's own accounting: processor time and memory, not the clock on the wall.

use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::rusage;

/// What one run of a program needed, its children that it waited for included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// Processor time in user and kernel mode.
    pub(crate) cpu: Duration,
    /// The largest resident set of any one of its processes, in bytes.
    pub(crate) peak_memory: u64,
    /// Time on the wall: noise on a shared machine.
    pub(crate) wall: Duration,
}

/// Runs `command` to its end and says what it needed.
///
/// # Errors
/// When it cannot be started or does not succeed.
pub(crate) fn run(command: &mut Command) -> Result<Usage> {
    let program = command.get_program().display().to_string();
    let started = Instant::now();
    let child = command.spawn().with_context(|| format!("cannot start {program}"))?;
    let (status, usage) = rusage::wait(&child).with_context(|| format!("cannot wait for {program}"))?;
    succeeded(&program, status)?;
    Ok(Usage {
        wall: started.elapsed(),
        ..usage
    })
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

fn succeeded(program: &str, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("{program}: {status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_and_memory_of_a_child_are_seen() {
        // 64 MiB held at once, and read through: both must show.
        let usage =
            run(Command::new("sh").args(["-c", "x=$(head -c 67108864 /dev/zero | tr '\\0' a); : ${#x}"])).unwrap();
        assert!(usage.peak_memory >= 64 << 20, "{usage:?}");
        assert!(usage.cpu > Duration::ZERO, "{usage:?}");
    }

    #[test]
    fn a_program_that_fails_has_no_figures() {
        assert!(run(&mut Command::new("false")).is_err());
    }

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(middle([9, 1, 5].into_iter()), 5);
    }
}
