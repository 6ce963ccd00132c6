//! What the machine is told from outside: configuration and time.

use std::time::Duration;

use jiff::Timestamp;

use crate::config::{Config, Strategy};

/// The part of the configuration that decisions depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// What may be done; `None` without a repository.
    pub strategy: Option<Strategy>,
    /// Time between two looks at the repository.
    pub poll: Duration,
    /// Time between two requests to the lock server.
    pub retry: Duration,
    /// Whether there is a lock server.
    pub lock: bool,
}

impl Rules {
    /// The rules of a configuration.
    pub fn of(config: &Config) -> Self {
        let updates = config.updates.as_ref();
        let uses_lock = updates.is_some_and(|updates| updates.strategy == Strategy::Lock);
        let lock = config.lock.as_ref().filter(|_| uses_lock);
        Self {
            strategy: updates.map(|updates| updates.strategy),
            poll: updates.map_or(Duration::from_hours(1), |updates| updates.poll),
            retry: lock.map_or(Duration::from_mins(1), |lock| lock.retry),
            lock: lock.is_some(),
        }
    }

    /// The rules for a person at the keyboard: install, and leave everything else to the service.
    #[must_use]
    pub fn by_hand(self) -> Self {
        Self {
            strategy: self.strategy.map(|_| Strategy::DownloadOnly),
            lock: false,
            ..self
        }
    }
}

/// The time, twice: one for people, and one that no set clock can turn back. And a die, since a pure function cannot throw one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For records and messages.
    pub wall: Timestamp,
    /// Since the agent started.
    pub uptime: Duration,
    /// Evenly spread over all values; spreads hosts in time.
    pub dice: u32,
}

impl Now {
    /// `base` and up to a tenth more, so that hosts that started together drift apart.
    pub fn jittered(&self, base: Duration) -> Duration {
        base + base.mul_f64(f64::from(self.dice) / f64::from(u32::MAX) / 10.0)
    }
}
