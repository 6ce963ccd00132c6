//! Waves: which share of the hosts a release reaches from when on.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Place;

/// All hosts, in the unit of [`Wave::share`].
pub const WHOLE: u32 = 10_000;

/// The most waves of a rollout.
const MAX_WAVES: usize = 64;

/// The latest end of a wave after the beginning of the rollout, in seconds: a year.
const MAX_SECONDS: u64 = 366 * 86_400;

/// The waves of a rollout, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// What people call it: a preset, or the name of a file. 1 to 32 of `a-z 0-9 -`.
    pub name: String,
    /// The waves.
    pub waves: Vec<Wave>,
}

/// One wave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wave {
    /// The share of all hosts in it, in hundredths of a percent.
    pub share: u32,
    /// When it begins, in seconds after the beginning of the rollout.
    pub start_seconds: u64,
    /// Over how many seconds its hosts are spread evenly; 0 for all at once.
    pub pace_seconds: u64,
}

/// A rollout that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRollout {
    /// Its name cannot stand in a message.
    #[error("a rollout's name is 1 to 32 of a-z 0-9 -")]
    Name,
    /// No wave, or too many.
    #[error("a rollout has 1 to {MAX_WAVES} waves, this one has {0}")]
    Count(usize),
    /// A wave for nobody.
    #[error("wave {0} has a share of nothing")]
    Empty(usize),
    /// More hosts than there are.
    #[error("the waves' shares come to more than 100 %")]
    Share,
    /// A wave that begins before the one before it has ended.
    #[error("wave {0} begins before the one before it has reached all its hosts")]
    Order(usize),
    /// A wave that ends after more than a year.
    #[error("wave {0} ends more than a year after the beginning")]
    Long(usize),
}

/// When a release reaches a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// The wave, counted from 1.
    pub wave: usize,
    /// The time.
    pub at: Timestamp,
}

impl Rollout {
    /// Whether it means something.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), BadRollout> {
        let named = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=32).contains(&self.name.len()) || !self.name.bytes().all(named) {
            return Err(BadRollout::Name);
        }
        if self.waves.is_empty() || self.waves.len() > MAX_WAVES {
            return Err(BadRollout::Count(self.waves.len()));
        }
        let (mut total, mut end) = (0_u32, 0);
        for (index, wave) in self.waves.iter().enumerate() {
            let number = index + 1;
            if wave.share == 0 {
                return Err(BadRollout::Empty(number));
            }
            total = total.saturating_add(wave.share);
            if total > WHOLE {
                return Err(BadRollout::Share);
            }
            if wave.start_seconds < end {
                return Err(BadRollout::Order(number));
            }
            end = wave.start_seconds.saturating_add(wave.pace_seconds);
            if end > MAX_SECONDS {
                return Err(BadRollout::Long(number));
            }
        }
        Ok(())
    }

    /// When a rollout that began at `since` reaches the host at `place`; `None` if no wave has it.
    #[must_use]
    pub fn opening(&self, since: Timestamp, place: Place) -> Option<Opening> {
        // In 2^-64 of a hundredth of a percent: exact.
        let place = u128::from(place.0) * u128::from(WHOLE);
        let mut before = 0_u128;
        for (index, wave) in self.waves.iter().enumerate() {
            let share = u128::from(wave.share) << 64;
            if place < before + share {
                let into = (place - before) / u128::from(wave.share);
                let waited = (into * u128::from(wave.pace_seconds)) >> 64;
                return Some(Opening {
                    wave: index + 1,
                    at: later(since, wave.start_seconds + u64::try_from(waited).unwrap_or(u64::MAX)),
                });
            }
            before += share;
        }
        None
    }

    /// When wave `number`, counted from 1, begins; the last one if there are not so many.
    #[must_use]
    pub fn wave(&self, since: Timestamp, number: usize) -> Option<Opening> {
        let number = number.clamp(1, self.waves.len().max(1));
        let wave = self.waves.get(number - 1)?;
        Some(Opening {
            wave: number,
            at: later(since, wave.start_seconds),
        })
    }

    /// How many of `hosts` it has reached `seconds` after its beginning, if places are spread evenly.
    #[must_use]
    pub fn reached(&self, seconds: u64, hosts: u64) -> u64 {
        let mut sum = 0_u128;
        for wave in self.waves.iter().filter(|wave| wave.start_seconds <= seconds) {
            let hosts = u128::from(hosts) * u128::from(wave.share);
            let into = u128::from((seconds - wave.start_seconds).min(wave.pace_seconds));
            sum += match u128::from(wave.pace_seconds) {
                0 => hosts,
                pace => hosts * into / pace,
            };
        }
        u64::try_from(sum / u128::from(WHOLE)).unwrap_or(u64::MAX)
    }

    /// When the last wave has reached its last host, in seconds after the beginning.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        self.waves
            .last()
            .map_or(0, |wave| wave.start_seconds.saturating_add(wave.pace_seconds))
    }
}

