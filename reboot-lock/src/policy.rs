//! What a group's rules are: how many hosts, how far apart, which zones, and when nothing more is granted.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::span::exactly;

/// The most slots that a group may have. Bounds the record of a group in the store.
pub const MAX_SLOTS: u32 = 1000;

/// The longest settle time and time to return, in seconds: a week.
pub const MAX_SECONDS: u32 = 7 * 24 * 3600;

/// How long a host may stay away unless the policy says otherwise, in seconds.
pub const DEFAULT_RETURN_SECONDS: u32 = 3600;

/// The most zones that an order may name.
pub const MAX_ZONES: usize = 64;

/// The longest name of a zone or version, in bytes.
pub const MAX_LABEL: usize = 64;

/// How many hosts may be down at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawSlots", into = "RawSlots")]
pub enum Slots {
    /// So many, 0 to [`MAX_SLOTS`]; 0 closes the group.
    Count(u32),
    /// So many of a hundred known hosts, 1 to 100, rounded down, but at least one.
    Percent(u32),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum RawSlots {
    Count(u32),
    Percent(String),
}

impl TryFrom<RawSlots> for Slots {
    type Error = String;

    fn try_from(raw: RawSlots) -> Result<Self, String> {
        match raw {
            RawSlots::Count(count) if count <= MAX_SLOTS => Ok(Self::Count(count)),
            RawSlots::Count(count) => Err(format!("slots is {count}; it must be 0 to {MAX_SLOTS}")),
            RawSlots::Percent(text) => text
                .strip_suffix('%')
                .and_then(|number| number.parse().ok())
                .filter(|percent| (1..=100).contains(percent))
                .map(Self::Percent)
                .ok_or_else(|| format!("slots is `{text}`; write a number, or a share such as \"10%\"")),
        }
    }
}

impl From<Slots> for RawSlots {
    fn from(slots: Slots) -> Self {
        match slots {
            Slots::Count(count) => Self::Count(count),
            Slots::Percent(_) => Self::Percent(slots.to_string()),
        }
    }
}

impl fmt::Display for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Slots {
    /// How many that is in a group of `known` hosts.
    pub fn of(self, known: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                let share = u64::from(known) * u64::from(percent) / 100;
                u32::try_from(share).unwrap_or(MAX_SLOTS).clamp(1, MAX_SLOTS)
            }
        }
    }
}

/// What becomes of a holder that does not return in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Absent {
    /// It keeps its slot until a person releases it.
    #[default]
    Hold,
    /// Its slot is freed, with the reason in the history.
    Release,
}

/// The rules of one group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// How many hosts may be down at the same time.
    pub slots: Slots,
    /// How long after a grant or a return nothing is granted, in seconds, 0 to [`MAX_SECONDS`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub settle_seconds: u32,
    /// Whether only hosts of one zone may be down at the same time.
    #[serde(default, skip_serializing_if = "is_false")]
    pub one_zone: bool,
    /// Zones that go first, in this order, where hosts of several are waiting.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zone_order: Vec<String>,
    /// How long a host may hold its slot before it counts as one that did not return, in seconds, 1 to [`MAX_SECONDS`].
    #[serde(default = "default_return", skip_serializing_if = "is_default_return")]
    pub return_seconds: u32,
    /// What becomes of such a host.
    #[serde(default, skip_serializing_if = "is_hold")]
    pub absent: Absent,
    /// Halt when more hosts than this have rolled back or not returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halt_failures: Option<u32>,
    /// Halt when more than this share of the known hosts has, in percent, 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halt_percent: Option<u32>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_hold(absent: &Absent) -> bool {
    *absent == Absent::Hold
}

