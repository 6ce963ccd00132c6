//! What one host is to do now.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use twinhull_layout::Version;

use crate::{Place, Rollout};

/// What a channel offers to hosts of one architecture.
#[derive(Debug, Clone)]
pub struct Offer<'a> {
    /// The release that is being rolled out.
    pub version: &'a Version,
    /// What hosts get that the rollout has not reached: the release before.
    pub settled: Option<&'a Version>,
    /// When the rollout began; without it, there is nothing to wait for.
    pub since: Option<Timestamp>,
    /// Its waves; without them, everybody gets it at once.
    pub rollout: Option<&'a Rollout>,
    /// Versions that may not be skipped.
    pub stepping_stones: &'a [Version],
    /// Set while nobody may move.
    pub halt: Option<Halt<'a>>,
}

/// A channel that is halted.
#[derive(Debug, Clone, Copy)]
pub struct Halt<'a> {
    /// Since when, if it says so.
    pub since: Option<Timestamp>,
    /// Why, if it says so.
    pub reason: Option<&'a str>,
}

/// The host that asks.
#[derive(Debug, Clone)]
pub struct Host<'a> {
    /// Its id: random, and the same for as long as the host lives.
    pub id: &'a str,
    /// What runs on it.
    pub running: &'a Version,
    /// Where its owner has pinned it.
    pub pin: Pin<'a>,
    /// How long a release must have been offered before this host takes it.
    pub min_age: SignedDuration,
}

/// Where a host was pinned by its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pin<'a> {
    /// Nowhere: its place decides.
    None,
    /// To the beginning of a wave, counted from 1.
    Wave(usize),
    /// To a version, whatever the channel says.
    Version(&'a Version),
}

/// What the host is to do. As text: one sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Install a release.
    Install {
        /// The release.
        version: Version,
        /// Where this leads: another version if a stepping stone must come first.
        toward: Version,
    },
    /// It runs what the channel offers.
    Current {
        /// The release.
        version: Version,
    },
    /// It runs what it is pinned to.
    Pinned {
        /// The release.
        version: Version,
    },
    /// The release has not reached this host yet.
    Waiting {
        /// The release.
        version: Version,
        /// When it will.
        at: Timestamp,
        /// The host's wave and how many there are, if waves and not the host's own patience decide.
        wave: Option<(usize, usize)>,
    },
    /// No wave has this host.
    NoWave {
        /// The release.
        version: Version,
        /// The name of the rollout.
        rollout: String,
    },
    /// Nobody may move.
    Halted {
        /// The release.
        version: Version,
        /// Since when.
        since: Option<Timestamp>,
        /// Why.
        reason: Option<String>,
    },
}

/// What `host` is to do at `now`.
#[must_use]
pub fn choose(offer: &Offer<'_>, host: &Host<'_>, now: Timestamp) -> Choice {
    if let Pin::Version(version) = host.pin {
        return if version == host.running {
            Choice::Pinned {
                version: version.clone(),
            }
        } else {
            step(offer, host, version)
        };
    }
    if offer.version == host.running {
        return Choice::Current {
            version: offer.version.clone(),
        };
    }
    if let Some(halt) = offer.halt {
        return Choice::Halted {
            version: offer.version.clone(),
            since: halt.since,
            reason: halt.reason.map(str::to_owned),
        };
    }
    match waiting(offer, host, now) {
        None => step(offer, host, offer.version),
        Some(waiting) => match offer.settled {
            // What went out before does not wait for what comes after it.
            Some(settled) if settled > host.running => step(offer, host, settled),
            _ => waiting,
        },
    }
}

/// Why the release has not reached the host; `None` if it has.
fn waiting(offer: &Offer<'_>, host: &Host<'_>, now: Timestamp) -> Option<Choice> {
    let since = offer.since?;
    if offer.rollout.is_none() && host.min_age <= SignedDuration::ZERO {
        // For everybody at once: a host whose clock is behind the publisher's need not wait for it.
        return None;
    }
    let old_enough = since.saturating_add(host.min_age).unwrap_or(Timestamp::MAX);
    let opening = match (offer.rollout, host.pin) {
        (None, _) => None,
        (Some(rollout), Pin::Wave(number)) => rollout.wave(since, number),
        (Some(rollout), _) => {
            let opening = rollout.opening(since, Place::of(host.id, offer.version));
            if opening.is_none() {
                return Some(Choice::NoWave {
                    version: offer.version.clone(),
                    rollout: rollout.name.clone(),
                });
            }
            opening
        }
    };
    let at = opening.map_or(since, |opening| opening.at).max(old_enough);
    let by_wave = opening.filter(|opening| opening.at >= old_enough);
    (at > now).then(|| Choice::Waiting {
        version: offer.version.clone(),
        at,
        wave: by_wave.map(|opening| (opening.wave, offer.rollout.map_or(0, |rollout| rollout.waves.len()))),
    })
}

