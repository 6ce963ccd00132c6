//! The health check: what decides whether a release on trial is blessed.
//!
//! It runs from `twinhull-health.service`, which `boot-complete.target` requires. Success lets systemd-bless-boot take the boot
//! counter away. Failure on trial reboots at once, and each reboot uses up one try until the old slot boots again.

mod report;
mod scripts;
mod subject;

use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use report::{Latest, Report, forget, read as read_report, write as write_report};
pub(crate) use scripts::is_executable;
pub use scripts::{Scripts, run as run_script, run_with as run_command};
pub use subject::{HostProbe, Probe, State, Subject};

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

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// What is wrong and decides: nothing on a healthy host.
    pub wrong: Vec<String>,
    /// What is wrong and only reported.
    pub reported: Vec<String>,
}

/// The scripts of a host.
#[derive(Debug, Clone)]
pub struct Folders {
    /// Folders of those that must succeed, the weakest first.
    pub required: Vec<PathBuf>,
    /// Folders of those that are only reported.
    pub reported: Vec<PathBuf>,
}

/// Runs the whole check: what is required comes up, stays so for the settle time, then every script succeeds. What is only
/// reported is looked at once, at the end.
pub fn check(health: &Health, probe: &dyn Probe, folders: &Folders, time: &dyn Stopwatch) -> Findings {
    let wrong = required(health, probe, &folders.required, time);
    let reported = if wrong.is_empty() {
        let mut reported = not_up(&health.reported, probe);
        reported.extend(folders.reported.run_all(health.script));
        reported
    } else {
        Vec::new()
    };
    Findings { wrong, reported }
}

fn required(health: &Health, probe: &dyn Probe, scripts: &Vec<PathBuf>, time: &dyn Stopwatch) -> Vec<String> {
    let wrong = wait_until_up(health, probe, time);
    if !wrong.is_empty() {
        return wrong;
    }
    if !health.required.is_empty() {
        time.pause(health.settle);
        let wrong: Vec<String> = not_up(&health.required, probe)
            .into_iter()
            .map(|text| format!("{text}, having been up before"))
            .collect();
        if !wrong.is_empty() {
            return wrong;
        }
    }
    scripts.run_all(health.script)
}

fn wait_until_up(health: &Health, probe: &dyn Probe, time: &dyn Stopwatch) -> Vec<String> {
    loop {
        let mut wrong = Vec::new();
        let mut hopeless = false;
        for subject in &health.required {
            match probe.state(subject) {
                State::Up => {}
                State::Failed => {
                    hopeless = true;
                    wrong.push(format!("{subject} is failed"));
                }
                State::Other(state) => {
                    wrong.push(format!("{subject} is {state} after {} s", health.timeout.as_secs()));
                }
            }
        }
        if wrong.is_empty() || hopeless || time.elapsed() >= health.timeout {
            return wrong;
        }
        time.pause(LOOK);
    }
}

fn not_up(subjects: &[Subject], probe: &dyn Probe) -> Vec<String> {
    subjects
        .iter()
        .filter_map(|subject| match probe.state(subject) {
            State::Up => None,
            State::Failed => Some(format!("{subject} is failed")),
            State::Other(state) => Some(format!("{subject} is {state}")),
        })
        .collect()
}

#[cfg(test)]
mod tests;
