//! Everything that can be wrong with what a repository says, or with what is remembered of it.

use std::path::PathBuf;

use jiff::Timestamp;
use twinhull_layout::{Arch, Product, Version};

use crate::FetchError;

/// Why something is not trusted. Nothing of the refused file has been used or stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The trusted root that came with the image cannot be used, so nothing can be verified.
    #[error("the trusted root that came with this system cannot be used: {why}; without it nothing is installed")]
    TrustedRoot {
        /// What is wrong with it.
        why: String,
    },
    /// The memory of the versions seen so far cannot be read.
    #[error(
        "cannot trust {}: {why}. Without it an old release could pass as new, so nothing is installed; if this file was \
         damaged by a fault and not by an attacker, an operator can start it anew with the recovery command", path.display()
    )]
    Floors {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file of the metadata directory cannot be written.
    #[error("cannot keep the verified metadata: {0}")]
    Store(#[from] twinhull_durable::Error),
    /// The metadata directory cannot be made or read.
    #[error("cannot use the metadata directory {}: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A file could not be downloaded.
    #[error("cannot download {path}: {source}")]
    Fetch {
        /// Its path in the repository.
        path: String,
        /// The fetcher's reason.
        source: FetchError,
    },
    /// A file is longer than it may be: broken, or an attack by endless data.
    #[error("{path} has more than the {max} bytes it may have")]
    TooLong {
        /// Its path in the repository.
        path: String,
        /// The bound in bytes.
        max: u64,
    },
    /// A download is so slow that somebody may be holding this host back.
    #[error("{path} arrives too slowly to be of use; try another server")]
    TooSlow {
        /// Its path in the repository.
        path: String,
    },
    /// A metadata file is not what its role's file should be.
    #[error("the metadata of role `{role}` is not well formed: {why}")]
    Malformed {
        /// The role.
        role: String,
        /// What is wrong.
        why: String,
    },
    /// Too few of the keys that speak for a role have signed its metadata.
    #[error(
        "the metadata of role `{role}` is signed by {valid} of the {threshold} keys it needs ({unknown} of its signatures \
         are by keys that do not speak for this role)"
    )]
    Signatures {
        /// The role.
        role: String,
        /// How many distinct keys of the role have signed.
        valid: usize,
        /// How many must.
        threshold: u32,
        /// Signatures by keys unknown to the role.
        unknown: usize,
    },
    /// A role's metadata is older than what this host has seen.
    #[error(
        "the repository offers version {offered} of `{role}`, but this host has seen version {floor}: refused as a rollback"
    )]
    Rollback {
        /// The role.
        role: String,
        /// The version offered.
        offered: u64,
        /// The version seen.
        floor: u64,
    },
    /// A role that was listed has disappeared.
    #[error("the repository no longer lists role `{role}`, which it listed before: refused as a rollback")]
    RoleDropped {
        /// The role.
        role: String,
    },
    /// A role is delegated to, but the snapshot does not list it.
    #[error("the snapshot does not list role `{role}`")]
    RoleNotListed {
        /// The role.
        role: String,
    },
    /// A file is not the one that the role above it lists: broken mirror, or mix-and-match.
    #[error("the file of `{name}` is not the one that is listed: {why}")]
    Mismatch {
        /// The role or target.
        name: String,
        /// What differs.
        why: String,
    },
    /// A role's metadata is past its date: the repository is not maintained, or somebody withholds the new metadata.
    #[error(
        "the metadata of role `{role}` expired at {expired} and it is {now} now: either the repository was not renewed, or \
         somebody keeps newer metadata from this host, or the clock is wrong"
    )]
    Expired {
        /// The role.
        role: String,
        /// When.
        expired: Timestamp,
        /// The time it was compared with.
        now: Timestamp,
    },
    /// A name in signed metadata could lead out of the place it belongs to.
    #[error("`{name}` cannot be used as a name: it is empty, too long or leads out of its folder")]
    UnsafeName {
        /// The name, cut to 80 characters.
        name: String,
    },
    /// No role that may speak for this name lists it.
    #[error("the repository has no signed `{name}`")]
    NoSuchTarget {
        /// The name of the target.
        name: String,
    },
    /// A signed document cannot be used as what it should be.
    #[error("the signed document `{name}` is not well formed: {why}")]
    Document {
        /// The name of its target.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// A correctly signed document is for another product.
    #[error("`{name}` is for product `{found}`, not for `{expected}`")]
    WrongProduct {
        /// The name of its target.
        name: String,
        /// What it should be for.
        expected: Product,
        /// What it says.
        found: Product,
    },
    /// A correctly signed release is for another architecture.
    #[error("`{name}` is for architecture {found}, not for {expected}")]
    WrongArchitecture {
        /// The name of its target.
        name: String,
        /// What it should be for.
        expected: Arch,
        /// What it says.
        found: Arch,
    },
    /// A correctly signed release is another version than its name says.
    #[error("`{name}` is version {found}, not {expected}")]
    WrongVersion {
        /// The name of its target.
        name: String,
        /// What it should be.
        expected: Version,
        /// What it says.
        found: Version,
    },
    /// A correctly signed channel is another than its name says.
    #[error("`{name}` is channel `{found}`, not `{expected}`")]
    WrongChannel {
        /// The name of its target.
        name: String,
        /// What it should be.
        expected: String,
        /// What it says.
        found: String,
    },
}
