//! A secret key with its certificate: in a PEM file, on a PKCS #11 token, or where this program never is.

use std::fmt;
use std::fs;
use std::path::Path;

use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};

use super::Certificate;
use super::elsewhere::Elsewhere;
use super::token::Token;
use crate::bounded;
use crate::error::{Doing, Error, Result};

/// The longest key file, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// A secret RSA key.
pub enum Key {
    /// In memory, from a PEM file.
    File(Box<RsaKeyPair>),
    /// On a token, which does not let it out.
    Token(Token),
    /// Out of reach: signatures come as files.
    Elsewhere(Elsewhere),
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File(_) => "Key::File",
            Self::Token(_) => "Key::Token",
            Self::Elsewhere(_) => "Key::Elsewhere",
        })
    }
}

/// A key with the certificate that names it.
#[derive(Debug)]
pub struct Identity {
    /// The certificate.
    pub certificate: Certificate,
    key: Key,
}

impl Identity {
    /// Opens the key `name` of `folder`: `NAME.crt` with `NAME.key` (PEM), or with `NAME.uri` (the PKCS #11 URI of a key on a
    /// token). Nothing when the folder has no such key.
    ///
    /// # Errors
    /// The files cannot be read; key and certificate do not belong together.
    pub fn open(folder: &Path, name: &str) -> Result<Option<Self>> {
        let file = |ending: &str| folder.join(format!("{name}.{ending}"));
        let (pem, uri) = (file("key"), file("uri"));
        let key = if pem.exists() {
            Key::File(Box::new(read(&pem)?))
        } else if uri.exists() {
            let text = fs::read_to_string(&uri).doing("read", &uri)?;
            Key::Token(Token::open(text.trim())?)
        } else {
            return Ok(None);
        };
        let identity = Self {
            certificate: Certificate::read(&file("crt"))?,
            key,
        };
        identity.sign(b"twinhull: do this key and this certificate belong together?")?;
        Ok(Some(identity))
    }

    /// The key `name`, of which `folder` has nothing but the certificate. What it is to sign goes to the folder `signatures`, and
    /// the signature is taken from there.
    ///
    /// # Errors
    /// There is no certificate, or it cannot be read.
    pub fn elsewhere(folder: &Path, name: &str, signatures: &Path) -> Result<Self> {
        Ok(Self {
            certificate: Certificate::read(&folder.join(format!("{name}.crt")))?,
            key: Key::Elsewhere(Elsewhere::new(signatures, name)),
        })
    }

    /// Signs the sha256 of `message`, and verifies the result: a faulty signature never leaves, since it may tell the key.
    ///
    /// # Errors
    /// The token refuses; the key is not that of the certificate. [`Error::Unsigned`]: somebody else has yet to sign it.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let signature = match &self.key {
            Key::File(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
                    .map_err(|_| Error::Content("the key cannot sign".into()))?;
                signature
            }
            Key::Token(token) => token.sign(message)?,
            Key::Elsewhere(folder) => folder.signature(message)?,
        };
        if self.certificate.verifies(message, &signature) {
            Ok(signature)
        } else {
            Err(Error::Usage(format!(
                "the secret key for \"{}\" is not the one of its certificate, or signed something else",
                self.certificate.subject()
            )))
        }
    }
}

fn read(path: &Path) -> Result<RsaKeyPair> {
    // What is wrong inside is not said: it may be part of a secret.
    let wrong = || {
        Error::Usage(format!(
            "{} is no RSA key of at least 2048 bits in PEM (PKCS #8, \"BEGIN PRIVATE KEY\")",
            path.display()
        ))
    };
    let text = bounded::read(path, MAX_FILE).doing("read the key", path)?;
    let (label, der) = der::pem::decode_vec(&text).map_err(|_| wrong())?;
    if label != "PRIVATE KEY" {
        return Err(wrong());
    }
    RsaKeyPair::from_pkcs8(&der).map_err(|_| wrong())
}