fn default_return() -> u32 {
    DEFAULT_RETURN_SECONDS
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_default_return(seconds: &u32) -> bool {
    *seconds == DEFAULT_RETURN_SECONDS
}

/// A group that is closed and has no further rules.
impl Default for Policy {
    fn default() -> Self {
        Self::with_slots(0)
    }
}

impl Policy {
    /// So many slots and no further rules.
    pub fn with_slots(count: u32) -> Self {
        Self {
            slots: Slots::Count(count),
            settle_seconds: 0,
            one_zone: false,
            zone_order: Vec::new(),
            return_seconds: DEFAULT_RETURN_SECONDS,
            absent: Absent::Hold,
            halt_failures: None,
            halt_percent: None,
        }
    }

    /// Checks what the format alone does not.
    ///
    /// # Errors
    /// Which key is wrong and what would be right.
    pub fn check(&self) -> Result<(), String> {
        let range = |key: &str, value: u32, from: u32, to: u32| {
            if (from..=to).contains(&value) {
                return Ok(());
            }
            Err(format!("{key} is {value}; it must be {from} to {to}"))
        };
        // A policy that was built rather than read can have any number.
        match self.slots {
            Slots::Count(count) => range("slots", count, 0, MAX_SLOTS)?,
            Slots::Percent(percent) => range("slots (percent)", percent, 1, 100)?,
        }
        range("settle_seconds", self.settle_seconds, 0, MAX_SECONDS)?;
        range("return_seconds", self.return_seconds, 1, MAX_SECONDS)?;
        range("halt_failures", self.halt_failures.unwrap_or(0), 0, MAX_SLOTS)?;
        range("halt_percent", self.halt_percent.unwrap_or(0), 0, 100)?;
        if self.zone_order.len() > MAX_ZONES {
            return Err(format!("zone_order names more than {MAX_ZONES} zones"));
        }
        match self.zone_order.iter().find(|zone| !is_label(zone)) {
            Some(zone) => Err(format!(
                "zone_order has `{}`; a zone is 1 to {MAX_LABEL} bytes without control characters",
                zone.escape_debug()
            )),
            None => Ok(()),
        }
    }
}

/// Whether `text` can be the name of a zone or a version: 1 to [`MAX_LABEL`] bytes without control characters.
pub fn is_label(text: &str) -> bool {
    (1..=MAX_LABEL).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// One line for people.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slots {}", self.slots)?;
        if self.settle_seconds > 0 {
            write!(f, ", settle {}", exactly(self.settle_seconds))?;
        }
        if self.one_zone {
            write!(f, ", one zone at a time")?;
        }
        if !self.zone_order.is_empty() {
            write!(f, ", zones in the order {}", self.zone_order.join(", "))?;
        }
        match self.absent {
            Absent::Hold => write!(f, ", overdue after {}", exactly(self.return_seconds))?,
            Absent::Release => write!(f, ", released after {}", exactly(self.return_seconds))?,
        }
        if let Some(failures) = self.halt_failures {
            write!(f, ", halt after more than {failures} failures")?;
        }
        if let Some(percent) = self.halt_percent {
            write!(f, ", halt when more than {percent}% failed")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_down_but_never_to_nothing() {
        for (percent, known, expected) in [
            (10, 0, 1),
            (10, 9, 1),
            (10, 29, 2),
            (100, 5, 5),
            (50, 1_000_000, MAX_SLOTS),
        ] {
            assert_eq!(Slots::Percent(percent).of(known), expected, "{percent}% of {known}");
        }
        assert_eq!(Slots::Count(0).of(100), 0);
    }

    #[test]
    fn a_policy_reads_back_as_written_and_a_plain_one_is_short() {
        let plain = serde_json::to_string(&Policy::with_slots(2)).unwrap();
        assert_eq!(plain, r#"{"slots":2}"#);
        let text = r#"{"slots":"10%","settle_seconds":300,"one_zone":true,"zone_order":["a"],"return_seconds":60,"absent":"release","halt_failures":0,"halt_percent":5}"#;
        let policy: Policy = serde_json::from_str(text).unwrap();
        policy.check().unwrap();
        assert_eq!(serde_json::to_string(&policy).unwrap(), text);
    }

    #[test]
    fn values_out_of_bounds_are_refused() {
        for text in [
            r#"{"slots":"0%"}"#,
            r#"{"slots":"101%"}"#,
            r#"{"slots":"3"}"#,
            r#"{"slots":1001}"#,
            r#"{"slots":-1}"#,
            r#"{"slots":1,"slot":2}"#,
        ] {
            assert!(serde_json::from_str::<Policy>(text).is_err(), "{text}");
        }
        for text in [
            r#"{"slots":1,"return_seconds":0}"#,
            r#"{"slots":1,"settle_seconds":604801}"#,
            r#"{"slots":1,"halt_percent":101}"#,
            r#"{"slots":1,"zone_order":[""]}"#,
        ] {
            assert!(serde_json::from_str::<Policy>(text).unwrap().check().is_err(), "{text}");
        }
    }
}
