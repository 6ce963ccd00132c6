//! A key that signs.

use std::fmt;

use ed25519_dalek::{Signer as _, SigningKey};

use super::RepositoryError;
use crate::metadata::Key;
use crate::{Hex32, canonical};

/// Something that signs with an ed25519 key: a key file, or a token that never gives its key away.
pub trait Signer: fmt::Debug + Send + Sync {
    /// The public half.
    fn public(&self) -> [u8; 32];

    /// Signs `message`.
    ///
    /// # Errors
    /// Why it cannot, for people.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], String>;
}

/// The key id of an ed25519 key: sha256 of the canonical form of its metadata, in hexadecimal (TUF 1.0.x section 4.2).
pub(super) fn key_id(public: [u8; 32]) -> String {
    let key = serde_json::json!(Key::ed25519(public));
    Hex32::sha256_of(&canonical::to_vec(&key).unwrap_or_default()).to_string()
}

impl Signer for SecretKey {
    fn public(&self) -> [u8; 32] {
        self.public()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], String> {
        Ok(self.sign(message))
    }
}

/// An ed25519 signing key. Its bytes are wiped when it is dropped, and never printed.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// A new key from the operating system's randomness.
    ///
    /// # Errors
    /// [`RepositoryError::NoRandomness`].
    pub fn generate() -> Result<Self, RepositoryError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| RepositoryError::NoRandomness { why: error.to_string() })?;
        Ok(Self::from_seed(seed))
    }

    /// The key of a 32-byte seed (RFC 8032 section 5.1.5).
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&seed))
    }

    /// The seed, for a key file.
    pub(super) fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public half.
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// The key id: sha256 of the canonical form of the public key's metadata, in hexadecimal (TUF 1.0.x section 4.2).
    pub fn id(&self) -> String {
        key_id(self.public())
    }

    /// Signs `message`; the same message gives the same signature.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.id())
    }
}
