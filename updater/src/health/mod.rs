//! The health check: what decides whether a release on trial is blessed.
//!
//! It runs from `twinhull-health.service`, which `boot-complete.target` requires. Success lets systemd-bless-boot take the boot
//! counter away. Failure on trial reboots at once, and each reboot uses up one try until the old slot boots again.

mod report;
mod scripts;
mod units;

use std::time::{Duration, Instant};

pub use report::{Report, forget, read as read_report, write as write_report};
pub use scripts::{Scripts, run as run_scripts};
pub use units::{Systemctl, UnitState, Units};

use crate::config::Health;

/// Between two looks at units that are not active yet.
const LOOK: Duration = Duration::from_secs(1);

/// Time as the check sees it, so that a test need not wait.
pub trait Stopwatch {
    /// Since any fixed instant.
    fn elapsed(&self) -> Duration;
    /// Lets `time` pass.
    fn pause(&self, time: Duration);
}

/// The real time.
#[derive(Debug)]
pub struct RealTime(Instant);

impl Default for RealTime {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Stopwatch for RealTime {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// Runs the whole check: units become active, stay so for the settle time, then every script succeeds. Gives what is wrong, which
/// is nothing on a healthy host.
pub fn check(health: &Health, units: &dyn Units, scripts: &dyn Scripts, time: &dyn Stopwatch) -> Vec<String> {
    let wrong = wait_for_units(health, units, time);
    if !wrong.is_empty() {
        return wrong;
    }
    if !health.units.is_empty() {
        time.pause(health.settle);
        let wrong = not_active(&health.units, units);
        if !wrong.is_empty() {
            return wrong;
        }
    }
    scripts.run_all(health.script)
}

fn wait_for_units(health: &Health, units: &dyn Units, time: &dyn Stopwatch) -> Vec<String> {
    loop {
        let mut wrong = Vec::new();
        let mut hopeless = false;
        for name in &health.units {
            match units.state(name) {
                UnitState::Active => {}
                UnitState::Failed => {
                    hopeless = true;
                    wrong.push(format!("unit {name} is failed"));
                }
                UnitState::Other(state) => {
                    wrong.push(format!("unit {name} is {state} after {} s", health.timeout.as_secs()));
                }
            }
        }
        if wrong.is_empty() || hopeless || time.elapsed() >= health.timeout {
            return wrong;
        }
        time.pause(LOOK);
    }
}

fn not_active(names: &[String], units: &dyn Units) -> Vec<String> {
    names
        .iter()
        .filter_map(|name| match units.state(name) {
            UnitState::Active => None,
            UnitState::Failed => Some(format!("unit {name} failed while it should settle")),
            UnitState::Other(state) => Some(format!("unit {name} was active and now is {state}")),
        })
        .collect()
}

#[cfg(test)]
mod tests;
