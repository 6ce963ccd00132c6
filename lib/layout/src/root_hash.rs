//! The dm-verity root hash: the one name of a root file system's content.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::ParseError;

/// A sha256 dm-verity root hash, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RootHash([u8; 32]);

impl RootHash {
    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The PARTUUID of the root partition with this content: the first 128 bits, as big-endian text (Discoverable
    /// Partitions Specification, root verity partitions).
    #[must_use]
    pub fn root_partuuid(&self) -> Uuid {
        let (first, _) = self.halves();
        Uuid::from_bytes(first)
    }

    /// The PARTUUID of the partition with the hash tree of this content: the last 128 bits.
    #[must_use]
    pub fn verity_partuuid(&self) -> Uuid {
        let (_, last) = self.halves();
        Uuid::from_bytes(last)
    }

    fn halves(&self) -> ([u8; 16], [u8; 16]) {
        let mut first = [0; 16];
        let mut last = [0; 16];
        first.copy_from_slice(&self.0[..16]);
        last.copy_from_slice(&self.0[16..]);
        (first, last)
    }
}

impl From<[u8; 32]> for RootHash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootHash({self})")
    }
}

impl FromStr for RootHash {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut bytes = [0; 32];
        // One text per hash: upper case would be a second one.
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) || hex::decode_to_slice(text, &mut bytes).is_err() {
            return Err(ParseError::new(text, "a root hash: 64 lower-case hexadecimal digits"));
        }
        Ok(Self(bytes))
    }
}

crate::text::serde_as_text!(RootHash);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partuuids_are_the_halves_read_left_to_right() {
        let hash: RootHash = "00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0"
            .parse()
            .unwrap();
        assert_eq!(hash.root_partuuid().to_string(), "00112233-4455-6677-8899-aabbccddeeff");
        assert_eq!(
            hash.verity_partuuid().to_string(),
            "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
        );
    }

    #[test]
    fn only_64_lower_case_digits_are_a_hash() {
        for bad in [
            String::new(),
            "0".repeat(63),
            "0".repeat(65),
            "A".repeat(64),
            "g".repeat(64),
        ] {
            assert!(bad.parse::<RootHash>().is_err(), "{bad}");
        }
    }
}
