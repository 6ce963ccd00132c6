//! The curve of a plan as a picture.

use std::fmt::Write as _;

use crate::Plan;

/// The plotting area and what is around it, in pixels.
const WIDTH: u64 = 720;
const HEIGHT: u64 = 300;
const LEFT: u64 = 70;
const TOP: u64 = 40;

/// Draws `plan`. Numbers and a checked name are all that enters the text, so there is nothing to quote.
pub(crate) fn curve(plan: &Plan) -> String {
    let hours = plan.points.last().map_or(1, |point| point.hour).max(1);
    let hosts = plan.hosts.max(1);
    let x = |hour: u64| LEFT + WIDTH * hour / hours;
    let y = |count: u64| {
        let up = u128::from(HEIGHT) * u128::from(count) / u128::from(hosts);
        TOP + HEIGHT - u64::try_from(up).unwrap_or(HEIGHT).min(HEIGHT)
    };
    let (right, bottom) = (LEFT + WIDTH, TOP + HEIGHT);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"15\">rollout {} to {} hosts</text>\n",
        right + 30,
        bottom + 50,
        plan.rollout,
        plan.hosts
    );
    for quarter in 0..=4 {
        let height = TOP + HEIGHT - HEIGHT * quarter / 4;
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {height}H{right}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{} %</text>",
            LEFT - 8,
            height + 4,
            25 * quarter
        );
    }
    let every = hours.div_ceil(12);
    for hour in (0..=hours).step_by(usize::try_from(every).unwrap_or(1)) {
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{hour} h</text>",
            x(hour),
            bottom + 20
        );
    }
    let points: Vec<String> = plan
        .points
        .iter()
        .map(|point| format!("{},{}", x(point.hour), y(point.hosts)))
        .collect();
    let _ = write!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#06c\" stroke-width=\"2\"/>\n</svg>\n",
        points.join(" ")
    );
    svg
}
