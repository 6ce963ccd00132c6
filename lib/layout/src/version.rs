//! Versions of releases.

use std::fmt;
use std::str::FromStr;

use crate::ParseError;

/// A release's version: one to four numbers of up to nine digits, joined by dots, without leading zeros ("836.0.0").
///
/// The order is numeric, number by number, a missing number counting as less than any; that is also how systemd-boot
/// orders such texts (UAPI.10 version format specification), so the loader and the agent agree which is newer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(Vec<u32>);

impl Version {
    const MAX_NUMBERS: usize = 4;
    const MAX_DIGITS: usize = 9;
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, number) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(".")?;
            }
            write!(f, "{number}")?;
        }
        Ok(())
    }
}

impl FromStr for Version {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let number = |part: &str| {
            let canonical = (1..=Self::MAX_DIGITS).contains(&part.len())
                && part.bytes().all(|byte| byte.is_ascii_digit())
                && (part == "0" || !part.starts_with('0'));
            canonical.then(|| part.parse().ok()).flatten()
        };
        text.split('.')
            .map(number)
            .collect::<Option<Vec<u32>>>()
            .filter(|numbers| numbers.len() <= Self::MAX_NUMBERS)
            .map(Self)
            .ok_or_else(|| {
                ParseError::new(
                    text,
                    "a version: one to four numbers joined by dots, without leading zeros",
                )
            })
    }
}

crate::text::serde_as_text!(Version);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn order_is_numeric() {
        assert!(version("1.10.0") > version("1.9.9"));
        assert!(version("1.0.0") > version("1.0"));
        assert!(version("836.0.0") > version("99.5.1.7"));
    }

    #[test]
    fn two_texts_never_mean_one_version() {
        for bad in [
            "",
            "1.",
            ".1",
            "01.0",
            "1.0.0.0.0",
            "1.0-rc1",
            "1234567890",
            "1..2",
            "+1",
        ] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(numbers in prop::collection::vec(0u32..1_000_000_000, 1..=4)) {
            let made = Version(numbers);
            prop_assert_eq!(version(&made.to_string()), made);
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in ".{0,40}") {
            if let Ok(parsed) = text.parse::<Version>() {
                prop_assert_eq!(parsed.to_string(), text);
            }
        }
    }
}
