//! Time limits that count only the time in which the machine could run.
//!
//! Other work on the host may keep an emulated processor from running for seconds at a time. That is no fault of the
//! guest, so what the kernel's scheduler made it wait (`/proc/PID/task/*/schedstat`) is added to its limits.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::time::{Duration, Instant};

/// On a host that hardly lets a machine run at all, waiting still ends after this many times the limit.
const AT_MOST: u32 = 8;

/// How long a process was kept from running.
#[derive(Debug)]
pub(super) struct Starvation {
    process: u32,
    waited: RefCell<BTreeMap<OsString, u64>>,
    lost: Cell<Duration>,
}

impl Starvation {
    pub(super) fn of(process: u32) -> Self {
        Self {
            process,
            waited: RefCell::default(),
            lost: Cell::default(),
        }
    }

    /// The time lost since the process was started. No thread can have lost more than the one that waited longest.
    pub(super) fn lost(&self) -> Duration {
        let mut seen = self.waited.borrow_mut();
        let mut most = 0;
        for (thread, waited) in threads(self.process) {
            let before = seen.insert(thread, waited).unwrap_or(0);
            most = most.max(waited.saturating_sub(before));
        }
        let lost = self.lost.get() + Duration::from_nanos(most);
        self.lost.set(lost);
        lost
    }
}

/// Every thread of a process with the nanoseconds it has spent ready to run but not running.
fn threads(process: u32) -> Vec<(OsString, u64)> {
    // A process that has ended, or a kernel that does not count: nothing was lost.
    let Ok(folder) = fs::read_dir(format!("/proc/{process}/task")) else {
        return Vec::new();
    };
    folder
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let text = fs::read_to_string(entry.path().join("schedstat")).ok()?;
            Some((entry.file_name(), waited(&text)?))
        })
        .collect()
}

/// The second of the three numbers of `schedstat`: time on the run queue in nanoseconds.
fn waited(schedstat: &str) -> Option<u64> {
    schedstat.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// One limit being waited for.
#[derive(Debug)]
pub(super) struct Patience<'a> {
    starvation: &'a Starvation,
    limit: Duration,
    begun: Instant,
    lost_before: Duration,
}

impl<'a> Patience<'a> {
    pub(super) fn new(starvation: &'a Starvation, limit: Duration) -> Self {
        Self {
            starvation,
            limit,
            begun: Instant::now(),
            lost_before: starvation.lost(),
        }
    }

    /// Returns when the limit is over.
    pub(super) async fn over(&self) {
        loop {
            let lost = self.starvation.lost().saturating_sub(self.lost_before);
            let left = left(self.limit, self.begun.elapsed(), lost);
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}

/// What is left of `limit` when `elapsed` has passed, of which `lost` was no use.
fn left(limit: Duration, elapsed: Duration, lost: Duration) -> Duration {
    let extended = (limit + lost).min(limit * AT_MOST);
    extended.saturating_sub(elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn time_without_a_processor_does_not_count() {
        assert_eq!(left(10 * SECOND, 9 * SECOND, Duration::ZERO), SECOND);
        assert_eq!(left(10 * SECOND, 12 * SECOND, 5 * SECOND), 3 * SECOND);
        assert_eq!(left(10 * SECOND, 12 * SECOND, SECOND), Duration::ZERO);
    }

    #[test]
    fn a_starved_machine_is_given_up_in_the_end() {
        assert_eq!(left(10 * SECOND, 80 * SECOND, 79 * SECOND), Duration::ZERO);
    }

    #[test]
    fn the_kernels_count_is_read() {
        assert_eq!(waited("779519163 3168298525 443\n"), Some(3_168_298_525));
        assert_eq!(waited(""), None);
        assert!(!threads(std::process::id()).is_empty());
    }

    #[test]
    fn what_is_lost_only_grows() {
        let starvation = Starvation::of(std::process::id());
        let first = starvation.lost();
        assert!(starvation.lost() >= first);
        assert_eq!(Starvation::of(u32::MAX).lost(), Duration::ZERO);
    }
}
