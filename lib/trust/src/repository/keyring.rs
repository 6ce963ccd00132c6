//! Keys as files: `ROLE-N.json` in one folder, readable by their owner alone.
//!
//! A folder need not hold all keys: the host that renews the online roles has only theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::secret::key_id;
use super::{RepositoryError, SecretKey, Signer, files};
use crate::{Hex32, json};

/// The longest key file, in bytes.
const MAX_KEY_FILE: u64 = 4096;

/// The most key files read from one folder.
const MAX_KEYS: usize = 1000;

/// The keys at hand, each with the role it was made for.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    files: Vec<(String, SecretKey)>,
    tokens: Vec<TokenKey>,
    others: Vec<Arc<dyn Signer>>,
}

/// A key on a PKCS#11 token: the file says where, the token signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenKey {
    /// The role it was made for.
    pub role: String,
    /// The public half.
    pub public: Hex32,
    /// Where it is, as a PKCS #11 URI (RFC 7512).
    pub uri: String,
}

/// The public half of a key, and the role it was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// The role.
    pub role: String,
    /// The key.
    pub public: Hex32,
}

impl PublicKey {
    /// Reads it from a key file of any kind: with the secret half, without, or on a token.
    ///
    /// # Errors
    /// [`RepositoryError::KeyFile`].
    pub fn read(path: &Path) -> Result<Self, RepositoryError> {
        let KeyFile { role, public, .. } = parse(path)?;
        Ok(Self { role, public })
    }

    /// The key id in metadata.
    pub fn id(&self) -> String {
        key_id(self.public.into())
    }
}

/// A key file as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyFile {
    keytype: String,
    role: String,
    public: Hex32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seed: Option<Hex32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pkcs11: Option<String>,
}

impl KeyFile {
    /// Writes it into `folder` under the next number that is free for its role.
    fn write(&self, folder: &Path) -> Result<PathBuf, RepositoryError> {
        let role = &self.role;
        let mut number = 1;
        let mut path = folder.join(format!("{role}-{number}.json"));
        while path.exists() {
            number += 1;
            path = folder.join(format!("{role}-{number}.json"));
        }
        let bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        twinhull_durable::replace(&path, &bytes, if self.seed.is_some() { 0o600 } else { 0o644 })?;
        Ok(path)
    }
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
        let mut keys = Self::default();
        for path in paths {
            keys.read(&path)?;
        }
        Ok(keys)
    }

    /// The keys that are on tokens: who can reach these adds them with [`Keyring::add_signer`].
    pub fn token_keys(&self) -> &[TokenKey] {
        &self.tokens
    }

    /// Adds something else that signs.
    pub fn add_signer(&mut self, signer: Arc<dyn Signer>) {
        self.others.push(signer);
    }

    /// The public halves of the keys made for `role`, on tokens or not.
    pub(super) fn public_of(&self, role: &str) -> Vec<[u8; 32]> {
        let tokens = self.tokens.iter().filter(|key| key.role == role);
        self.of_role(role)
            .map(SecretKey::public)
            .chain(tokens.map(|key| key.public.into()))
            .collect()
    }

    /// The ids of the keys made for `role`, on tokens or not.
    pub(super) fn ids_of(&self, role: &str) -> Vec<String> {
        self.public_of(role).into_iter().map(key_id).collect()
    }

    /// The signatures over `message` of every key at hand whose id is in `wanted`, by id.
    pub(super) fn sign(
        &self,
        message: &[u8],
        wanted: &BTreeSet<&str>,
    ) -> Result<BTreeMap<String, String>, RepositoryError> {
        let files = self.files.iter().map(|(_, key)| key as &dyn Signer);
        let others = self.others.iter().map(AsRef::as_ref);
        let mut signatures = BTreeMap::new();
        for signer in files.chain(others) {
            let id = key_id(signer.public());
            if wanted.contains(id.as_str()) {
                let signature = signer
                    .sign(message)
                    .map_err(|why| RepositoryError::Signer { key: id.clone(), why })?;
                signatures.insert(id, hex::encode(signature));
            }
        }
        Ok(signatures)
    }

    /// Adds a key, made for `role`.
    pub fn add(&mut self, role: &str, key: SecretKey) {
        self.files.push((role.to_owned(), key));
    }

    /// The keys made for `role`.
    pub fn of_role<'a>(&'a self, role: &'a str) -> impl Iterator<Item = &'a SecretKey> + use<'a> {
        self.files.iter().filter(move |(of, _)| of == role).map(|(_, key)| key)
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = &SecretKey> {
        self.files.iter().map(|(_, key)| key)
    }

    /// Writes every key that has no file yet into `folder`, mode 0600.
    ///
    /// # Errors
    /// The folder or a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), RepositoryError> {
        files::make_folder(folder)?;
        let there = Self::load(folder)?;
        for (role, key) in &self.files {
            if there.keys().any(|known| known.public() == key.public()) {
                continue;
            }
            key.save(role, folder)?;
        }
        Ok(())
    }
}

impl SecretKey {
    /// Writes the key, made for `role`, into a new file of `folder`, mode 0600.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, role: &str, folder: &Path) -> Result<PathBuf, RepositoryError> {
        let file = KeyFile {
            keytype: "ed25519".to_owned(),
            role: role.to_owned(),
            public: self.public().into(),
            seed: Some(self.seed().into()),
            pkcs11: None,
        };
        file.write(folder)
    }
}

impl Keyring {
    fn read(&mut self, path: &Path) -> Result<(), RepositoryError> {
        let file = parse(path)?;
        match (file.seed, file.pkcs11) {
            (Some(seed), _) => self.files.push((file.role, SecretKey::from_seed(seed.into()))),
            (None, Some(uri)) => self.tokens.push(TokenKey {
                role: file.role,
                public: file.public,
                uri,
            }),
            // A public half is of no use for signing.
            (None, None) => {}
        }
        Ok(())
    }
}

impl TokenKey {
    /// The key id in metadata.
    pub fn id(&self) -> String {
        key_id(self.public.into())
    }

    /// Writes a new file into `folder` that says where the key is.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, folder: &Path) -> Result<PathBuf, RepositoryError> {
        let file = KeyFile {
            keytype: "ed25519".to_owned(),
            role: self.role.clone(),
            public: self.public,
            seed: None,
            pkcs11: Some(self.uri.clone()),
        };
        file.write(folder)
    }
}

fn parse(path: &Path) -> Result<KeyFile, RepositoryError> {
    parse_key_file(&files::read(path, MAX_KEY_FILE)?).map_err(|why| RepositoryError::KeyFile {
        path: path.to_owned(),
        why,
    })
}

/// Reads a key file.
///
/// # Errors
/// What is wrong with it, without any of its content: that may be a secret.
pub(crate) fn parse_key_file(bytes: &[u8]) -> Result<KeyFile, String> {
    let bad = |error: serde_json::Error| format!("it is not a key file (line {})", error.line());
    let file: KeyFile = json::parse(bytes).and_then(serde_json::from_value).map_err(bad)?;
    if file.keytype != "ed25519" {
        return Err("its type is not `ed25519`".to_owned());
    }
    if file.seed.is_some() && file.pkcs11.is_some() {
        return Err("its key is in it and on a token at once".to_owned());
    }
    let damaged = file
        .seed
        .is_some_and(|seed| SecretKey::from_seed(seed.into()).public() != *file.public.as_bytes());
    if damaged {
        return Err("its two halves do not belong together: it is damaged".to_owned());
    }
    Ok(file)
}
