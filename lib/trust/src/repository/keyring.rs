//! Keys as files: `ROLE-N.json` in one folder, readable by their owner alone.
//!
//! A folder need not hold all keys: the host that renews the online roles has only theirs.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{RepositoryError, SecretKey, files};
use crate::{Hex32, json};

/// The longest key file, in bytes.
const MAX_KEY_FILE: u64 = 4096;

/// The most key files read from one folder.
const MAX_KEYS: usize = 1000;

/// The keys at hand, each with the role it was made for.
#[derive(Debug, Clone, Default)]
pub struct Keyring(Vec<(String, SecretKey)>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    keytype: String,
    role: String,
    public: Hex32,
    seed: Hex32,
}

impl Keyring {
    /// Reads all key files (`*.json`) in `folder`.
    ///
    /// # Errors
    /// The folder cannot be read; [`RepositoryError::KeyFile`] for any file that is not a key.
    pub fn load(folder: &Path) -> Result<Self, RepositoryError> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder).map_err(files::failed("read the keys in", folder))? {
            let path = entry.map_err(files::failed("read the keys in", folder))?.path();
            if path.extension().is_some_and(|extension| extension == "json") && paths.len() < MAX_KEYS {
                paths.push(path);
            }
        }
        paths.sort();
        paths.iter().map(|path| read(path)).collect::<Result<_, _>>().map(Self)
    }

    /// Adds a key, made for `role`.
    pub fn add(&mut self, role: &str, key: SecretKey) {
        self.0.push((role.to_owned(), key));
    }

    /// The keys made for `role`.
    pub fn of_role<'a>(&'a self, role: &'a str) -> impl Iterator<Item = &'a SecretKey> {
        self.0.iter().filter(move |(of, _)| of == role).map(|(_, key)| key)
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = &SecretKey> {
        self.0.iter().map(|(_, key)| key)
    }

    /// Writes every key that has no file yet into `folder`, mode 0600.
    ///
    /// # Errors
    /// The folder or a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), RepositoryError> {
        files::make_folder(folder)?;
        let there = Self::load(folder)?;
        for (role, key) in &self.0 {
            if there.keys().any(|known| known.public() == key.public()) {
                continue;
            }
            let mut number = 1;
            let mut path = folder.join(format!("{role}-{number}.json"));
            while path.exists() {
                number += 1;
                path = folder.join(format!("{role}-{number}.json"));
            }
            let file = KeyFile {
                keytype: "ed25519".to_owned(),
                role: role.clone(),
                public: key.public().into(),
                seed: key.seed().into(),
            };
            let bytes = serde_json::to_vec_pretty(&file).unwrap_or_default();
            twinhull_durable::replace(&path, &bytes, 0o600)?;
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<(String, SecretKey), RepositoryError> {
    let refused = |why: String| RepositoryError::KeyFile {
        path: path.to_owned(),
        why,
    };
    let bytes = files::read(path, MAX_KEY_FILE)?;
    // The parser's message may quote what it found, and that may be a secret: say only where.
    let bad = |error: serde_json::Error| refused(format!("it is not a key file (line {})", error.line()));
    let file: KeyFile = json::parse(&bytes).and_then(serde_json::from_value).map_err(bad)?;
    let key = SecretKey::from_seed(file.seed.into());
    if file.keytype != "ed25519" {
        return Err(refused("its type is not `ed25519`".to_owned()));
    }
    if key.public() != *file.public.as_bytes() {
        return Err(refused(
            "its two halves do not belong together: it is damaged".to_owned(),
        ));
    }
    Ok((file.role, key))
}
