//! A rollout drawn beforehand.

use std::fmt::Write as _;

use serde::Serialize;

use crate::{Rollout, WHOLE};

/// The widest bar of the chart, in characters.
const WIDTH: u64 = 50;

/// The most lines of the chart.
const LINES: u64 = 36;

/// How many hosts have a release at each hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The name of the rollout.
    pub rollout: String,
    /// All hosts.
    pub hosts: u64,
    /// One for each hour, the beginning and the first full hour after the end included.
    pub points: Vec<Point>,
    /// Its waves.
    pub waves: Vec<Stretch>,
}

/// One wave, in which hosts arrive evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Stretch {
    /// When it begins, in seconds after the beginning of the rollout.
    pub start_seconds: u64,
    /// When its last host is reached.
    pub end_seconds: u64,
    /// How many hosts have the release before it.
    pub hosts_before: u64,
    /// How many have it after it.
    pub hosts_after: u64,
}

/// One hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Point {
    /// Hours after the beginning.
    pub hour: u64,
    /// How many hosts the release has reached.
    pub hosts: u64,
}

impl Plan {
    /// The plan of `rollout` for `hosts` hosts, whose places are taken to be spread evenly.
    #[must_use]
    pub fn new(rollout: &Rollout, hosts: u64) -> Self {
        let last = rollout.seconds().div_ceil(3600);
        Self {
            rollout: rollout.name.clone(),
            hosts,
            points: (0..=last)
                .map(|hour| Point {
                    hour,
                    hosts: rollout.reached(hour * 3600, hosts),
                })
                .collect(),
            waves: stretches(rollout, hosts),
        }
    }

    /// The curve for a terminal: one line for each hour, or for every so many.
    #[must_use]
    pub fn to_text(&self) -> String {
        let every = (self.points.len() as u64).div_ceil(LINES).max(1);
        let last = self.points.last().map_or(0, |point| point.hour);
        let mut text = format!("rollout {} to {} hosts", self.rollout, self.hosts);
        if every > 1 {
            let _ = write!(text, ", every {every} hours (--json: each hour)");
        }
        text.push('\n');
        for point in &self.points {
            if point.hour % every != 0 && point.hour != last {
                continue;
            }
            let of = |whole: u64| u128::from(point.hosts) * u128::from(whole) / u128::from(self.hosts.max(1));
            let bar = "█".repeat(usize::try_from(of(WIDTH)).unwrap_or(0));
            let tenths = of(1000);
            let (whole, tenth) = (tenths / 10, tenths % 10);
            let line = format!("{:>4} h {:>10}  {whole:>3}.{tenth} %  {bar}", point.hour, point.hosts);
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }

    /// The curve as SVG.
    #[must_use]
    pub fn to_svg(&self) -> String {
        crate::svg::curve(self)
    }
}

fn stretches(rollout: &Rollout, hosts: u64) -> Vec<Stretch> {
    let (mut share, mut hosts_before) = (0_u64, 0);
    let mut stretches = Vec::new();
    for wave in &rollout.waves {
        share += u64::from(wave.share);
        let after = u128::from(hosts) * u128::from(share) / u128::from(WHOLE);
        let hosts_after = u64::try_from(after).unwrap_or(hosts);
        stretches.push(Stretch {
            start_seconds: wave.start_seconds,
            end_seconds: wave.start_seconds.saturating_add(wave.pace_seconds),
            hosts_before,
            hosts_after,
        });
        hosts_before = hosts_after;
    }
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preset;

    #[test]
    fn curve_begins_with_nobody_ends_with_all_and_fits_a_screen() {
        for known in crate::PRESETS {
            let plan = Plan::new(&known.rollout(), 12_345);
            assert_eq!(plan.points.first().unwrap().hosts, 0);
            assert_eq!(plan.points.last().unwrap().hosts, 12_345);
            assert!(plan.points.is_sorted_by_key(|point| point.hosts));
            let text = plan.to_text();
            assert!(
                text.lines().count() <= 40 && text.lines().all(|line| line.chars().count() <= 80),
                "{text}"
            );
        }
    }

    #[test]
    fn hours_of_the_fast_preset() {
        let text = Plan::new(&preset("fast").unwrap(), 1000).to_text();
        assert!(text.contains("   1 h        100   10.0 %  █████\n"), "{text}");
        assert!(text.contains("   6 h       1000  100.0 %"), "{text}");
    }

    #[test]
    fn waves_and_hours_of_a_plan_agree() {
        for known in crate::PRESETS {
            let rollout = known.rollout();
            let plan = Plan::new(&rollout, 12_345);
            for wave in &plan.waves {
                assert_eq!(
                    rollout.reached(wave.end_seconds, 12_345),
                    wave.hosts_after,
                    "{}",
                    known.name
                );
            }
        }
    }
}
