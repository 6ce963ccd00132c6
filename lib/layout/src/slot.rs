//! The two hulls.

use std::fmt;
use std::str::FromStr;

use crate::ParseError;

/// One of the two places a root file system can be installed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Slot {
    /// Partitions 2 to 4.
    A,
    /// Partitions 5 to 7.
    B,
}

impl Slot {
    /// Both slots.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// The slot that is not this one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// The number of the partition with the root file system.
    #[must_use]
    pub const fn root_number(self) -> u32 {
        match self {
            Self::A => 2,
            Self::B => 5,
        }
    }

    /// The number of the partition with the dm-verity hash tree.
    #[must_use]
    pub const fn verity_number(self) -> u32 {
        self.root_number() + 1
    }

    /// The number of the partition with the signed root hash.
    #[must_use]
    pub const fn signature_number(self) -> u32 {
        self.root_number() + 2
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}

impl FromStr for Slot {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "A" => Ok(Self::A),
            "B" => Ok(Self::B),
            _ => Err(ParseError::new(text, "a slot: A or B")),
        }
    }
}

crate::text::serde_as_text!(Slot);
