//! Sizes as people write them: "512 MiB", "2GiB".

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// One mebibyte: what partitions are aligned to.
pub const MIB: u64 = 1024 * 1024;

/// A number of bytes. Written with a binary unit; without one it counts bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(
    /// Bytes.
    pub u64,
);

/// Why a text is no size.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no size; write a whole number with KiB, MiB, GiB or TiB, as \"512 MiB\"")]
pub struct BadSize(String);

impl Size {
    /// This size rounded up to whole mebibytes.
    #[must_use]
    pub fn to_mib(self) -> Self {
        Self(self.0.div_ceil(MIB) * MIB)
    }
}

impl FromStr for Size {
    type Err = BadSize;

    fn from_str(text: &str) -> Result<Self, BadSize> {
        let bad = || BadSize(text.to_owned());
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let factor: u64 = match unit.trim() {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            _ => return Err(bad()),
        };
        number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(factor))
            .map(Self)
            .ok_or_else(bad)
    }
}

impl fmt::Display for Size {
    /// With one decimal in the largest unit that leaves a whole part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        for (factor, unit) in units {
            if self.0 >= factor {
                // In tenths and whole numbers, so that no float rounds a budget.
                let tenths = u128::from(self.0) * 10 / u128::from(factor);
                return write!(f, "{}.{} {unit}", tenths / 10, tenths % 10);
            }
        }
        write!(f, "{} bytes", self.0)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_binary_and_spaces_optional() {
        assert_eq!("512 MiB".parse(), Ok(Size(512 << 20)));
        assert_eq!("2GiB".parse(), Ok(Size(2 << 30)));
        assert_eq!("4096".parse(), Ok(Size(4096)));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "MiB",
            "2 GB",
            "-1",
            "1.5 GiB",
            "99999999999999999999 TiB",
            "18446744073709551615 KiB",
        ] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn shown_with_one_decimal() {
        assert_eq!(Size(1536 << 20).to_string(), "1.5 GiB");
        assert_eq!(Size(1023).to_string(), "1023 bytes");
    }

    #[test]
    fn rounding_goes_up() {
        assert_eq!(Size(1).to_mib(), Size(MIB));
        assert_eq!(Size(MIB).to_mib(), Size(MIB));
    }
}
