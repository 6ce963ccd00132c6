//! The curve of a plan as a picture.

use std::fmt::Write as _;

use crate::Plan;

/// The plotting area and what is around it, in pixels.
const WIDTH: u64 = 720;
const HEIGHT: u64 = 300;
const LEFT: u64 = 60;
const TOP: u64 = 60;
const RIGHT: u64 = 100;
const BOTTOM: u64 = 40;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Distances between two labels of time; the smallest that gives no more than `MOST_LABELS` is taken.
const STEPS: [u64; 13] = [
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
    28 * DAY,
];
const MOST_LABELS: u64 = 15;

/// Draws `plan`: its waves as bands, and how many hosts have it at each second. Numbers and a checked name are all that enters
/// the text, so there is nothing to quote.
pub(crate) fn curve(plan: &Plan) -> String {
    let end = plan.waves.last().map_or(0, |wave| wave.end_seconds);
    let step = STEPS
        .into_iter()
        .find(|step| end.div_ceil(*step) <= MOST_LABELS)
        .unwrap_or(end.max(1));
    let whole = end.div_ceil(step).max(1) * step;
    let x = |seconds: u64| LEFT + scaled(WIDTH, seconds, whole);
    let y = |hosts: u64| TOP + HEIGHT - scaled(HEIGHT, hosts, plan.hosts.max(1));
    let (right, bottom) = (LEFT + WIDTH, TOP + HEIGHT);
    let (width, height) = (right + RIGHT, bottom + BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"15\">rollout {} to {} hosts</text>\n",
        plan.rollout, plan.hosts
    );
    for (index, wave) in plan.waves.iter().enumerate() {
        let (from, to) = (x(wave.start_seconds), x(wave.end_seconds));
        let _ = writeln!(
            svg,
            "<rect x=\"{from}\" y=\"{TOP}\" width=\"{}\" height=\"{HEIGHT}\" fill=\"#e4edf8\"/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"#567\">{}</text>",
            (to - from).max(1),
            from.midpoint(to),
            TOP - 8,
            index + 1
        );
    }
    for quarter in 0..=4 {
        let height = TOP + HEIGHT - HEIGHT * quarter / 4;
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {height}H{right}\" stroke=\"#ccc\"/><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{} %</text>\
             <text x=\"{}\" y=\"{}\" fill=\"#567\">{}</text>",
            LEFT - 8,
            height + 4,
            25 * quarter,
            right + 8,
            height + 4,
            scaled(plan.hosts, quarter, 4)
        );
    }
    for seconds in (0..=whole).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
        let _ = writeln!(
            svg,
            "<path d=\"M{0} {bottom}v4\" stroke=\"#666\"/><text x=\"{0}\" y=\"{1}\" text-anchor=\"middle\">{2}</text>",
            x(seconds),
            bottom + 18,
            label(seconds, step)
        );
    }
    let mut points = vec![(x(0), y(0))];
    for wave in &plan.waves {
        points.push((x(wave.start_seconds), y(wave.hosts_before)));
        points.push((x(wave.end_seconds), y(wave.hosts_after)));
    }
    points.push((right, y(plan.waves.last().map_or(0, |wave| wave.hosts_after))));
    let points: Vec<String> = points.iter().map(|(x, y)| format!("{x},{y}")).collect();
    let _ = write!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#06c\" stroke-width=\"2\" stroke-linejoin=\"round\"/>\n</svg>\n",
        points.join(" ")
    );
    svg
}

/// `part` of `whole`, where all of it is `length`.
fn scaled(length: u64, part: u64, whole: u64) -> u64 {
    let scaled = u128::from(length) * u128::from(part) / u128::from(whole);
    u64::try_from(scaled).unwrap_or(length).min(length)
}

/// A time in the unit that labels `step` apart are counted in.
fn label(seconds: u64, step: u64) -> String {
    match step {
        DAY.. => format!("{} d", seconds / DAY),
        HOUR.. => format!("{} h", seconds / HOUR),
        _ => format!("{} min", seconds / MINUTE),
    }
}

#[cfg(test)]
mod tests {
    use crate::{Plan, Rollout, Wave, preset};

    fn drawn(rollout: &Rollout) -> (String, Vec<(u64, u64)>) {
        let svg = Plan::new(rollout, 1000).to_svg();
        let points = svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        let points = points
            .split(' ')
            .map(|point| {
                let (x, y) = point.split_once(',').unwrap();
                (x.parse().unwrap(), y.parse().unwrap())
            })
            .collect();
        (svg, points)
    }

    #[test]
    fn curve_has_the_corners_of_the_waves_and_never_falls() {
        let (svg, points) = drawn(&preset("default").unwrap());
        assert_eq!(points.len(), 1 + 2 * 6 + 1);
        assert!(points.is_sorted_by(|one, two| one.0 <= two.0 && one.1 >= two.1));
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains(">72 h<") && svg.contains(">750<"), "{svg}");
    }

    #[test]
    fn rollout_of_minutes_is_drawn_in_minutes() {
        let (svg, points) = drawn(&preset("emergency").unwrap());
        assert!(svg.contains(">15 min<") && !svg.contains(" h<"), "{svg}");
        let (last, before) = (points[points.len() - 1], points[points.len() - 2]);
        assert!(before.1 == last.1 && last.1 == super::TOP, "{points:?}");
    }

    #[test]
    fn part_of_the_hosts_stays_a_part() {
        let wave = Wave {
            share: 2500,
            start_seconds: 0,
            pace_seconds: 0,
        };
        let (_, points) = drawn(&Rollout {
            name: "part".to_owned(),
            waves: vec![wave],
        });
        assert_eq!(points.last().unwrap().1, super::TOP + super::HEIGHT * 3 / 4);
    }
}