/// The next step towards `wanted`: the first stepping stone on the way, or `wanted` itself.
fn step(offer: &Offer<'_>, host: &Host<'_>, wanted: &Version) -> Choice {
    let stone = offer
        .stepping_stones
        .iter()
        .filter(|stone| *stone > host.running && *stone < wanted)
        .min();
    Choice::Install {
        version: stone.unwrap_or(wanted).clone(),
        toward: wanted.clone(),
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Install { version, toward } if version == toward => {
                write!(out, "release {version} is to be installed")
            }
            Self::Install { version, toward } => write!(
                out,
                "release {version} is to be installed first, {toward} comes after it"
            ),
            Self::Current { version } => write!(out, "{version} runs and is what the channel offers"),
            Self::Pinned { version } => write!(out, "{version} runs and this host is pinned to it"),
            Self::Waiting { version, at, wave } => {
                write!(out, "release {version} reaches this host at {}", minute(*at))?;
                match wave {
                    Some((number, all)) => write!(out, ", wave {number} of {all}"),
                    None => out.write_str(", when it is old enough for it"),
                }
            }
            Self::NoWave { version, rollout } => write!(
                out,
                "release {version} is offered to a part of the hosts only (rollout `{rollout}`), and this host is not among them"
            ),
            Self::Halted { version, since, reason } => {
                write!(out, "the rollout of {version} is halted")?;
                if let Some(since) = since {
                    write!(out, " since {}", minute(*since))?;
                }
                reason.iter().try_for_each(|reason| write!(out, ": {reason}"))
            }
        }
    }
}

