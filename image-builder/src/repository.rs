//! Making a release repository, and showing what is in one.

pub mod keys;
mod token;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use twinhull_trust::{ChannelDocument, Keyring, Repository, Setup, SystemClock};

use crate::error::{Doing, Error, Result};
use crate::publish::trust;

/// The longest metadata file that is shown, in bytes.
const MAX_METADATA: u64 = 64 << 20;

/// Makes a repository and its keys, and returns the file that hosts are to trust from the start.
///
/// # Errors
/// There is a repository already; files cannot be written.
pub fn init(folder: &Path, keys: &Path) -> Result<PathBuf> {
    init_with(folder, keys, &Setup::default())
}

/// As [`init`], with other thresholds and lifetimes.
///
/// # Errors
/// As [`init`].
pub fn init_with(folder: &Path, keys: &Path, setup: &Setup) -> Result<PathBuf> {
    let made = Repository::init_with(folder, keys, setup, &SystemClock, keys::with_tokens);
    let made = made.map_err(trust("making the repository"))?;
    Ok(made.trusted_root())
}

/// What a repository offers.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The names of the published releases.
    pub releases: Vec<String>,
    /// What each channel offers.
    pub channels: Vec<ChannelDocument>,
    /// Each role with the version of its metadata and the time at which hosts stop to accept it.
    pub roles: BTreeMap<String, Role>,
}

/// The metadata of one role.
#[derive(Debug, Serialize)]
pub struct Role {
    /// Its version.
    pub version: u64,
    /// When it expires.
    pub expires: Timestamp,
}

/// Reads a repository, verifying every signature in it.
///
/// # Errors
/// It cannot be read or does not verify.
pub fn status(folder: &Path) -> Result<Status> {
    let repository = Repository::open(folder, &Keyring::default()).map_err(trust("reading the repository"))?;
    let metadata = folder.join("metadata");
    let mut roles = BTreeMap::new();
    let mut channels = Vec::new();
    let mut files = vec![
        ("root".to_owned(), "root.json".to_owned()),
        ("timestamp".to_owned(), "timestamp.json".to_owned()),
    ];
    // Each file names those below it with their versions.
    while let Some((role, name)) = files.pop() {
        let path = metadata.join(&name);
        let signed = signed(&path)?;
        let version = signed["version"].as_u64();
        let expires = signed["expires"].as_str().and_then(|text| text.parse().ok());
        let (Some(version), Some(expires)) = (version, expires) else {
            return Err(Error::Content(format!(
                "{} names no version or no time to expire",
                path.display()
            )));
        };
        for (listed, record) in signed["meta"].as_object().into_iter().flatten() {
            if let (Some(role), Some(version)) = (listed.strip_suffix(".json"), record["version"].as_u64())
                && !roles.contains_key(role)
            {
                files.push((role.to_owned(), format!("{version}.{listed}")));
            }
        }
        if role == "channels" {
            for target in signed["targets"]
                .as_object()
                .into_iter()
                .flat_map(|targets| targets.keys())
            {
                channels.extend(channel(&repository, target)?);
            }
        }
        roles.insert(role, Role { version, expires });
    }
    let releases = repository.releases().map(str::to_owned).collect();
    Ok(Status {
        releases,
        channels,
        roles,
    })
}

fn channel(repository: &Repository, target: &str) -> Result<Option<ChannelDocument>> {
    let mut parts = target.split('/').skip(1);
    let (Some(Ok(product)), Some(Some(name))) = (
        parts.next().map(str::parse),
        parts.next().map(|name| name.strip_suffix(".json")),
    ) else {
        return Ok(None);
    };
    repository.channel(&product, name).map_err(trust("reading a channel"))
}

fn signed(path: &Path) -> Result<Value> {
    let size = path.metadata().doing("read", path)?.len();
    if size > MAX_METADATA {
        return Err(Error::Content(format!(
            "{} has {size} bytes and is no metadata",
            path.display()
        )));
    }
    let bytes = fs::read(path).doing("read", path)?;
    let mut value: Value = serde_json::from_slice(&bytes)
        .map_err(|error| Error::Content(format!("{} is no JSON: {error}", path.display())))?;
    Ok(value["signed"].take())
}

impl Status {
    /// The lines for a person; `now` decides what has expired.
    pub fn to_text(&self, now: Timestamp) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        for channel in &self.channels {
            text.push_str(&crate::channel::to_text(channel));
        }
        for release in &self.releases {
            let _ = writeln!(text, "release {release}");
        }
        for (name, role) in &self.roles {
            let days = role.expires.duration_since(now).as_hours() / 24;
            let left = if role.expires <= now {
                "expired".to_owned()
            } else {
                format!("{days} days left")
            };
            let _ = writeln!(text, "role    {name:<10} version {:<5} {left}", role.version);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_repository_is_empty_and_fresh() {
        let folder = tempfile::tempdir().unwrap();
        let repository = folder.path().join("site");
        let root = init(&repository, &folder.path().join("keys")).unwrap();
        assert!(root.is_file());
        let status = status(&repository).unwrap();
        assert_eq!(
            status.roles.keys().collect::<Vec<_>>(),
            ["channels", "releases", "root", "snapshot", "targets", "timestamp"]
        );
        let text = status.to_text(Timestamp::now());
        assert!(text.contains("timestamp  version 1     6 days left"), "{text}");
        assert!(!text.contains("expired"));
    }

    #[test]
    fn repository_is_never_made_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let (repository, keys) = (folder.path().join("site"), folder.path().join("keys"));
        init(&repository, &keys).unwrap();
        assert!(
            init(&repository, &keys)
                .unwrap_err()
                .to_string()
                .starts_with("making the repository: ")
        );
    }
}
