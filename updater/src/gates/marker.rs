//! The marker file: while it is there and has not expired, this host is not rebooted.
//!
//! Its first line says until when (`2026-11-30T06:00Z`, or a day: to its end, UTC), the rest why. Without a time it counts until somebody removes it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::http::one_line;

/// The most that is read of it, in bytes.
const MAX_SIZE: u64 = 4096;

/// A marker file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// The file.
    pub path: PathBuf,
    /// When it stops to count; `None` is never.
    pub until: Option<Timestamp>,
    /// Why it is there; may be empty.
    pub reason: String,
}

/// The marker at `path`, if there is one.
pub fn read(path: &Path) -> Option<Marker> {
    let mut bytes = Vec::new();
    let text = match File::open(path).and_then(|file| file.take(MAX_SIZE).read_to_end(&mut bytes)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        // It is there, and that is all it needs to be.
        Err(error) => format!("it cannot be read: {error}"),
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
    };
    let (first, rest) = text.trim().split_once('\n').unwrap_or((text.trim(), ""));
    let until = parse_until(first.trim());
    let reason = if until.is_some() { rest } else { text.as_str() };
    Some(Marker {
        path: path.to_owned(),
        until,
        reason: one_line(reason.trim()),
    })
}

/// A point in time, or the end of a day (UTC).
pub(crate) fn parse_until(text: &str) -> Option<Timestamp> {
    if let Ok(at) = text.parse() {
        return Some(at);
    }
    let day: Date = text.parse().ok()?;
    let end = day.tomorrow().ok()?.to_zoned_datetime(TimeZone::UTC).ok()?;
    Some(end.timestamp())
}
