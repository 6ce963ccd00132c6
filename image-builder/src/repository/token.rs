//! Keys of a repository on PKCS #11 tokens.

use std::path::{Path, PathBuf};

use twinhull_trust::{Signer, TokenKey};

use crate::error::{Error, Result};
use crate::publish::trust;
use crate::sign::token::Token;

/// A key that is reached only when it is to sign: a folder may describe keys whose tokens are in a safe.
#[derive(Debug)]
pub(super) struct OnToken(pub(super) TokenKey);

impl Signer for OnToken {
    fn public(&self) -> [u8; 32] {
        self.0.public.into()
    }

    fn sign(&self, message: &[u8]) -> std::result::Result<[u8; 64], String> {
        Token::open(&self.0.uri)
            .and_then(|token| token.sign_ed25519(message))
            .map_err(|error| error.to_string())
    }
}

/// Writes a file into `folder` that says that the key of `role` is the one that `uri` names. It must be able to sign.
///
/// # Errors
/// The token or the key is not there; it is no ed25519 key.
pub(super) fn describe(folder: &Path, role: &str, uri: &str) -> Result<(PathBuf, String)> {
    let public = Token::open(uri)?.public_ed25519()?;
    let key = TokenKey {
        role: role.to_owned(),
        public: public.into(),
        uri: uri.to_owned(),
    };
    let key = OnToken(key);
    key.sign(b"twinhull: can this key sign?").map_err(Error::Content)?;
    let path = key.0.save(folder).map_err(trust("describing the key"))?;
    Ok((path, key.0.id()))
}
