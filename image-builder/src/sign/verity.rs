//! The signed root hash, as systemd keeps it in a partition of its own beside each root.
//!
//! Specification: Discoverable Partitions Specification (UAPI.2), "verity signature partition": a JSON object, padded with NUL.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use twinhull_layout::RootHash;

use super::cms::{DATA, Statement, signer, unwrapped, wrapped};
use super::{Certificate, Identity};
use crate::error::{Error, Result};

/// The content of the partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Signature {
    /// The root hash that is signed.
    pub root_hash: RootHash,
    /// The sha256 of the signer's certificate, as 64 hexadecimal digits.
    pub certificate_fingerprint: String,
    /// A detached PKCS #7 signature over the root hash in hexadecimal, in base64.
    pub signature: String,
}

impl Signature {
    /// Signs `root_hash`.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn sign(root_hash: &RootHash, identity: &Identity) -> Result<Self> {
        let signature = identity.sign(root_hash.to_string().as_bytes())?;
        let statement = Statement {
            content_type: DATA,
            content: None,
            attributes: None,
            signer: &identity.certificate,
            with_certificate: false,
        };
        Ok(Self {
            root_hash: *root_hash,
            certificate_fingerprint: identity.certificate.fingerprint(),
            signature: STANDARD.encode(wrapped(&statement.signed(signature)?)?),
        })
    }

    /// Reads the content of the partition; nothing when it is blank.
    ///
    /// # Errors
    /// It is not blank and no signature.
    pub fn parse(partition: &[u8]) -> Result<Option<Self>> {
        let end = partition.iter().position(|byte| *byte == 0).unwrap_or(partition.len());
        if end == 0 {
            return Ok(None);
        }
        serde_json::from_slice(&partition[..end])
            .map(Some)
            .map_err(|error| Error::Content(format!("the signature partition holds no signed root hash: {error}")))
    }

    /// The text of the partition, without the padding.
    ///
    /// # Errors
    /// None that is known.
    pub fn to_text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| Error::Content(format!("cannot write a signed root hash: {error}")))
    }

    /// Verifies that `certificate` signed this root hash.
    ///
    /// # Errors
    /// It did not.
    pub fn verify(&self, certificate: &Certificate) -> Result<()> {
        let wrong = |what: &str| {
            Err(Error::Content(format!(
                "the signature of the root hash does not hold: {what}"
            )))
        };
        if self.certificate_fingerprint != certificate.fingerprint() {
            return wrong("another certificate is named as its signer");
        }
        let Ok(bytes) = STANDARD.decode(&self.signature) else {
            return wrong("it is no base64");
        };
        let data = unwrapped(&bytes)?;
        let (info, _) = signer(&data)?;
        if info.signed_attrs.is_some()
            || !certificate.verifies(self.root_hash.to_string().as_bytes(), info.signature.as_bytes())
        {
            return wrong("it was not made with the key of the certificate");
        }
        Ok(())
    }
}
