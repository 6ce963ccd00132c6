//! The gates in front of a reboot: each may refuse, and says why and until when.
//!
//! They compose: the reboot waits until none refuses. Those that only need the time ([`at`]) are asked first, so that a host
//! outside its window does not even look at itself; then those that need what a look at the host found ([`on`]). The reboot
//! lock is none of them: it is asked for last, by the state machine, when all of these agree.

mod host_gates;
mod marker;
mod observe;
mod observed;
mod windows;

use std::time::Duration;

use jiff::Timestamp;

pub use host_gates::on;
pub(crate) use marker::parse_until;
pub use marker::{Marker, read as read_marker};
pub use observe::observe;
pub use observed::{Inhibitor, Observed};
pub use windows::{Opening, Window, WindowError, Windows};

use crate::machine::Problem;

/// Which gates there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gates {
    /// Maintenance windows; none means always.
    pub windows: Windows,
    /// Over how long from the start of a window hosts are spread.
    pub spread: Duration,
    /// How long the host must have been up.
    pub min_uptime: Duration,
    /// Whether somebody who is logged in refuses.
    pub users: bool,
    /// Whether a lock of `systemd-inhibit` refuses.
    pub inhibitors: bool,
    /// Whether a host that is not healthy refuses.
    pub healthy: bool,
}

/// A gate that refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Why.
    pub problem: Problem,
    /// How long it will at least stay so, if that is known.
    pub wait: Option<Duration>,
}

impl Gates {
    /// No gate at all.
    pub fn none() -> Self {
        Self {
            windows: Windows::always(),
            spread: Duration::ZERO,
            min_uptime: Duration::ZERO,
            users: false,
            inhibitors: false,
            healthy: false,
        }
    }
}

impl Closed {
    fn new(code: &str, text: impl std::fmt::Display) -> Self {
        Self {
            problem: Problem::new(code, text),
            wait: None,
        }
    }

    fn until(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }
}

/// The gates that only need the time. `place` is this host's place among all: 0 first, [`u32::MAX`] last.
///
/// # Errors
/// The window that is not open.
pub fn at(gates: &Gates, now: Timestamp, place: u32) -> Result<(), Closed> {
    let delay = gates.spread.mul_f64(f64::from(place) / (f64::from(u32::MAX) + 1.0));
    match gates.windows.at(now, delay) {
        Opening::Open => Ok(()),
        Opening::Closed { opens } => {
            let wait = Duration::try_from(opens.duration_since(now)).unwrap_or_default();
            let zoned = opens.to_zoned_datetime(gates.windows.zone().clone());
            let shown = zoned.strftime("%a %Y-%m-%d %H:%M %Z");
            Err(Closed::new("window", format!("the maintenance window of this host opens {shown}")).until(wait))
        }
    }
}

#[cfg(test)]
mod tests;
