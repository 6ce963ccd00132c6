//! Public keys, and who speaks for a role.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::TrustError;
use crate::metadata::envelope::Signed;
use crate::metadata::scheme;

/// A public key as metadata writes it (TUF 1.0.x section 4.2). Kinds that are not known stay as they are and verify nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Key {
    pub(crate) keytype: String,
    pub(crate) scheme: String,
    pub(crate) keyval: Map<String, Value>,
    /// What else stands there; part of the key's id.
    #[serde(flatten)]
    pub(crate) more: Map<String, Value>,
}

impl Key {
    /// An ed25519 key.
    pub(crate) fn ed25519(public: [u8; 32]) -> Self {
        let mut keyval = Map::new();
        keyval.insert("public".to_owned(), hex::encode(public).into());
        Self {
            keytype: "ed25519".to_owned(),
            scheme: "ed25519".to_owned(),
            keyval,
            more: Map::new(),
        }
    }

    /// If this key made `signature` over `message`: what the key is, so that one key under two ids counts once.
    fn verifies(&self, message: &[u8], signature: &[u8]) -> Option<Vec<u8>> {
        let public = self.keyval.get("public")?.as_str()?;
        scheme::verified_by(&self.keytype, &self.scheme, public, message, signature)
    }
}

/// Which keys speak for a role, and how many of them must.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoleKeys {
    pub(crate) keyids: Vec<String>,
    pub(crate) threshold: NonZeroU32,
}

/// A role seen from the role above it, which names its keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delegator<'a> {
    pub(crate) keys: &'a BTreeMap<String, Key>,
    pub(crate) role: &'a RoleKeys,
}

impl Delegator<'_> {
    /// Whether enough distinct keys of the role signed (TUF 1.0.x section 5.3.4 and its like).
    ///
    /// # Errors
    /// [`TrustError::Signatures`], naming `role`.
    pub(crate) fn verify(&self, role: &str, signed: &Signed) -> Result<(), TrustError> {
        let (valid, unknown) = self.count(signed);
        let threshold = self.role.threshold.get();
        if valid as u64 >= u64::from(threshold) {
            return Ok(());
        }
        Err(TrustError::Signatures {
            role: role.to_owned(),
            valid,
            threshold,
            unknown,
        })
    }

    /// How many distinct keys of the role signed, and how many signatures are by keys that do not speak for it.
    pub(crate) fn count(&self, signed: &Signed) -> (usize, usize) {
        let mut by = BTreeSet::new();
        let mut unknown = 0;
        for (keyid, signature) in &signed.signatures {
            let key = self.keys.get(keyid).filter(|_| self.role.keyids.contains(keyid));
            match key {
                Some(key) => by.extend(key.verifies(&signed.message, signature)),
                None => unknown += 1,
            }
        }
        (by.len(), unknown)
    }

    /// The keys that speak for the role, in an order that depends on nothing else.
    pub(crate) fn key_set(&self) -> BTreeMap<&str, &Key> {
        self.role
            .keyids
            .iter()
            .filter_map(|id| Some((id.as_str(), self.keys.get(id)?)))
            .collect()
    }
}
