//! A rollout played through: every host asks the same code that the agent asks.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use twinhull_layout::Version;

use crate::{Choice, Host, Offer, Pin, Rollout, choose};

/// What hosts and their server do to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// How many hosts.
    pub hosts: u32,
    /// Seconds between two looks at the repository; each time up to a tenth more, as the agent does.
    pub poll_seconds: u32,
    /// Bytes that one look costs when nothing has changed.
    pub poll_bytes: u32,
    /// Requests of one look when nothing has changed.
    pub poll_requests: u32,
    /// Bytes of one update.
    pub update_bytes: u64,
    /// Requests of one update, beyond those of a look.
    pub update_requests: u32,
    /// Bytes a second that one host can take.
    pub host_rate: u64,
    /// Other numbers, other hosts.
    pub seed: u64,
}

/// What happened, minute by minute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Simulated {
    /// Hosts that began to install in each minute.
    pub arrivals: Vec<u64>,
    /// Bytes that the server sent in each minute.
    pub bytes: Vec<u64>,
    /// Requests that it answered in each minute.
    pub requests: Vec<u64>,
    /// Hosts that no wave has.
    pub left_out: u64,
}

/// Plays `rollout` of `version` through, from its beginning until every host that it reaches has the release.
#[must_use]
pub fn simulate(rollout: &Rollout, version: &Version, running: &Version, load: &Load) -> Simulated {
    let begin = Timestamp::UNIX_EPOCH;
    let offer = Offer {
        version,
        settled: None,
        since: Some(begin),
        rollout: Some(rollout),
        stepping_stones: &[],
        halt: None,
    };
    let poll = u64::from(load.poll_seconds.max(1));
    let download = load.update_bytes.div_ceil(load.host_rate.max(1)).max(1);
    // The last host may come to look a whole interval after its wave, and downloads until then.
    let end = rollout.seconds() + poll + poll / 10 + download + 1;
    let minutes = usize::try_from(end / 60 + 1).unwrap_or(usize::MAX);
    let mut made = Simulated {
        arrivals: vec![0; minutes],
        bytes: vec![0; minutes],
        requests: vec![0; minutes],
        left_out: 0,
    };
    let mut polls = vec![0_u64; minutes];
    for number in 0..load.hosts {
        let mut dice = Dice(load.seed ^ (u64::from(number) << 20));
        let id = format!("{:016x}{:016x}", dice.throw(), dice.throw());
        let host = Host {
            id: &id,
            running,
            pin: Pin::None,
            min_age: SignedDuration::ZERO,
        };
        // Hosts did not all start at the same instant.
        let mut now = dice.below(poll);
        let mut opens = 0;
        loop {
            let minute = usize::try_from(now / 60).unwrap_or(usize::MAX);
            let Some(count) = polls.get_mut(minute) else { break };
            *count += 1;
            // Between two answers that cannot differ the agent's code need not be asked again.
            if now >= opens {
                match choose(&offer, &host, later(begin, now)) {
                    Choice::Install { .. } => {
                        made.arrivals[minute] += 1;
                        made.requests[minute] += u64::from(load.update_requests);
                        spread(&mut made.bytes, now, download, load.update_bytes);
                        break;
                    }
                    Choice::Waiting { at, .. } => opens = u64::try_from(at.as_second()).unwrap_or(u64::MAX),
                    _ => {
                        made.left_out += 1;
                        break;
                    }
                }
            }
            now += poll + dice.below(poll / 10 + 1);
        }
    }
    for (minute, count) in polls.iter().enumerate() {
        made.requests[minute] += count * u64::from(load.poll_requests);
        made.bytes[minute] += count * u64::from(load.poll_bytes);
    }
    made
}

impl Simulated {
    /// The most bytes a second that the server sent, averaged over a minute.
    #[must_use]
    pub fn peak_rate(&self) -> u64 {
        self.bytes.iter().max().map_or(0, |bytes| bytes / 60)
    }

