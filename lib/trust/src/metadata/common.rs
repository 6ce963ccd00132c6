//! What every role's metadata begins with.

use std::num::NonZeroU64;

use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::TrustError;

/// The version of the specification that our repositories are written to.
const SPEC_VERSION: &str = "1.0.34";

/// The fields that all roles share (TUF 1.0.x section 4.3 and following).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Common {
    /// The role's type: `root`, `timestamp`, `snapshot`, or `targets` for all targets roles.
    #[serde(rename = "_type")]
    pub(crate) kind: String,
    /// The specification it is written to.
    pub(crate) spec_version: String,
    /// Counts up with every change.
    pub(crate) version: NonZeroU64,
    /// The first instant at which it is no longer trusted.
    #[serde(with = "date_time")]
    pub(crate) expires: Timestamp,
    /// Ours: for how many seconds the next version is to be valid. Kept with the role, and so signed, so that renewing it
    /// needs no configuration beside the repository. Clients ignore it.
    #[serde(rename = "x-twinhull-lifetime", default, skip_serializing_if = "Option::is_none")]
    pub(crate) lifetime: Option<i64>,
}

impl Common {
    /// The header of version 1 of a role.
    pub(crate) fn new(kind: &str, now: Timestamp, lifetime: SignedDuration) -> Self {
        Self {
            kind: kind.to_owned(),
            spec_version: SPEC_VERSION.to_owned(),
            version: NonZeroU64::MIN,
            expires: whole_second(now.saturating_add(lifetime).unwrap_or(Timestamp::MAX)),
            lifetime: Some(lifetime.as_secs()),
        }
    }

    /// Makes this the header of the next version, valid from `now` for as long as the last one was meant to be.
    pub(crate) fn next(&mut self, now: Timestamp) {
        self.version = self.version.saturating_add(1);
        SPEC_VERSION.clone_into(&mut self.spec_version);
        let lifetime = SignedDuration::from_secs(self.lifetime.unwrap_or(0));
        self.expires = whole_second(now.saturating_add(lifetime).unwrap_or(Timestamp::MAX));
    }

    fn check(&self, kind: &str) -> Result<(), String> {
        if self.kind != kind {
            return Err(format!(
                "its type is `{}`, not `{kind}`",
                crate::name::shorten(&self.kind)
            ));
        }
        let numbers: Vec<&str> = self.spec_version.split('.').collect();
        let numeric = numbers.iter().all(|part| part.parse::<u32>().is_ok());
        if !numeric || !(2..=3).contains(&numbers.len()) || numbers[0] != "1" {
            let version = crate::name::shorten(&self.spec_version);
            return Err(format!(
                "it is written to version `{version}` of the specification, not to 1.x"
            ));
        }
        Ok(())
    }
}

/// The signed part of one role's metadata.
pub(crate) trait Role: Serialize + DeserializeOwned {
    /// What `_type` must say.
    const KIND: &'static str;

    /// The shared fields.
    fn common(&self) -> &Common;

    /// What the types cannot say.
    fn check_more(&self) -> Result<(), String> {
        Ok(())
    }

    /// The version number.
    fn version(&self) -> u64 {
        self.common().version.get()
    }

    /// Everything that can be checked without knowing other roles.
    fn check(&self) -> Result<(), String> {
        self.common().check(Self::KIND)?;
        self.check_more()
    }

    /// Refuses metadata that is past its date at `now`, the start of the update (TUF 1.0.x section 5.1).
    fn check_fresh(&self, role: &str, now: Timestamp) -> Result<(), TrustError> {
        let expired = self.common().expires;
        if expired > now {
            return Ok(());
        }
        Err(TrustError::Expired {
            role: role.to_owned(),
            expired,
            now,
        })
    }
}

fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// `YYYY-MM-DDTHH:MM:SSZ`, as the specification writes it. Others also sign fractions of a second: those are read, and nothing
/// else is.
mod date_time {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(time)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(from)?;
        parse(&text).ok_or_else(|| de::Error::custom("a time is not of the form YYYY-MM-DDTHH:MM:SSZ"))
    }

    fn parse(text: &str) -> Option<Timestamp> {
        let (second, end) = text.split_at_checked("YYYY-MM-DDTHH:MM:SS".len())?;
        let fraction = end.strip_suffix('Z')?;
        let digits = |text: &str| (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let written = fraction.is_empty() || fraction.strip_prefix('.').is_some_and(digits);
        let whole: Timestamp = format!("{second}Z").parse().ok()?;
        let exact = whole.to_string().strip_suffix('Z') == Some(second);
        (written && exact).then(|| text.parse().ok())?
    }

    #[cfg(test)]
    mod tests {
        use super::parse;

        #[test]
        fn only_the_one_form_and_its_fractions_are_read() {
            for (good, back) in [
                ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
                ("3021-01-27T00:56:48.450414Z", "3021-01-27T00:56:48.450414Z"),
                ("2022-05-11T19:09:02.120000000Z", "2022-05-11T19:09:02.12Z"),
            ] {
                assert_eq!(parse(good).unwrap().to_string(), back);
            }
            for bad in [
                "2026-01-02T03:04:05",
                "2026-01-02T03:04:05+00:00",
                "2026-01-02 03:04:05Z",
                "2026-01-02t03:04:05z",
                "2026-01-02T03:04:60Z",
                "2026-02-30T03:04:05Z",
                "2026-01-02T03:04:05.Z",
                "2026-01-02T03:04:05,5Z",
                "2026-01-02T03:04:05.0123456789Z",
                "2026-01-02T03:04:05Z[UTC]",
                "20260102T030405Z",
                "-09999-01-02T03:04:05Z",
                "",
            ] {
                assert_eq!(parse(bad), None, "{bad}");
            }
        }
    }
}
