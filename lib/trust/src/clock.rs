//! What time it is.

use jiff::Timestamp;

/// Tells the time. The client asks once per refresh and keeps that answer (TUF 1.0.x section 5.1).
pub trait Clock {
    /// The time now, as far as this clock knows.
    fn now(&self) -> Timestamp;
}

/// The clock of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that stands still: what makes signing reproducible.
#[derive(Debug, Clone, Copy)]
pub struct FixedClock(
    /// The time it shows.
    pub Timestamp,
);

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        self.0
    }
}
