//! The outside of every metadata file: a signed part and signatures over its canonical form.

use serde::Deserialize;
use serde_json::Value;

use super::{Delegator, Role};
use crate::{TrustError, canonical, json, name};

/// The most signatures one file may carry: each costs a verification.
const MAX_SIGNATURES: usize = 256;

/// A metadata file taken apart; nothing is verified yet.
#[derive(Debug)]
pub(crate) struct Signed {
    /// Key id and signature bytes, as listed.
    pub(crate) signatures: Vec<(String, Vec<u8>)>,
    /// The canonical form of the signed part.
    pub(crate) message: Vec<u8>,
    value: Value,
}

#[derive(Deserialize)]
struct Wire {
    signatures: Vec<WireSignature>,
    signed: Value,
}

#[derive(Deserialize)]
struct WireSignature {
    keyid: String,
    sig: String,
}

impl Signed {
    /// Takes apart the file of `role`.
    ///
    /// # Errors
    /// [`TrustError::Malformed`].
    pub(crate) fn parse(role: &str, bytes: &[u8]) -> Result<Self, TrustError> {
        Self::take_apart(bytes).map_err(|why| TrustError::Malformed {
            role: name::shorten(role),
            why,
        })
    }

    fn take_apart(bytes: &[u8]) -> Result<Self, String> {
        let value = json::parse(bytes).map_err(|error| error.to_string())?;
        let wire: Wire = serde_json::from_value(value).map_err(|error| error.to_string())?;
        if wire.signatures.len() > MAX_SIGNATURES {
            return Err(format!("it has more than {MAX_SIGNATURES} signatures"));
        }
        let message = canonical::to_vec(&wire.signed).map_err(|error| error.to_string())?;
        // A signature that is no hex text is a signature by nobody, not a reason to refuse the others.
        let signatures = wire
            .signatures
            .into_iter()
            .map(|one| (one.keyid, hex::decode(&one.sig).unwrap_or_default()))
            .collect();
        Ok(Self {
            signatures,
            message,
            value: wire.signed,
        })
    }

    /// The role inside, its own rules checked, whoever signed it.
    ///
    /// Only for what must be read to know whose signatures are needed: a new root names its own keys.
    pub(crate) fn unverified<R: Role>(&self, role: &str) -> Result<R, TrustError> {
        let malformed = |why| TrustError::Malformed {
            role: name::shorten(role),
            why,
        };
        let read: R = R::deserialize(&self.value).map_err(|error| malformed(error.to_string()))?;
        read.check().map_err(malformed)?;
        Ok(read)
    }
}

/// Opens the file of `role`: signatures first, then its content.
///
/// # Errors
/// [`TrustError::Malformed`], [`TrustError::Signatures`].
pub(crate) fn open<R: Role>(role: &str, bytes: &[u8], delegator: Delegator<'_>) -> Result<R, TrustError> {
    let signed = Signed::parse(role, bytes)?;
    delegator.verify(role, &signed)?;
    signed.unverified(role)
}