    /// The most requests a second, averaged over a minute.
    #[must_use]
    pub fn peak_requests(&self) -> u64 {
        self.requests.iter().max().map_or(0, |requests| requests.div_ceil(60))
    }

    /// The most hosts that began to install in one minute.
    #[must_use]
    pub fn peak_arrivals(&self) -> u64 {
        self.arrivals.iter().max().copied().unwrap_or(0)
    }

    /// How many hosts have begun to install.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.arrivals.iter().sum()
    }
}

/// Spreads the bytes of a download of `seconds` from `from` on over the minutes it takes.
fn spread(bytes: &mut [u64], from: u64, seconds: u64, all: u64) {
    let (mut now, mut sent) = (from, 0);
    while now < from + seconds {
        let next = ((now / 60 + 1) * 60).min(from + seconds);
        let until = u128::from(all) * u128::from(next - from) / u128::from(seconds);
        let until = u64::try_from(until).unwrap_or(all);
        if let Some(minute) = bytes.get_mut(usize::try_from(now / 60).unwrap_or(usize::MAX)) {
            *minute += until - sent;
        }
        (now, sent) = (next, until);
    }
}

fn later(begin: Timestamp, seconds: u64) -> Timestamp {
    let seconds = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
    begin.saturating_add(seconds).unwrap_or(Timestamp::MAX)
}

/// `SplitMix64` (Steele, Lea, Flood 2014): quick, and good enough to spread hosts.
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        let scaled = (u128::from(self.throw()) * u128::from(bound)) >> 64;
        u64::try_from(scaled).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Wave, preset};

    fn load(hosts: u32) -> Load {
        Load {
            hosts,
            poll_seconds: 3600,
            poll_bytes: 800,
            poll_requests: 2,
            update_bytes: 10_000_000,
            update_requests: 6,
            host_rate: 1_000_000,
            seed: 1,
        }
    }

    fn run(rollout: &Rollout, load: &Load) -> Simulated {
        simulate(rollout, &"2.0.0".parse().unwrap(), &"1.0.0".parse().unwrap(), load)
    }

    #[test]
    fn everybody_arrives_and_every_byte_is_counted() {
        for known in crate::PRESETS {
            let load = load(2000);
            let made = run(&known.rollout(), &load);
            assert_eq!(made.arrived(), 2000, "{}", known.name);
            assert_eq!(made.left_out, 0);
            let looks = (made.requests.iter().sum::<u64>() - 2000 * 6) / 2;
            assert_eq!(made.bytes.iter().sum::<u64>(), 2000 * 10_000_000 + looks * 800);
        }
    }

    #[test]
    fn arrivals_follow_the_plan_within_one_poll() {
        let rollout = preset("default").unwrap();
        let made = run(&rollout, &load(5000));
        let mut sum = 0;
        for (minute, arrived) in made.arrivals.iter().enumerate() {
            sum += arrived;
            let now = (minute as u64 + 1) * 60;
            let (ahead, behind) = (
                rollout.reached(now, 5000),
                rollout.reached(now.saturating_sub(3960), 5000),
            );
            assert!(
                sum <= ahead + 150 && sum + 150 >= behind,
                "minute {minute}: {sum} of {behind}..{ahead}"
            );
        }
    }

    #[test]
    fn hosts_of_no_wave_never_arrive() {
        let half = Rollout {
            name: "half".to_owned(),
            waves: vec![Wave {
                share: 5000,
                start_seconds: 0,
                pace_seconds: 0,
            }],
        };
        let made = run(&half, &load(2000));
        assert_eq!(made.arrived() + made.left_out, 2000);
        assert!((900..1100).contains(&made.left_out), "{}", made.left_out);
    }

    #[test]
    fn same_seed_gives_the_same_figures() {
        let rollout = preset("fast").unwrap();
        assert_eq!(run(&rollout, &load(500)), run(&rollout, &load(500)));
        assert_ne!(run(&rollout, &load(500)), run(&rollout, &Load { seed: 2, ..load(500) }));
    }
}
