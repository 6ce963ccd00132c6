//! What the machine is told from outside: configuration and time.

use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::config::{Config, Strategy};
use crate::gates::Gates;

/// The part of the configuration that decisions depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// What may be done; `None` without a repository.
    pub strategy: Option<Strategy>,
    /// Time between two looks at the repository.
    pub poll: Duration,
    /// Time between two requests to the lock server.
    pub retry: Duration,
    /// Whether there is a lock server.
    pub lock: bool,
    /// Whether hooks are run.
    pub hooks: bool,
    /// What must agree before a reboot.
    pub gates: Gates,
    /// This host's place among all in the spread over a window.
    pub place: u32,
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
            hooks: true,
            gates: config.gates.clone(),
            place: 0,
        }
    }

    /// The same for the host `id`: it gets its place in the spread, evenly over all hosts and always the same.
    #[must_use]
    pub fn for_host(self, id: &str) -> Self {
        let digest = Sha256::new()
            .chain_update("window spread\0")
            .chain_update(id)
            .finalize();
        let place = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
        Self { place, ..self }
    }

    /// The rules for a person at the keyboard: install, and leave everything else to the service.
    #[must_use]
    pub fn by_hand(self) -> Self {
        Self {
            strategy: self.strategy.map(|_| Strategy::DownloadOnly),
            lock: false,
            hooks: false,
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
