//! What a release is.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use twinhull_layout::{Arch, Product, RootHash, Version};

use super::{from_bytes, release_target, to_bytes};
use crate::{Hex32, TrustError};

/// The largest root file system or payload, in bytes.
const MAX_IMAGE_BYTES: u64 = 1 << 40;

/// The largest UKI, in bytes: an ESP is half of this.
const MAX_UKI_BYTES: u64 = 1 << 30;

/// The largest payload header, in bytes.
const MAX_HEADER_BYTES: u64 = 1 << 28;

/// The most payloads for one image and the most packages.
const MAX_PAYLOADS: usize = 1024;
const MAX_PACKAGES: usize = 100_000;

/// The longest signed root hash, in bytes.
pub const MAX_SIGNATURE_BYTES: usize = 64 * 1024;

/// The unit of dm-verity, in bytes.
const BLOCK: u64 = 4096;

/// One release of one product for one architecture: everything a host needs to know before the first byte of it is written.
/// Signed by offline keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseDocument {
    /// The product.
    pub product: Product,
    /// The version.
    pub version: Version,
    /// The architecture.
    pub arch: Arch,
    /// The root file system.
    pub root: RootImage,
    /// The unified kernel image.
    pub uki: UkiImage,
    /// The oldest version that may update to this one directly; `None` if all may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_from: Option<Version>,
    /// What is in it.
    pub packages: Vec<Package>,
    /// When it was made.
    pub created: Timestamp,
}

/// The root file system of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootImage {
    /// Size in bytes, a multiple of 4096.
    pub size: u64,
    /// The dm-verity root hash.
    pub root_hash: RootHash,
    /// The dm-verity salt.
    pub salt: Hex32,
    /// Size of the dm-verity hash partition's content in bytes, a multiple of 4096.
    pub verity_size: u64,
    /// The content of the partition with the signed root hash (Discoverable Partitions Specification, UAPI.2): JSON text,
    /// without padding; `None` if the build was not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// Ways to get it: one full payload, and any number that start from another root.
    pub payloads: Vec<PayloadRef>,
}

/// The unified kernel image of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UkiImage {
    /// Size in bytes.
    pub size: u64,
    /// sha256 of the file.
    pub sha256: Hex32,
    /// Ways to get it: one full payload, and any number that start from another UKI.
    pub payloads: Vec<PayloadRef>,
}

/// A payload file that makes an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayloadRef {
    /// Path relative to the base of the repository: `payloads/<sha256 of its header>.thp`.
    pub path: String,
    /// Size of the file in bytes.
    pub size: u64,
    /// Size of its header in bytes.
    pub header_size: u64,
    /// sha256 of its header, which in turn binds everything else in it.
    pub header_sha256: Hex32,
    /// What it starts from: the root hash of a root, or the sha256 of a UKI; `None` for a full payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Hex32>,
    /// sha256 of the block map of a full payload, the file `payloads/<this>.map`; `None` if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_sha256: Option<Hex32>,
}

impl PayloadRef {
    /// Path of the block map, relative to the base of the repository.
    pub fn map_path(&self) -> Option<String> {
        self.map_sha256.map(|hash| format!("payloads/{hash}.map"))
    }
}

/// A package that a release contains.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    /// Its name in the distribution.
    pub name: String,
    /// Its version, as the distribution writes it.
    pub version: String,
}

impl ReleaseDocument {
    /// The name of the target that holds this document.
    pub fn target(&self) -> String {
        release_target(&self.product, self.arch, &self.version)
    }

    /// The bytes to sign: the same for the same content.
    ///
    /// # Errors
    /// [`TrustError::Document`] if a size, path or list is out of its bounds.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TrustError> {
        let refused = |why| TrustError::Document {
            name: self.target(),
            why,
        };
        self.check().map_err(refused)?;
        to_bytes(self).map_err(refused)
    }

    /// Reads the document that the target `name` holds, which must be the release `version` of `product` for `arch`.
    ///
    /// # Errors
    /// [`TrustError::Document`], [`TrustError::WrongProduct`], [`TrustError::WrongArchitecture`],
    /// [`TrustError::WrongVersion`].
    pub fn from_bytes(
        bytes: &[u8],
        name: &str,
        product: &Product,
        arch: Arch,
        version: &Version,
    ) -> Result<Self, TrustError> {
        let document: Self = from_bytes(name, bytes)?;
        let name = name.to_owned();
        if document.product != *product {
            return Err(TrustError::WrongProduct {
                name,
                expected: product.clone(),
                found: document.product,
            });
        }
        if document.arch != arch {
            return Err(TrustError::WrongArchitecture {
                name,
                expected: arch,
                found: document.arch,
            });
        }
        if document.version != *version {
            return Err(TrustError::WrongVersion {
                name,
                expected: version.clone(),
                found: document.version,
            });
        }
        document.check().map_err(|why| TrustError::Document { name, why })?;
        Ok(document)
    }

    fn check(&self) -> Result<(), String> {
        check_size("the root", self.root.size, MAX_IMAGE_BYTES)?;
        check_size("the hash tree", self.root.verity_size, MAX_IMAGE_BYTES)?;
        if !self.root.size.is_multiple_of(BLOCK) || !self.root.verity_size.is_multiple_of(BLOCK) {
            return Err(format!(
                "the sizes of the root and its hash tree are not multiples of {BLOCK}"
            ));
        }
        if let Some(signature) = &self.root.signature
            && (signature.is_empty() || signature.len() > MAX_SIGNATURE_BYTES || signature.contains('\0'))
        {
            return Err(format!(
                "the signed root hash is not 1 to {MAX_SIGNATURE_BYTES} bytes of text"
            ));
        }
        check_size("the UKI", self.uki.size, MAX_UKI_BYTES)?;
        check_payloads("the root", &self.root.payloads)?;
        check_payloads("the UKI", &self.uki.payloads)?;
        if self.packages.len() > MAX_PACKAGES {
            return Err(format!("it lists more than {MAX_PACKAGES} packages"));
        }
        Ok(())
    }
}

fn check_size(of: &str, size: u64, max: u64) -> Result<(), String> {
    if (1..=max).contains(&size) {
        Ok(())
    } else {
        Err(format!("the size of {of} is {size}, not in 1..={max}"))
    }
}

fn check_payloads(of: &str, payloads: &[PayloadRef]) -> Result<(), String> {
    if payloads.len() > MAX_PAYLOADS {
        return Err(format!("it lists more than {MAX_PAYLOADS} payloads for {of}"));
    }
    for payload in payloads {
        let path = crate::name::shorten(&payload.path);
        if !payload_path_is_valid(&payload.path) {
            return Err(format!("`{path}` is not the path of a payload"));
        }
        check_size(&path, payload.size, MAX_IMAGE_BYTES)?;
        check_size(
            "a payload header",
            payload.header_size,
            MAX_HEADER_BYTES.min(payload.size),
        )?;
    }
    Ok(())
}

/// One plain file name below `payloads/`: nothing to quote, nothing that climbs out.
fn payload_path_is_valid(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    path.strip_prefix("payloads/")
        .is_some_and(|file| (1..=128).contains(&file.len()) && !file.starts_with('.') && file.bytes().all(plain))
}
