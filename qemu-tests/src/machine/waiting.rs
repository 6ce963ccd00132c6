//! Waiting for a machine: on conditions, with limits, and never longer than makes sense.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::Machine;
use super::patience::Patience;
use crate::error::{Error, Result};

/// How long to let the guest be between two looks, at least.
const SHORTEST: Duration = Duration::from_millis(750);

/// The same at most, so that what is awaited is not noticed much too late.
const LONGEST: Duration = Duration::from_secs(5);

/// How many times as long as the look itself: a look keeps an emulated processor from its work.
const SHARE: u32 = 4;

impl Machine {
    /// Waits until `pattern` is on the console at or after the position `from`; gives the position after it.
    pub async fn wait_for_text(&self, pattern: &str, from: u64, limit: Duration) -> Result<u64> {
        let (_, end) = self.wait_for_one_of(&[pattern], from, limit).await?;
        Ok(end)
    }

    /// The same for several of them, until one is there: which one, and the position after it.
    pub(crate) async fn wait_for_one_of(&self, patterns: &[&str], from: u64, limit: Duration) -> Result<(usize, u64)> {
        let awaited = format!("text \"{}\" on the console", patterns.join("\" or \""));
        let patience = Patience::new(&self.starvation, limit);
        loop {
            let seen = self.console.position();
            let mut looked = patterns
                .iter()
                .map(|pattern| self.console.find(pattern, from))
                .enumerate();
            if let Some(found) = looked.find_map(|(number, end)| Some((number, end?))) {
                return Ok(found);
            }
            self.check_alive(&awaited, from)?;
            tokio::select! {
                () = self.console.grown(seen) => {}
                _ = self.process.wait() => {}
                () = patience.over() => {
                    return Err(self.timed_out(&awaited, limit, "nothing like it"));
                }
            }
        }
    }

    /// Waits until the machine has been reset more than `before` times.
    pub async fn wait_for_reset(&self, before: usize, limit: Duration) -> Result<()> {
        let from = self.console.position();
        let patience = Patience::new(&self.starvation, limit);
        while self.resets() <= before {
            self.check_alive("reboot", from)?;
            let seen = self.console.position();
            tokio::select! {
                () = self.monitor.event() => {}
                () = self.console.grown(seen) => {}
                _ = self.process.wait() => {}
                () = patience.over() => {
                    return Err(self.timed_out("reboot", limit, "the machine still runs"));
                }
            }
        }
        Ok(())
    }

    /// Looks by `probe` again and again until it gives a value.
    ///
    /// The probe gives `Ok(Err(seen))` while it is not so yet, with what it saw for the error message. A guest that
    /// cannot be reached counts as "not yet" (it may be rebooting); any other error ends the waiting.
    pub async fn until<T>(
        &self,
        awaited: &str,
        limit: Duration,
        mut probe: impl AsyncFnMut() -> Result<Result<T, String>>,
    ) -> Result<T> {
        let from = self.console.position();
        let patience = Patience::new(&self.starvation, limit);
        let mut seen = "nothing yet".to_owned();
        loop {
            let begun = Instant::now();
            let outcome = tokio::select! {
                outcome = probe() => outcome,
                () = patience.over() => return Err(self.timed_out(awaited, limit, &seen)),
            };
            match outcome {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(now)) => seen = now,
                Err(Error::Unreachable(reason)) => seen = reason,
                Err(error) => return Err(error),
            }
            self.check_alive(awaited, from)?;
            tokio::select! {
                () = sleep((begun.elapsed() * SHARE).clamp(SHORTEST, LONGEST)) => {}
                () = self.monitor.event() => {}
                _ = self.process.wait() => {}
            }
        }
    }

    /// An error when QEMU has ended or the console shows, since `from`, that the guest cannot go on.
    fn check_alive(&self, awaited: &str, from: u64) -> Result<()> {
        if let Some(status) = self.process.status() {
            return Err(Error::Stopped {
                machine: self.plan.name.clone(),
                status: status.to_string(),
                awaited: awaited.to_owned(),
                tail: self.tail().into(),
            });
        }
        match self.console.fatal(from) {
            Some(line) if !self.crashes_expected.get() => Err(Error::BrokeDown {
                machine: self.plan.name.clone(),
                awaited: awaited.to_owned(),
                line,
                tail: self.tail().into(),
            }),
            _ => Ok(()),
        }
    }

    pub(super) fn timed_out(&self, awaited: &str, limit: Duration, seen: &str) -> Error {
        Error::TimedOut {
            machine: self.plan.name.clone(),
            awaited: awaited.to_owned(),
            seen: seen.to_owned(),
            limit,
            tail: self.tail().into(),
        }
    }
}
