//! `NAME.json`: what a build made, for publishing it later.

use std::path::Path;

use serde::{Deserialize, Serialize};
use twinhull_layout::{Arch, Product, RootHash, Version};
use twinhull_verity::Tree;

use super::Context;
use super::kernel::Boot;
use super::root::Root;
use crate::bounded;
use crate::error::{Doing, Error, Result};
use crate::sign::verity::Signature;

/// The longest manifest that is read, in bytes: a thousand packages take a tenth of it.
const MAX_SIZE: u64 = 1 << 20;

/// The common part of the names of a build's files.
pub fn name(product: &Product, version: &Version, arch: Arch) -> String {
    format!("{product}_{version}_{arch}")
}

/// What a build made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The product.
    pub product: Product,
    /// The version.
    pub version: Version,
    /// The architecture.
    pub arch: Arch,
    /// The time stamp of everything in the image, in seconds since 1970.
    pub time: u64,
    /// The root file system, a partition of `NAME.raw`.
    pub root: RootImage,
    /// The unified kernel image, in `NAME.efi`.
    pub uki: UkiImage,
    /// The packages in the image, sorted by name.
    pub packages: Vec<Package>,
}

/// A root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootImage {
    /// Bytes of the file system.
    pub size: u64,
    /// The root hash of its tree of hashes.
    pub root_hash: RootHash,
    /// The salt of its tree of hashes, as 64 hexadecimal digits.
    pub salt: String,
    /// Bytes of the partition with its tree of hashes.
    pub verity_size: u64,
    /// Its signed root hash, if the build was signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

/// A unified kernel image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UkiImage {
    /// Bytes of the file.
    pub size: u64,
    /// Its hash, as 64 hexadecimal digits.
    pub sha256: String,
}

/// One package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl Manifest {
    pub(super) fn new(
        context: &Context<'_>,
        root: &Root,
        verity: &Tree,
        boot: &Boot,
        packages: Vec<(String, String)>,
        time: u64,
    ) -> Self {
        Self {
            product: context.definition.product.clone(),
            version: context.options.version.clone(),
            arch: context.options.arch,
            time,
            root: RootImage {
                size: root.size,
                root_hash: *verity.root_hash(),
                salt: root.salt.to_string(),
                verity_size: verity.as_bytes().len() as u64,
                signature: boot.root_signature.clone(),
            },
            uki: UkiImage {
                size: boot.uki.len() as u64,
                sha256: hex::encode(boot.sha256()),
            },
            packages: packages
                .into_iter()
                .map(|(name, version)| Package { name, version })
                .collect(),
        }
    }

    /// The common part of the names of its files.
    pub fn name(&self) -> String {
        name(&self.product, &self.version, self.arch)
    }

    /// The text of the file.
    pub fn to_json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::Content(format!("cannot write the manifest: {error}")))?;
        Ok(text + "\n")
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// The file cannot be read, is longer than a mebibyte, or is no manifest.
    pub fn read(path: &Path) -> Result<Self> {
        let text = bounded::read(path, MAX_SIZE).doing("read the manifest", path)?;
        serde_json::from_slice(&text)
            .map_err(|error| Error::Content(format!("{} is no manifest of a build: {error}", path.display())))
    }
}
