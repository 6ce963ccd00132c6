//! Signing apart from building: what is to be signed goes out as a file, and the signature comes back as one.
//!
//! `ROLE-DIGEST.tbs` is the message; `ROLE-DIGEST.sig` its signature, RSA with PKCS #1 v1.5 padding over its SHA-256, as
//! `openssl dgst -sha256 -sign` writes it. DIGEST is that of the message, so a signature of another build is never taken for
//! this one's.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{Doing, Error, Result};

/// The longest signature, in bytes: that of an RSA key of 8192 bits.
const MAX_SIGNATURE: u64 = 1024;

/// What the name of a message ends with, and that of its signature.
const MESSAGE: &str = "tbs";
const SIGNATURE: &str = "sig";

/// The longest message that is signed, in bytes: a root hash, or the attributes of an EFI program's signature.
const MAX_MESSAGE: u64 = 4096;

/// Where messages go and signatures are found.
#[derive(Debug)]
pub struct Elsewhere {
    folder: PathBuf,
    role: String,
}

impl Elsewhere {
    /// The folder `folder`, made when something goes there, for the key that is called `role`.
    pub(super) fn new(folder: &Path, role: &str) -> Self {
        Self {
            folder: folder.to_owned(),
            role: role.to_owned(),
        }
    }

    /// The signature of `message`, which the caller verifies.
    ///
    /// # Errors
    /// [`Error::Unsigned`] when there is none; then the message is there to be signed.
    pub(super) fn signature(&self, message: &[u8]) -> Result<Vec<u8>> {
        let name = format!("{}-{}", self.role, hex::encode(&Sha256::digest(message)[..8]));
        let signature = self.folder.join(format!("{name}.{SIGNATURE}"));
        if !signature.exists() {
            fs::create_dir_all(&self.folder).doing("make the folder", &self.folder)?;
            let path = self.folder.join(format!("{name}.{MESSAGE}"));
            twinhull_durable::replace(&path, message, 0o644)?;
            return Err(Error::Unsigned {
                missing: vec![(path, self.role.clone())],
            });
        }
        let mut bytes = Vec::new();
        let file = fs::File::open(&signature).doing("read the signature", &signature)?;
        (file.take(MAX_SIGNATURE).read_to_end(&mut bytes)).doing("read the signature", &signature)?;
        Ok(bytes)
    }
}

/// The messages in `folder` that have no signature yet, each with the name of the key that is to sign it.
///
/// # Errors
/// The folder cannot be read; a message in it is none.
pub fn pending(folder: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).doing("list", folder)? {
        let path = entry.doing("list", folder)?.path();
        if path.extension().is_none_or(|ending| ending != MESSAGE) || path.with_extension(SIGNATURE).exists() {
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let role = name.rsplit_once('-').map_or("", |(role, _)| role);
        let size = path.metadata().doing("look at", &path)?.len();
        if size > MAX_MESSAGE || role.is_empty() || role.contains('.') {
            return Err(Error::Content(format!(
                "{} is nothing that a build asks to sign",
                path.display()
            )));
        }
        found.push((path, role.to_owned()));
    }
    found.sort_unstable();
    Ok(found)
}

/// Signs the message in `path` and writes the signature beside it.
///
/// # Errors
/// The key cannot sign; files cannot be read or written.
pub fn sign(path: &Path, identity: &super::Identity) -> Result<()> {
    let message = fs::read(path).doing("read", path)?;
    let signature = identity.sign(&message)?;
    twinhull_durable::replace(&path.with_extension(SIGNATURE), &signature, 0o644)?;
    Ok(())
}
