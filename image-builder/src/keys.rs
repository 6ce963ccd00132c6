//! The folder of keys: made once, then read by every build.
//!
//! | file | what it is | where it belongs |
//! |---|---|---|
//! | `PK`, `KEK` | may change what firmware trusts | offline, once the enrolment files are made |
//! | `db` | signs boot loader and kernel image | where images are built |
//! | `verity` | signs root hashes | where images are built |
//! | `enrol/*.auth` | puts the first three into firmware | public |
//! | `ROLE-N.json` | keys of the release repository | see `docs/trust.md` |
//!
//! Each secret is `NAME.key` (PEM) or `NAME.uri` (the PKCS #11 URI of a key on a token), with its certificate in `NAME.crt`.

mod init;

use std::fs;
use std::path::{Path, PathBuf};

use crate::bounded;
use crate::error::{Doing, Error, Result};
use crate::sign::{Identity, authenticode, elsewhere};
pub use init::{Made, init};

/// The platform key.
pub const PLATFORM: &str = "PK";
/// The key exchange key.
pub const EXCHANGE: &str = "KEK";
/// The key that signs EFI programs.
pub const DATABASE: &str = "db";
/// The key that signs root hashes.
pub const VERITY: &str = "verity";

/// The folder of enrolment files.
const ENROLMENT: &str = "enrol";

/// The longest enrolment file, in bytes.
const MAX_ENROLMENT: u64 = 64 * 1024;

/// What a build signs with.
#[derive(Debug)]
pub struct BuildKeys {
    /// Signs EFI programs.
    pub database: Identity,
    /// Signs root hashes.
    pub verity: Identity,
    /// Name and content of the files that enrol the keys: all three or none.
    pub enrolment: Vec<(String, Vec<u8>)>,
}

impl BuildKeys {
    /// Opens the keys in `folder`. With the folder `signatures`, a key that is not there signs elsewhere; see
    /// [`Identity::elsewhere`].
    ///
    /// # Errors
    /// A key is missing, cannot be used, or does not belong to its certificate; only some enrolment files are there.
    pub fn open(folder: &Path, signatures: Option<&Path>) -> Result<Self> {
        let mut enrolment = Vec::new();
        for name in [PLATFORM, EXCHANGE, DATABASE] {
            let path = folder.join(ENROLMENT).join(format!("{name}.auth"));
            if !path.exists() {
                continue;
            }
            let content = bounded::read(&path, MAX_ENROLMENT).doing("read the enrolment file", &path)?;
            enrolment.push((format!("{name}.auth"), content));
        }
        if !matches!(enrolment.len(), 0 | 3) {
            return Err(Error::Usage(format!(
                "{} has only some of PK.auth, KEK.auth and db.auth; firmware that takes part of them is left half set up",
                folder.join(ENROLMENT).display()
            )));
        }
        Ok(Self {
            database: open_or_elsewhere(folder, DATABASE, signatures)?,
            verity: open_or_elsewhere(folder, VERITY, signatures)?,
            enrolment,
        })
    }
}

fn open_or_elsewhere(folder: &Path, name: &str, signatures: Option<&Path>) -> Result<Identity> {
    match (Identity::open(folder, name)?, signatures) {
        (Some(identity), _) => Ok(identity),
        (None, Some(signatures)) => Identity::elsewhere(folder, name, signatures),
        (None, None) => Err(absent(folder, name)),
    }
}

/// Signs the EFI program `program` with the key db of `folder`, writes it to `target` and returns who the signer is.
///
/// # Errors
/// The key is missing or cannot be used; the file is no EFI program; files cannot be read or written.
pub fn sign(folder: &Path, program: &Path, target: &Path) -> Result<String> {
    let database = open(folder, DATABASE)?;
    let pe = fs::read(program).doing("read", program)?;
    twinhull_durable::replace(target, &authenticode::sign(&pe, &database)?, 0o644)?;
    Ok(database.certificate.subject())
}

/// Signs what a build left to be signed in the folder `signatures`, with the keys that `folder` has. Returns the signatures made,
/// and the messages whose key is not here.
///
/// # Errors
/// Those of the keys and files; a message in the folder is none of a build.
pub fn sign_pending(folder: &Path, signatures: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut made, mut left) = (Vec::new(), Vec::new());
    for (path, role) in elsewhere::pending(signatures)? {
        match Identity::open(folder, &role)? {
            Some(identity) => {
                elsewhere::sign(&path, &identity)?;
                made.push(path.with_extension("sig"));
            }
            None => left.push(path),
        }
    }
    Ok((made, left))
}

fn open(folder: &Path, name: &str) -> Result<Identity> {
    Identity::open(folder, name)?.ok_or_else(|| absent(folder, name))
}

fn absent(folder: &Path, name: &str) -> Error {
    Error::Usage(format!(
        "{} has neither {name}.key nor {name}.uri; make keys with `twinhull keys init --keys {}`, or name a folder with --signatures for what is signed elsewhere",
        folder.display(),
        folder.display()
    ))
}
