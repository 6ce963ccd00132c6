//! The name of what an image is.

use std::fmt;
use std::str::FromStr;

use crate::ParseError;

/// A product name: 1 to 32 of `a-z 0-9 -`, beginning with a letter or digit. It stands in file names, URLs and
/// `IMAGE_ID=` of os-release, so nothing in it ever needs quoting.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Product(String);

impl Product {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 32;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Product {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let fits = text.len() <= Self::MAX_LEN
            && text.bytes().next().is_some_and(plain)
            && text.bytes().all(|byte| plain(byte) || byte == b'-');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError::new(
                text,
                "a product name: 1 to 32 of a-z, 0-9 and -, not beginning with -",
            ))
        }
    }
}

crate::text::serde_as_text!(Product);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_need_quoting_or_climb_out_are_refused() {
        for bad in ["", "-a", "a/b", "..", "A", "a_b", "a b", &"a".repeat(33)] {
            assert!(bad.parse::<Product>().is_err(), "{bad}");
        }
        assert!("twinhull-server".parse::<Product>().is_ok());
    }
}
