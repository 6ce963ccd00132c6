//! The salt that is hashed before every block.

use std::fmt;
use std::str::FromStr;

use crate::SaltError;

/// The salt of one tree: always 32 bytes here. Written as 64 hexadecimal digits.
///
/// It is public. It only has to differ between images so that work spent on one collision serves one image.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Salt([u8; 32]);

impl Salt {
    /// Zeros, for what has no tree.
    pub const ZERO: Self = Self([0; 32]);

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The UUID that a superblock with this salt carries: the first 16 bytes of the salt. Nothing reads it; a value that
    /// follows from the salt keeps the partition reproducible.
    pub fn uuid(&self) -> [u8; 16] {
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&self.0[..16]);
        uuid
    }
}

impl From<[u8; 32]> for Salt {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl FromStr for Salt {
    type Err = SaltError;

    fn from_str(text: &str) -> Result<Self, SaltError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| SaltError { length: text.len() })?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Salt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Salt({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_goes_both_ways() {
        let salt = Salt::from([0xa5; 32]);
        assert_eq!(salt.to_string().parse::<Salt>().unwrap(), salt);
    }

    #[test]
    fn a_salt_of_another_length_is_refused() {
        assert!("ab".parse::<Salt>().is_err());
        assert!("a5".repeat(33).parse::<Salt>().is_err());
        assert!("g5".repeat(32).parse::<Salt>().is_err());
    }
}
