//! How fast this machine is, so that slow emulation is not a failure.

use std::time::Duration;

/// What the firmware takes from power-on to its boot menu on the machine for which the limits were written: two idle
/// x86 cores of 2024 under software emulation.
const REFERENCE: Duration = Duration::from_millis(3500);

/// How much longer than its firmware says a machine may take. The firmware is small and runs alone; a guest's user land
/// beside another guest has been seen to take 1.9 times as long where the firmware took 1.3 times.
const SLACK: f64 = 2.0;

/// The slowest machine on which waiting longer still makes sense.
const SLOWEST: f64 = 12.0;

/// A factor on every time limit; never below [`SLACK`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace(f64);

impl Pace {
    /// The pace of a machine that boots the firmware in `firmware_boot`, not counting time it was kept from running.
    pub fn measured(firmware_boot: Duration) -> Self {
        let speed = firmware_boot.as_secs_f64() / REFERENCE.as_secs_f64();
        Self(SLACK * speed.clamp(1.0, SLOWEST))
    }

    /// The limit on this machine for what takes `seconds` at most on the reference machine.
    pub fn limit(self, seconds: u32) -> Duration {
        Duration::from_secs_f64(f64::from(seconds) * self.0)
    }

    /// The factor.
    pub fn factor(self) -> f64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_machine_does_not_shorten_limits() {
        let pace = Pace::measured(Duration::from_millis(900));
        assert_eq!(pace.limit(60), Duration::from_mins(2));
    }

    #[test]
    fn a_slow_machine_gets_as_much_longer() {
        assert_eq!(Pace::measured(REFERENCE * 2).limit(10), Duration::from_secs(40));
    }

    #[test]
    fn a_hopeless_machine_still_ends() {
        assert_eq!(Pace::measured(REFERENCE * 1000).limit(1), Duration::from_secs(24));
    }
}
