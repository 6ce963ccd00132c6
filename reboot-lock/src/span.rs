//! How long something has lasted, in the words of the tables and the page.

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

#[cfg(test)]
mod tests {
    use super::words;

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
