//! What one file says of another: version, length, hashes.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256, Sha512};

/// Hashes of a file by algorithm, as hexadecimal text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Hashes(BTreeMap<String, String>);

impl Hashes {
    /// The hashes that our repositories list: sha256.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(BTreeMap::from([(
            "sha256".to_owned(),
            hex::encode(Sha256::digest(bytes)),
        )]))
    }

    /// Whether `bytes` fit: at least one known algorithm is listed and every known one agrees.
    ///
    /// # Errors
    /// What does not fit.
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<(), String> {
        let mut known = 0;
        for (algorithm, expected) in &self.0 {
            let found = match algorithm.as_str() {
                "sha256" => hex::encode(Sha256::digest(bytes)),
                "sha512" => hex::encode(Sha512::digest(bytes)),
                _ => continue,
            };
            known += 1;
            if !found.eq_ignore_ascii_case(expected) {
                return Err(format!("its {algorithm} is {found}"));
            }
        }
        if known == 0 {
            return Err("no hash of a known algorithm is listed for it".to_owned());
        }
        Ok(())
    }

    /// The hash that stands in the file name of a target (TUF 1.0.x section 5.7.3); the strings have been made safe for that.
    pub(crate) fn for_name(&self) -> Option<&str> {
        let listed = self.0.get("sha256").or_else(|| self.0.get("sha512"))?;
        listed.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(listed)
    }

    /// The hashes by algorithm.
    pub(crate) fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

/// An entry of the timestamp or the snapshot (TUF 1.0.x section 4.4, `METAFILES`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileRecord {
    pub(crate) version: NonZeroU64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) length: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hashes: Option<Hashes>,
}

impl FileRecord {
    /// Describes `bytes`, which are version `version` of a role's file.
    pub(crate) fn of(version: NonZeroU64, bytes: &[u8]) -> Self {
        Self {
            version,
            length: Some(bytes.len() as u64),
            hashes: Some(Hashes::of(bytes)),
        }
    }

    /// Whether `bytes` have the length and hashes listed, as far as they are listed.
    ///
    /// # Errors
    /// What does not fit.
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<(), String> {
        check_length(self.length, bytes)?;
        self.hashes.as_ref().map_or(Ok(()), |hashes| hashes.check(bytes))
    }
}

/// Whether `bytes` have exactly the listed length.
///
/// # Errors
/// They do not.
pub(crate) fn check_length(listed: Option<u64>, bytes: &[u8]) -> Result<(), String> {
    match listed {
        Some(length) if length != bytes.len() as u64 => {
            Err(format!("it has {} bytes where {length} are listed", bytes.len()))
        }
        _ => Ok(()),
    }
}
