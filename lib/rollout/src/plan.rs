//! A rollout drawn beforehand.

use std::fmt::Write as _;

use serde::Serialize;

use crate::Rollout;

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
        }
    }

    /// The curve for a terminal: one line for each hour, or for every so many.
    #[must_use]
    pub fn to_text(&self) -> String {
        let every = (self.points.len() as u64).div_ceil(LINES).max(1);
        let last = self.points.last().map_or(0, |point| point.hour);
        let mut text = format!("rollout {} to {} hosts\n", self.rollout, self.hosts);
        for point in &self.points {
            if point.hour % every != 0 && point.hour != last {
                continue;
            }
            let of = |whole: u64| u128::from(point.hosts) * u128::from(whole) / u128::from(self.hosts.max(1));
            let bar = "█".repeat(usize::try_from(of(WIDTH)).unwrap_or(0));
            let tenths = of(1000);
            let _ = writeln!(
                text,
                "{:>4} h {:>10}  {:>3}.{} %  {bar}",
                point.hour,
                point.hosts,
                tenths / 10,
                tenths % 10
            );
        }
        text
    }

    /// The curve as SVG.
    #[must_use]
    pub fn to_svg(&self) -> String {
        crate::svg::curve(self)
    }
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
    fn svg_has_one_point_for_each_hour() {
        let plan = Plan::new(&preset("default").unwrap(), 1000);
        let svg = plan.to_svg();
        let points = svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(points.split(' ').count(), plan.points.len());
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
    }
}
