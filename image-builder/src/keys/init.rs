//! Makes a folder of keys. What is there already stays as it is.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use twinhull_trust::{Keyring, Setup};
use uuid::Uuid;

use super::{DATABASE, ENROLMENT, EXCHANGE, PLATFORM, VERITY};
use crate::error::{Doing, Error, Result};
use crate::publish::trust;
use crate::sign::Identity;
use crate::sign::enrolment::{self, Variable};
use crate::tools::{Log, openssl};

/// What was made.
#[derive(Debug)]
pub struct Made {
    /// The folder.
    pub folder: PathBuf,
    /// The names of the new keys.
    pub keys: Vec<&'static str>,
}

impl Made {
    /// What to do with what was made, for a person.
    pub fn to_text(&self) -> String {
        let what = if self.keys.is_empty() {
            "nothing was missing".to_owned()
        } else {
            format!("made {}", self.keys.join(", "))
        };
        format!(
            "{what} in {folder}\n\
             offline    PK.key KEK.key                      who has them decides what your machines boot\n\
             offline    root-*.json targets-*.json releases-*.json   who has them decides what a release is\n\
             build host db.key verity.key                   sign boot loader, kernel image and root hash\n\
             web side   channels-*.json snapshot-*.json timestamp-*.json   offer signed releases\n\
             public     *.crt enrol/*.auth                  go onto every image\n\
             keep copies of the offline ones on two media in two places, then remove them here\n\
             next: twinhull build DEFINITION --keys {folder} ...\n",
            folder = self.folder.display()
        )
    }
}

/// Completes the keys in `folder`; `name` is who the certificates name, as "Example Ltd".
///
/// # Errors
/// The name cannot stand in a certificate; others than its owner can enter or read the folder; openssl is missing or fails; files cannot be written.
pub fn init(folder: &Path, name: &str) -> Result<Made> {
    let plain = |c: char| c.is_alphanumeric() || " .-_()".contains(c);
    if name.is_empty() || name.chars().count() > 40 || !name.chars().all(plain) {
        return Err(Error::Usage(format!(
            "--name {name}: 1 to 40 letters, digits, blanks and .-_() can stand in a certificate"
        )));
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .doing("make the folder", folder)?;
    // It may have been there before. Not changed here: it may be a folder that others need, named by mistake.
    let rights = folder.metadata().doing("look at", folder)?.permissions().mode() & 0o777;
    if rights & 0o077 != 0 {
        return Err(Error::Usage(format!(
            "{} can be entered or read by others than its owner (mode {rights:04o}), and keys are to go there: chmod 0700 {}, or name another folder",
            folder.display(),
            folder.display()
        )));
    }
    let log = folder.join(".openssl.log");
    let made = complete(&Log::create(&log)?, folder, name)?;
    fs::remove_file(&log).doing("remove", &log)?;
    Ok(made)
}

fn complete(log: &Log, folder: &Path, name: &str) -> Result<Made> {
    let mut keys = Vec::new();
    for key in [PLATFORM, EXCHANGE, DATABASE, VERITY] {
        let file = |ending: &str| folder.join(format!("{key}.{ending}"));
        // A certificate without its key: the key is offline, where it belongs.
        if file("crt").exists() {
            continue;
        }
        let secret = file("key");
        if file("uri").exists() {
            return Err(Error::Usage(format!(
                "{} names a key on a token, and its certificate {} is missing: put it there",
                file("uri").display(),
                file("crt").display()
            )));
        }
        if !secret.exists() {
            openssl::key(log, &secret)?;
        }
        openssl::certificate(log, &secret, &file("crt"), &format!("{name} {key}"))?;
        keys.push(key);
    }
    enrol(folder)?;
    Keyring::complete(folder, &Setup::default()).map_err(trust("making the keys of the release repository"))?;
    Ok(Made {
        folder: folder.to_owned(),
        keys,
    })
}

/// Writes the enrolment files, unless they are there: later the keys for it are offline.
fn enrol(folder: &Path) -> Result<()> {
    let target = folder.join(ENROLMENT);
    if target.exists() {
        return Ok(());
    }
    let open = |name: &str| {
        Identity::open(folder, name)?
            .ok_or_else(|| Error::Usage(format!("{} lacks the secret key of {name}", folder.display())))
    };
    let (platform, exchange, database) = (open(PLATFORM)?, open(EXCHANGE)?, open(DATABASE)?);
    let owner = Uuid::new_v4();
    let now = Timestamp::now();
    let work = folder.join(".enrol");
    if work.exists() {
        fs::remove_dir_all(&work).doing("remove the left-over", &work)?;
    }
    fs::create_dir(&work).doing("make the folder", &work)?;
    for (variable, certificate, signer) in [
        (Variable::PlatformKey, &platform.certificate, &platform),
        (Variable::KeyExchangeKey, &exchange.certificate, &platform),
        (Variable::Database, &database.certificate, &exchange),
    ] {
        let path = work.join(format!("{}.auth", variable.name()));
        let bytes = enrolment::file(variable, certificate, owner, signer, now)?;
        twinhull_durable::replace(&path, &bytes, 0o644)?;
    }
    fs::rename(&work, &target).doing("move into place", &target)
}