fn later(since: Timestamp, seconds: u64) -> Timestamp {
    let seconds = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    since.saturating_add(seconds).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PRESETS;
    use proptest::prelude::*;

    fn wave(share: u32, start_seconds: u64, pace_seconds: u64) -> Wave {
        Wave {
            share,
            start_seconds,
            pace_seconds,
        }
    }

    fn rollout(waves: &[Wave]) -> Rollout {
        Rollout {
            name: "test".to_owned(),
            waves: waves.to_vec(),
        }
    }

    #[test]
    fn meaningless_rollouts_are_refused() {
        for (waves, why) in [
            (vec![], BadRollout::Count(0)),
            (vec![wave(0, 0, 0)], BadRollout::Empty(1)),
            (vec![wave(9_000, 0, 0), wave(1_001, 0, 0)], BadRollout::Share),
            (vec![wave(1, 0, 10), wave(1, 9, 0)], BadRollout::Order(2)),
            (vec![wave(1, MAX_SECONDS, 1)], BadRollout::Long(1)),
            (vec![wave(1, 0, u64::MAX)], BadRollout::Long(1)),
        ] {
            assert_eq!(rollout(&waves).check(), Err(why));
        }
    }

    #[test]
    fn hosts_beyond_the_last_wave_wait_for_another_word() {
        let half = rollout(&[wave(5_000, 0, 0)]);
        assert!(half.opening(Timestamp::UNIX_EPOCH, Place(u64::MAX / 2)).is_some());
        assert!(half.opening(Timestamp::UNIX_EPOCH, Place(u64::MAX / 2 + 1)).is_none());
        assert_eq!(half.reached(u64::MAX, 1000), 500);
    }

    proptest! {
        #[test]
        fn who_stands_before_another_is_reached_no_later(one in any::<u64>(), two in any::<u64>(), index in 0..5_usize) {
            let rollout = &PRESETS[index].rollout();
            let opening = |place| rollout.opening(Timestamp::UNIX_EPOCH, Place(place)).unwrap();
            let (first, second) = (opening(one.min(two)), opening(one.max(two)));
            prop_assert!(first.at <= second.at && first.wave <= second.wave);
            let wave = rollout.waves[first.wave - 1];
            let at = u64::try_from(first.at.as_second()).unwrap();
            prop_assert!((wave.start_seconds..=wave.start_seconds + wave.pace_seconds).contains(&at));
        }

        #[test]
        fn plan_and_places_agree(seconds in 0..200_000_u64, index in 0..5_usize) {
            let rollout = PRESETS[index].rollout();
            let hosts = 1000_u64;
            let open = (0..hosts).filter(|number| {
                let place = Place(u64::MAX / hosts * number);
                let at = rollout.opening(Timestamp::UNIX_EPOCH, place).unwrap().at;
                u64::try_from(at.as_second()).unwrap() <= seconds
            });
            let open = open.count() as u64;
            // Times are whole seconds: within one a fast wave reaches several hosts.
            let (least, most) = (rollout.reached(seconds, hosts), rollout.reached(seconds + 1, hosts));
            prop_assert!((least.saturating_sub(1)..=most + 1).contains(&open), "{least} to {most}, {open}");
        }
    }
}
