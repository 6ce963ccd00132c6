//! The care of a repository's keys and signatures: rotate, sign, verify, refresh.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use twinhull_trust::{
    ChannelDocument, KeyChange, Keyring, Pending, PublicKey, Repository, SecretKey, fingerprint, sign_pending,
};

use super::token::{self, OnToken};

use crate::error::{Doing, Error, Result};
use crate::publish::trust;

/// The roles that have keys.
const ROLES: [&str; 6] = ["root", "targets", "releases", "channels", "snapshot", "timestamp"];

/// What came of a change of the repository.
#[derive(Debug)]
pub enum Outcome {
    /// It is published.
    Published,
    /// There was nothing to publish.
    Unchanged,
    /// It waits for these signatures.
    Waiting(Vec<Pending>),
}

/// Publishes the changes of `repository`, or leaves them in `pending/` for those who hold the offline keys.
///
/// # Errors
/// Keys of online roles are missing; files cannot be written.
pub fn publish_or_stage(repository: &mut Repository) -> Result<Outcome> {
    if repository.lacks_offline_keys() {
        let staged = repository.stage().map_err(trust("leaving the change for signatures"))?;
        return Ok(Outcome::Waiting(staged));
    }
    let published = repository.commit().map_err(trust("signing the repository"))?;
    Ok(if published {
        Outcome::Published
    } else {
        Outcome::Unchanged
    })
}

/// Gives a role other keys. `add` are key files, `remove` key ids.
///
/// # Errors
/// There is no such role or key; too few keys would be left; something waits for signatures already.
pub fn rotate(
    folder: &Path,
    keys: &Keyring,
    role: &str,
    add: &[PathBuf],
    remove: Vec<String>,
    threshold: Option<u32>,
) -> Result<Outcome> {
    let add = add
        .iter()
        .map(|path| PublicKey::read(path))
        .collect::<std::result::Result<_, _>>();
    let change = KeyChange {
        add: add.map_err(trust("reading the new key"))?,
        remove,
        threshold,
    };
    let mut repository = Repository::open(folder, keys).map_err(trust("opening the repository"))?;
    repository.rotate(role, &change).map_err(trust("changing the keys"))?;
    publish_or_stage(&mut repository)
}

/// What is still to come.
#[derive(Debug)]
pub struct Waiting {
    /// What waits for signatures.
    pub roles: Vec<Pending>,
    /// Channels that will be so when the releases they offer are published.
    pub channels: Vec<ChannelDocument>,
}

/// Publishes what waits and has all its signatures, and signs the online roles anew. Needs no offline key.
///
/// # Errors
/// The keys of channels, snapshot or timestamp are missing; a pending file is not what it should be.
pub fn refresh(folder: &Path, keys: &Keyring) -> Result<Waiting> {
    let mut repository = Repository::open(folder, keys).map_err(trust("opening the repository"))?;
    let roles = repository
        .take_pending()
        .map_err(trust("reading what waits for signatures"))?;
    repository.renew_online();
    repository.commit().map_err(trust("signing the repository"))?;
    let channels = channels(&repository)?;
    Ok(Waiting { roles, channels })
}

fn channels(repository: &Repository) -> Result<Vec<ChannelDocument>> {
    repository
        .pending_channels()
        .map_err(trust("reading the channels that wait"))
}

/// A pending file and the signatures it was given.
#[derive(Debug)]
pub struct Signed {
    /// Its role.
    pub role: String,
    /// How many signatures were added.
    pub added: usize,
    /// The sha256 of what was signed.
    pub fingerprint: String,
}

/// Adds a signature to each pending file, with the keys made for its role.
///
/// # Errors
/// A file is not the metadata that its name says; a key that cannot sign.
pub fn sign(files: &[PathBuf], keys: &Keyring) -> Result<Vec<Signed>> {
    let mut signed = Vec::new();
    for path in files {
        let role = path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default();
        let fingerprint = fingerprint(path, &role).map_err(trust("signing"))?;
        let added = sign_pending(path, &role, keys).map_err(trust("signing"))?;
        signed.push(Signed {
            role,
            added,
            fingerprint,
        });
    }
    Ok(signed)
}

/// The pending files of a repository.
///
/// # Errors
/// The folder cannot be read.
pub fn pending_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let pending = folder.join("pending");
    if !pending.is_dir() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in pending.read_dir().doing("read", &pending)? {
        let path = entry.doing("read", &pending)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// What waits for signatures, after everything that is published was verified.
///
/// # Errors
/// The repository or a pending file does not verify.
pub fn verify(folder: &Path) -> Result<Waiting> {
    let repository = Repository::open(folder, &Keyring::default()).map_err(trust("verifying the repository"))?;
    let roles = repository
        .pending_files()
        .map_err(trust("reading what waits for signatures"))?;
    let channels = channels(&repository)?;
    Ok(Waiting { roles, channels })
}

/// The keys of a folder.
///
/// # Errors
/// A key file cannot be used. Tokens are reached when they are to sign.
pub fn load(folder: &Path) -> Result<Keyring> {
    Keyring::load(folder)
        .map(with_tokens)
        .map_err(trust("reading the keys"))
}

/// The same keys, with those on tokens able to sign.
pub(super) fn with_tokens(mut keys: Keyring) -> Keyring {
    for key in keys.token_keys().to_vec() {
        keys.add_signer(Arc::new(OnToken(key)));
    }
    keys
}

/// Makes a key for `role` in `folder`, or describes the one that a PKCS #11 URI names. Returns its file and its id. Nothing
/// trusts it before it is added to the role.
///
/// # Errors
/// There is no such role; the file cannot be written; the token does not sign.
pub fn new_key(folder: &Path, role: &str, token: Option<&str>) -> Result<(PathBuf, String)> {
    if !ROLES.contains(&role) {
        return Err(Error::Usage(format!(
            "there is no role `{role}`; the roles are {}",
            ROLES.join(", ")
        )));
    }
    if let Some(uri) = token {
        return token::describe(folder, role, uri);
    }
    let made = SecretKey::generate().and_then(|key| Ok((key.save(role, folder)?, key.id())));
    made.map_err(trust("making the key"))
}

/// One line for each pending file.
pub fn to_text(pending: &[Pending]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for one in pending {
        let _ = write!(
            text,
            "pending {} version {}: {} of {} signatures",
            one.role, one.version, one.signed, one.threshold
        );
        if let Some((have, threshold)) = one.before {
            let _ = write!(text, ", {have} of {threshold} of the root before");
        }
        let missing = match one.missing() {
            0 => "complete: `twinhull repo refresh` publishes it".to_owned(),
            missing => format!("{missing} missing"),
        };
        let _ = writeln!(text, "; {missing}\n  fingerprint {}", one.fingerprint);
    }
    text
}

impl Waiting {
    /// One line for each file and channel.
    pub fn to_text(&self) -> String {
        use std::fmt::Write as _;
        let mut text = to_text(&self.roles);
        for channel in &self.channels {
            let offers: Vec<String> = channel
                .releases
                .iter()
                .map(|(arch, version)| format!("{version} for {arch}"))
                .collect();
            let _ = writeln!(
                text,
                "pending channel {} of {}: {}, when that is published",
                channel.channel,
                channel.product,
                offers.join(", ")
            );
        }
        text
    }
}

/// Refuses a folder without pending files.
///
/// # Errors
/// It is empty.
pub fn some(files: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    if files.is_empty() {
        return Err(Error::Usage("nothing waits for a signature".to_owned()));
    }
    Ok(files)
}
