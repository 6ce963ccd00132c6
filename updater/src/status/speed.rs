//! How fast an install goes, and how long it will still take.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::install::{Progress, Step};

/// Over how long the rate is measured: long enough not to jump, short enough to notice a change.
const WINDOW: Duration = Duration::from_secs(10);

/// How fast a step goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Speed {
    /// Bytes of the step in a second.
    pub bytes_per_second: u64,
    /// Seconds until the step is done, at this rate.
    pub remaining_seconds: u64,
}

impl fmt::Display for Speed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = self.bytes_per_second / 100_000;
        let (minutes, seconds) = (self.remaining_seconds / 60, self.remaining_seconds % 60);
        write!(out, "{}.{} MB/s, {minutes}:{seconds:02} left", tenths / 10, tenths % 10)
    }
}

/// Measures the rate of the step that is under way.
#[derive(Debug, Default)]
pub struct Speedometer {
    step: Option<Step>,
    /// When how much was done, oldest first.
    samples: Vec<(Duration, u64)>,
}

impl Speedometer {
    /// Takes note of `progress` at `now`, on any clock that only goes forward. `None` until there is something to compare with.
    pub fn at(&mut self, now: Duration, progress: Progress) -> Option<Speed> {
        if self.step != Some(progress.step) {
            self.step = Some(progress.step);
            self.samples.clear();
        }
        // One sample beyond the window stays, so that the whole of it is covered.
        let old = |sample: &(Duration, u64)| now.saturating_sub(sample.0) >= WINDOW;
        let surplus = self
            .samples
            .iter()
            .take_while(|sample| old(sample))
            .count()
            .saturating_sub(1);
        self.samples.drain(..surplus);
        self.samples.push((now, progress.done));
        let (since, done) = *self.samples.first()?;
        let elapsed = u64::try_from(now.saturating_sub(since).as_millis()).ok()?;
        let bytes = progress.done.checked_sub(done)?;
        let bytes_per_second = bytes.saturating_mul(1000).checked_div(elapsed)?;
        let rest = progress.total.saturating_sub(progress.done);
        Some(Speed {
            bytes_per_second,
            remaining_seconds: rest.checked_div(bytes_per_second)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_that_of_the_last_seconds_and_of_this_step_only() {
        let mut meter = Speedometer::default();
        let at = |step, done| Progress {
            step,
            done,
            total: 100_000_000,
        };
        let second = Duration::from_secs;
        assert_eq!(meter.at(second(0), at(Step::Root, 0)), None);
        let speed = meter.at(second(1), at(Step::Root, 10_000_000)).unwrap();
        assert_eq!((speed.bytes_per_second, speed.remaining_seconds), (10_000_000, 9));
        assert_eq!(speed.to_string(), "10.0 MB/s, 0:09 left");
        for time in 2..30 {
            meter.at(second(time), at(Step::Root, 10_000_000 + (time - 1) * 1_000_000));
        }
        let speed = meter.at(second(30), at(Step::Root, 39_000_000)).unwrap();
        assert_eq!(speed.bytes_per_second, 1_000_000, "the fast start is forgotten");
        assert_eq!(meter.at(second(31), at(Step::ReadBack, 0)), None);
    }
}
