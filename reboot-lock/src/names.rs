//! The two names that FleetLock knows: the group, and the host inside it.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest group name, in bytes. FleetLock gives no bound; this one fits every store.
pub const MAX_GROUP: usize = 128;

/// The longest host id, in bytes. Real ones have 32 (a systemd machine id) or the length of a host name.
pub const MAX_ID: usize = 256;

/// A name that FleetLock or this server does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// An empty group.
    #[error("the group is empty; without groups of your own, use `default`")]
    EmptyGroup,
    /// A group longer than [`MAX_GROUP`].
    #[error("the group has {0} bytes; at most {MAX_GROUP} are allowed")]
    LongGroup(usize),
    /// A group with a character outside FleetLock's set.
    #[error("the group has the character {0:?}; allowed are a-z, A-Z, 0-9, `.` and `-`")]
    GroupCharacter(char),
    /// An empty host id.
    #[error("the id is empty")]
    EmptyId,
    /// A host id longer than [`MAX_ID`].
    #[error("the id has {0} bytes; at most {MAX_ID} are allowed")]
    LongId(usize),
    /// A host id with a control character, which would garble logs and terminals.
    #[error("the id has the control character {0:?}")]
    IdCharacter(char),
}

/// The name of a group: 1 to [`MAX_GROUP`] of `[a-zA-Z0-9.-]` (FleetLock, "Body").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GroupName(String);

/// The id of a host, opaque to the server: 1 to [`MAX_ID`] bytes without control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostId(String);

impl GroupName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl HostId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for GroupName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::EmptyGroup);
        }
        if name.len() > MAX_GROUP {
            return Err(NameError::LongGroup(name.len()));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        match name.chars().find(|&c| !allowed(c)) {
            Some(c) => Err(NameError::GroupCharacter(c)),
            None => Ok(Self(name)),
        }
    }
}

impl TryFrom<String> for HostId {
    type Error = NameError;

    fn try_from(id: String) -> Result<Self, NameError> {
        if id.is_empty() {
            return Err(NameError::EmptyId);
        }
        if id.len() > MAX_ID {
            return Err(NameError::LongId(id.len()));
        }
        match id.chars().find(|c| c.is_control()) {
            Some(c) => Err(NameError::IdCharacter(c)),
            None => Ok(Self(id)),
        }
    }
}

impl FromStr for GroupName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::try_from(name.to_owned())
    }
}

impl FromStr for HostId {
    type Err = NameError;

    fn from_str(id: &str) -> Result<Self, NameError> {
        Self::try_from(id.to_owned())
    }
}

impl From<GroupName> for String {
    fn from(name: GroupName) -> Self {
        name.0
    }
}

impl From<HostId> for String {
    fn from(id: HostId) -> Self {
        id.0
    }
}

impl Borrow<str> for HostId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_takes_the_protocols_characters_and_no_others() {
        for good in ["default", "A", "eu-west.1", "0", &"x".repeat(MAX_GROUP)] {
            assert_eq!(good.parse::<GroupName>().map(String::from), Ok(good.to_owned()));
        }
        assert_eq!("".parse::<GroupName>(), Err(NameError::EmptyGroup));
        for (bad, c) in [("a b", ' '), ("a_b", '_'), ("a/b", '/'), ("é", 'é'), ("a\n", '\n')] {
            assert_eq!(bad.parse::<GroupName>(), Err(NameError::GroupCharacter(c)));
        }
        assert_eq!(
            "x".repeat(MAX_GROUP + 1).parse::<GroupName>(),
            Err(NameError::LongGroup(MAX_GROUP + 1))
        );
    }

    #[test]
    fn id_is_opaque_but_printable_and_bounded() {
        for good in ["a", "node 7", "Ünïcode", &"x".repeat(MAX_ID)] {
            assert_eq!(good.parse::<HostId>().map(String::from), Ok(good.to_owned()));
        }
        assert_eq!("".parse::<HostId>(), Err(NameError::EmptyId));
        assert_eq!("a\u{1b}[2J".parse::<HostId>(), Err(NameError::IdCharacter('\u{1b}')));
        assert_eq!(
            "x".repeat(MAX_ID + 1).parse::<HostId>(),
            Err(NameError::LongId(MAX_ID + 1))
        );
    }
}
