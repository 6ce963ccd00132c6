//! Maintenance windows: days of the week and times of the day, as the clocks of a place show them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::{Date, Weekday};
use jiff::tz::{Disambiguation, TimeZone};
use jiff::{Timestamp, ToSpan};

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// The names of the days, Monday first.
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// From one time of the day to another, on some days of the week. One that ends before it begins lasts past midnight, and
/// belongs to the day on which it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    days: [bool; 7],
    /// Minutes since midnight.
    start: u16,
    /// Minutes since midnight of the day on which it begins: past [`DAY`] if that is the next.
    end: u16,
}

/// Text that is no window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no window: write days and times as in `Sat,Sun 02:00-05:00`, `Mon..Fri 23:00-01:00` or `03:00-04:00`"
)]
pub struct WindowError(String);

/// All windows of a host, and the time zone whose clocks they mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    list: Vec<Window>,
    zone: TimeZone,
}

/// Whether a window is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// It is.
    Open,
    /// None is.
    Closed {
        /// When the next one opens for this host.
        opens: Timestamp,
    },
}

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        parse(text.trim()).ok_or_else(|| WindowError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Window> {
    let (days, times) = match text.split_once(char::is_whitespace) {
        Some((days, times)) => (parse_days(days)?, times.trim()),
        None => ([true; 7], text),
    };
    let (start, end) = times.split_once('-')?;
    let (start, end) = (parse_time(start)?, parse_time(end)?);
    if start == DAY || start == end {
        return None;
    }
    let end = if end < start { end + DAY } else { end };
    Some(Window { days, start, end })
}

fn parse_days(text: &str) -> Option<[bool; 7]> {
    let number = |name: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once("..").unwrap_or((part, part));
        let (mut day, last) = (number(first)?, number(last)?);
        days[day] = true;
        // `Sat..Mon` goes over the end of the week.
        while day != last {
            day = (day + 1) % 7;
            days[day] = true;
        }
    }
    Some(days)
}

fn parse_time(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(hour) || !digits(minute) {
        return None;
    }
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    let time = hour * 60 + minute;
    (minute < 60 && time <= DAY).then_some(time)
}

impl fmt::Display for Window {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = DAYS
            .iter()
            .zip(self.days)
            .filter_map(|(name, wanted)| wanted.then_some(*name))
            .collect();
        if names.len() < 7 {
            write!(out, "{} ", names.join(","))?;
        }
        let end = if self.end > DAY { self.end - DAY } else { self.end };
        write!(
            out,
            "{:02}:{:02}-{:02}:{:02}",
            self.start / 60,
            self.start % 60,
            end / 60,
            end % 60
        )
    }
}

impl Window {
    /// How long it is on a day on which no clock is changed.
    pub fn length(&self) -> Duration {
        Duration::from_mins(u64::from(self.end - self.start))
    }

    /// When it opens and closes on `day`, if it does.
    ///
    /// A time that the clocks skip is taken to be as much later as they jump. Of a time that they show twice, the first opens and
    /// the second closes.
    fn on(&self, day: Date, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
        if !self.days[usize::from(day_number(day.weekday()))] {
            return None;
        }
        let instant = |minutes: u16, disambiguation| {
            let days = i64::from(minutes / DAY);
            let of_day = minutes % DAY;
            let day = day.checked_add(days.days()).ok()?;
            let (hour, minute) = (i8::try_from(of_day / 60).ok()?, i8::try_from(of_day % 60).ok()?);
            let shown = zone.to_ambiguous_timestamp(day.at(hour, minute, 0, 0));
            shown.disambiguate(disambiguation).ok()
        };
        // `Later` of a skipped time is after the jump, as `Compatible` is.
        Some((
            instant(self.start, Disambiguation::Compatible)?,
            instant(self.end, Disambiguation::Later)?,
        ))
    }
}

fn day_number(day: Weekday) -> u8 {
    day.to_monday_zero_offset().unsigned_abs()
}

impl Windows {
    /// Always open.
    pub fn always() -> Self {
        Self::new(Vec::new(), TimeZone::UTC)
    }

    /// Open when one of `list` is, on the clocks of `zone`; without any always.
    pub fn new(list: Vec<Window>, zone: TimeZone) -> Self {
        Self { list, zone }
    }

    /// Whether there are none.
    pub fn is_always(&self) -> bool {
        self.list.is_empty()
    }

    /// Whose clocks they mean.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Whether one is open at `now` for a host that waits for `delay` after a window has opened.
    pub fn at(&self, now: Timestamp, delay: Duration) -> Opening {
        if self.is_always() {
            return Opening::Open;
        }
        let today = now.to_zoned_datetime(self.zone.clone()).date();
        let mut next: Option<Timestamp> = None;
        // From yesterday, whose window may last past midnight, to the same day of next week.
        for offset in -1..=8_i64 {
            let Ok(day) = today.checked_add(offset.days()) else {
                continue;
            };
            for (opens, closes) in self.list.iter().filter_map(|window| window.on(day, &self.zone)) {
                // A delay beyond the end, possible where a clock change shortened the window, must not close it for good.
                let opens = opens
                    .checked_add(delay)
                    .map_or(opens, |later| if later < closes { later } else { opens });
                if opens <= now && now < closes {
                    return Opening::Open;
                }
                if now < opens && next.is_none_or(|next| opens < next) {
                    next = Some(opens);
                }
            }
        }
        // Every window comes within a week; only the end of all time has none.
        next.map_or(Opening::Open, |opens| Opening::Closed { opens })
    }
}
