//! X.509 certificates: as much of one as is needed to name a signer and to verify what it signed.

use std::path::Path;

use der::{Decode, DecodePem, Encode};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use sha2::{Digest, Sha256};

use crate::bounded;
use crate::error::{Doing, Error, Result};

/// The longest certificate file, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// A certificate with its encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    parsed: x509_cert::Certificate,
    der: Vec<u8>,
}

impl Certificate {
    /// Reads a PEM file.
    ///
    /// # Errors
    /// The file cannot be read or is no certificate.
    pub fn read(path: &Path) -> Result<Self> {
        let text = bounded::read(path, MAX_FILE).doing("read the certificate", path)?;
        let parsed = x509_cert::Certificate::from_pem(&text)
            .map_err(|error| Error::Content(format!("{} is no certificate in PEM: {error}", path.display())))?;
        Self::new(parsed)
    }

    /// Reads DER.
    ///
    /// # Errors
    /// It is no certificate.
    pub fn from_der(der: &[u8]) -> Result<Self> {
        let parsed = x509_cert::Certificate::from_der(der)
            .map_err(|error| Error::Content(format!("not a certificate: {error}")))?;
        Self::new(parsed)
    }

    pub(super) fn new(parsed: x509_cert::Certificate) -> Result<Self> {
        let der = parsed
            .to_der()
            .map_err(|error| Error::Content(format!("a certificate cannot be encoded: {error}")))?;
        Ok(Self { parsed, der })
    }

    /// The encoding.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Who it names, as "CN=Example db".
    pub fn subject(&self) -> String {
        self.parsed.tbs_certificate.subject.to_string()
    }

    /// The sha256 of its encoding, as 64 hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        hex::encode(Sha256::digest(&self.der))
    }

    /// Whether `signature` over `message` was made with the key of this certificate.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = &self.parsed.tbs_certificate.subject_public_key_info.subject_public_key;
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.raw_bytes())
            .verify(message, signature)
            .is_ok()
    }

    pub(super) fn parsed(&self) -> &x509_cert::Certificate {
        &self.parsed
    }
}
