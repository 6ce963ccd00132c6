//! What a look at the host found, as far as gates ask for it.

use std::time::Duration;

use super::Marker;

/// What a look at the host found. What could not be learnt is an error, and refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Since the host was booted.
    pub uptime: Duration,
    /// Names of the users that are logged in.
    pub users: Result<Vec<String>, String>,
    /// Locks that forbid a shutdown.
    pub inhibitors: Result<Vec<Inhibitor>, String>,
    /// Marker files.
    pub markers: Vec<Marker>,
    /// What scripts said that refuse, each with its name.
    pub scripts: Vec<String>,
    /// What is wrong with the host.
    pub unhealthy: Vec<String>,
    /// Whether there are hooks to run before a reboot.
    pub hooks: bool,
}

/// A lock of `systemd-inhibit` that blocks a shutdown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inhibitor {
    /// Who holds it.
    pub who: String,
    /// Why.
    pub why: String,
}

impl Default for Observed {
    /// A quiet host that has just been booted.
    fn default() -> Self {
        Self {
            uptime: Duration::ZERO,
            users: Ok(Vec::new()),
            inhibitors: Ok(Vec::new()),
            markers: Vec::new(),
            scripts: Vec::new(),
            unhealthy: Vec::new(),
            hooks: false,
        }
    }
}
