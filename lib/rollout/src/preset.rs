//! Rollouts with a name.

use crate::{Rollout, Wave};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A rollout that everybody knows by name.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// What it is for, in one line.
    pub purpose: &'static str,
    /// Share in hundredths of a percent, start and pace in seconds.
    waves: &'static [(u32, u64, u64)],
}

impl Preset {
    /// The waves.
    #[must_use]
    pub fn rollout(&self) -> Rollout {
        let wave = |&(share, start_seconds, pace_seconds): &(u32, u64, u64)| Wave {
            share,
            start_seconds,
            pace_seconds,
        };
        Rollout {
            name: self.name.to_owned(),
            waves: self.waves.iter().map(wave).collect(),
        }
    }
}

/// All presets, from careful to quick.
pub const PRESETS: [Preset; 5] = [
    Preset {
        name: "slow",
        purpose: "two weeks, for what cannot be tried elsewhere",
        waves: &[
            (10, 0, 4 * HOUR),
            (90, DAY, 8 * HOUR),
            (400, 2 * DAY, DAY),
            (1_500, 4 * DAY, DAY),
            (3_000, 6 * DAY, 2 * DAY),
            (5_000, 9 * DAY, 5 * DAY),
        ],
    },
    Preset {
        name: "canary",
        purpose: "one host in a hundred, a day to look, then the rest within a day",
        waves: &[(100, 0, HOUR), (9_900, DAY, DAY)],
    },
    Preset {
        name: "default",
        purpose: "three days in six growing waves",
        waves: &[
            (100, 0, 2 * HOUR),
            (400, 4 * HOUR, 4 * HOUR),
            (1_000, 12 * HOUR, 8 * HOUR),
            (2_000, DAY, 10 * HOUR),
            (3_000, 36 * HOUR, 10 * HOUR),
            (3_500, 2 * DAY, DAY),
        ],
    },
    Preset {
        name: "fast",
        purpose: "six hours, for a fix that was tried already",
        waves: &[
            (100, 0, 10 * MINUTE),
            (900, 30 * MINUTE, 30 * MINUTE),
            (9_000, 90 * MINUTE, 270 * MINUTE),
        ],
    },
    Preset {
        name: "emergency",
        purpose: "everybody within a quarter of an hour",
        waves: &[(10_000, 0, 15 * MINUTE)],
    },
];

/// The preset of this name.
#[must_use]
pub fn preset(name: &str) -> Option<Rollout> {
    PRESETS.iter().find(|preset| preset.name == name).map(Preset::rollout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WHOLE;

    #[test]
    fn every_preset_reaches_every_host() {
        for known in PRESETS {
            let rollout = preset(known.name).unwrap();
            rollout.check().unwrap();
            assert_eq!(
                rollout.waves.iter().map(|wave| wave.share).sum::<u32>(),
                WHOLE,
                "{}",
                known.name
            );
        }
        assert!(preset("never").is_none());
    }
}