fn minute(at: Timestamp) -> impl fmt::Display {
    at.strftime("%Y-%m-%d %H:%M UTC")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preset;

    fn v(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    const SINCE: &str = "2026-01-01T00:00:00Z";

    /// Asks for one host about an offer of 3.0 in the `default` rollout.
    fn ask(change: impl FnOnce(&mut Offer<'_>), running: &str, pin: Pin<'_>, min_age_hours: i64, now: &str) -> Choice {
        let (version, rollout) = (v("3.0"), preset("default").unwrap());
        let stones = [v("2.5"), v("1.5")];
        let mut offer = Offer {
            version: &version,
            settled: None,
            since: Some(at(SINCE)),
            rollout: Some(&rollout),
            stepping_stones: &stones,
            halt: None,
        };
        change(&mut offer);
        let running = v(running);
        let host = Host {
            id: "9b4e5c",
            running: &running,
            pin,
            min_age: SignedDuration::from_hours(min_age_hours),
        };
        choose(&offer, &host, at(now))
    }

    fn install(version: &str, toward: &str) -> Choice {
        Choice::Install {
            version: v(version),
            toward: v(toward),
        }
    }

    #[test]
    fn release_reaches_the_host_at_its_time_and_not_a_second_before() {
        let Choice::Waiting {
            at,
            wave: Some((wave, 6)),
            ..
        } = ask(|_| {}, "2.9", Pin::None, 0, SINCE)
        else {
            panic!("not waiting")
        };
        let before = at - SignedDuration::from_secs(1);
        assert!(matches!(
            ask(|_| {}, "2.9", Pin::None, 0, &before.to_string()),
            Choice::Waiting { .. }
        ));
        assert_eq!(ask(|_| {}, "2.9", Pin::None, 0, &at.to_string()), install("3.0", "3.0"));
        let text = ask(|_| {}, "2.9", Pin::None, 0, SINCE).to_string();
        assert!(
            text.starts_with("release 3.0 reaches this host at 2026-01-0")
                && text.ends_with(&format!(", wave {wave} of 6")),
            "{text}"
        );
    }

    #[test]
    fn stepping_stones_are_not_skipped() {
        let late = "2026-02-01T00:00:00Z";
        assert_eq!(ask(|_| {}, "1.0", Pin::None, 0, late), install("1.5", "3.0"));
        assert_eq!(ask(|_| {}, "1.5", Pin::None, 0, late), install("2.5", "3.0"));
        assert_eq!(ask(|_| {}, "2.5", Pin::None, 0, late), install("3.0", "3.0"));
        assert_eq!(
            ask(|_| {}, "1.0", Pin::Version(&v("2.0")), 0, late),
            install("1.5", "2.0")
        );
    }

    #[test]
    fn halt_holds_everybody_but_who_has_it() {
        let halt = |offer: &mut Offer<'_>| {
            offer.halt = Some(Halt {
                since: Some(at(SINCE)),
                reason: Some("3 of 20 hosts rolled back"),
            });
        };
        let late = "2026-02-01T00:00:00Z";
        assert_eq!(
            ask(halt, "2.9", Pin::Wave(1), 0, late).to_string(),
            "the rollout of 3.0 is halted since 2026-01-01 00:00 UTC: 3 of 20 hosts rolled back"
        );
        assert_eq!(
            ask(halt, "3.0", Pin::None, 0, late),
            Choice::Current { version: v("3.0") }
        );
    }

    #[test]
    fn pins_and_patience_move_the_time() {
        assert_eq!(ask(|_| {}, "2.9", Pin::Wave(1), 0, SINCE), install("3.0", "3.0"));
        let last = ask(|_| {}, "2.9", Pin::Wave(99), 0, SINCE);
        assert_eq!(
            last.to_string(),
            "release 3.0 reaches this host at 2026-01-03 00:00 UTC, wave 6 of 6"
        );
        let patient = ask(|_| {}, "2.9", Pin::Wave(1), 100, SINCE);
        assert_eq!(
            patient.to_string(),
            "release 3.0 reaches this host at 2026-01-05 04:00 UTC, when it is old enough for it"
        );
        assert_eq!(
            ask(|_| {}, "2.0", Pin::Version(&v("2.0")), 0, SINCE),
            Choice::Pinned { version: v("2.0") }
        );
    }

    #[test]
    fn release_for_everybody_waits_for_no_clock_but_for_patience() {
        let everybody = |offer: &mut Offer<'_>| offer.rollout = None;
        let behind = "2025-12-31T23:59:00Z";
        assert_eq!(ask(everybody, "2.9", Pin::None, 0, behind), install("3.0", "3.0"));
        assert_eq!(
            ask(everybody, "2.9", Pin::None, 24, behind).to_string(),
            "release 3.0 reaches this host at 2026-01-02 00:00 UTC, when it is old enough for it"
        );
        assert_eq!(
            ask(everybody, "2.9", Pin::None, 24, "2026-01-02T00:00:00Z"),
            install("3.0", "3.0")
        );
    }

    #[test]
    fn who_waits_gets_the_release_before() {
        let two = v("2.8");
        let settled = |offer: &mut Offer<'_>| offer.settled = None;
        assert!(matches!(
            ask(settled, "2.6", Pin::None, 0, SINCE),
            Choice::Waiting { .. }
        ));
        let (version, rollout) = (v("3.0"), preset("default").unwrap());
        let offer = Offer {
            version: &version,
            settled: Some(&two),
            since: Some(at(SINCE)),
            rollout: Some(&rollout),
            stepping_stones: &[],
            halt: None,
        };
        let running = v("2.6");
        let host = Host {
            id: "9b4e5c",
            running: &running,
            pin: Pin::None,
            min_age: SignedDuration::ZERO,
        };
        assert_eq!(choose(&offer, &host, at(SINCE)), install("2.8", "2.8"));
    }

    #[test]
    fn host_outside_of_all_waves_is_told_so() {
        let part = Rollout {
            name: "part".to_owned(),
            waves: vec![crate::Wave {
                share: 1,
                start_seconds: 0,
                pace_seconds: 0,
            }],
        };
        let version = v("3.0");
        let offer = Offer {
            version: &version,
            settled: None,
            since: Some(at(SINCE)),
            rollout: Some(&part),
            stepping_stones: &[],
            halt: None,
        };
        let running = v("2.6");
        let host = Host {
            id: "9b4e5c",
            running: &running,
            pin: Pin::None,
            min_age: SignedDuration::ZERO,
        };
        assert!(matches!(choose(&offer, &host, Timestamp::MAX), Choice::NoWave { .. }));
    }
}
