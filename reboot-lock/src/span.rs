//! How long something lasts, in the words of the tables and the page.

/// `45s`, `12m`, `3h 05m`, `2d 04h`: what one wants to know of how long a host has been away.
pub(crate) fn words(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    if days > 0 {
        format!("{days}d {:02}h", hours % 24)
    } else if hours > 0 {
        format!("{hours}h {:02}m", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes}m")
    } else {
        format!("{seconds}s")
    }
}

/// `90 s`, `30 min`, `1 h`, `7 d`: a time that a rule names, exact, in the largest unit it is a whole number of.
pub(crate) fn exactly(seconds: u32) -> String {
    let units = [(86400, "d"), (3600, "h"), (60, "min")];
    let (unit, name) = units
        .into_iter()
        .find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit))
        .unwrap_or((1, "s"));
    format!("{} {name}", seconds / unit)
}

#[cfg(test)]
mod tests {
    use super::{exactly, words};

    #[test]
    fn a_rule_keeps_every_second() {
        for (seconds, text) in [
            (0, "0 s"),
            (90, "90 s"),
            (1800, "30 min"),
            (3600, "1 h"),
            (5400, "90 min"),
            (604_800, "7 d"),
        ] {
            assert_eq!(exactly(seconds), text);
        }
    }

    #[test]
    fn two_units_from_an_hour_on() {
        for (seconds, text) in [
            (-5, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3_900, "1h 05m"),
            (187_200, "2d 04h"),
        ] {
            assert_eq!(words(seconds), text);
        }
    }
}
