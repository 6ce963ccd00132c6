//! Why a release was not installed.

use std::io;

use twinhull_layout::table::TableError;
use twinhull_layout::{BootEntry, RootHash, Slot, Version};
use twinhull_payload::{ApplyError, HeaderError};
use twinhull_trust::{FetchError, TrustError};
use twinhull_verity::{BuildError, VerifyError};

use crate::machine::Problem;

/// Why a release was not installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The repository's metadata or the release's document is not trusted, or could not be had.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The release is the one that runs.
    #[error("{version} is what runs")]
    Running {
        /// The release.
        version: Version,
    },
    /// Neither slot is marked as holding what runs.
    #[error(
        "no slot of the boot disk is marked as holding the running root {hash}: the partition table was changed by another tool"
    )]
    NoActiveSlot {
        /// The content that runs.
        hash: RootHash,
    },
    /// What runs has no boot entry of its own that would be a way back.
    #[error(
        "the running release has no blessed boot entry on the EFI system partition ({found}): without a way back nothing is installed"
    )]
    NoWayBack {
        /// What there is instead.
        found: String,
    },
    /// The release cannot be reached from here in one step.
    #[error(
        "{version} can be installed from {minimum} on, this host runs {running}: install a release in between first"
    )]
    TooFar {
        /// The release.
        version: Version,
        /// The oldest that can install it.
        minimum: Version,
        /// What runs.
        running: Version,
    },
    /// The release has the content that runs already.
    #[error("{version} has the same root file system as the running release: both slots would answer to one name")]
    SameContent {
        /// The release.
        version: Version,
    },
    /// The release does not fit.
    #[error("{what} of this release needs {needed} bytes, and {place} has {available}")]
    TooLarge {
        /// Root, hash tree or kernel image.
        what: &'static str,
        /// Slot or EFI system partition.
        place: String,
        /// Bytes needed.
        needed: u64,
        /// Bytes there.
        available: u64,
    },
    /// The release contradicts itself.
    #[error("this release contradicts itself: {0}")]
    Inconsistent(String),
    /// No payload can be used here.
    #[error("the release has no payload for {what} that this host can use: no full one, and none for what runs")]
    NoPayload {
        /// Root or kernel image.
        what: &'static str,
    },
    /// More would have to be fetched than the configuration allows.
    #[error(
        "{what}: this release needs {needed} bytes from the network and updates.max_fetch_mib allows {limit}: publish a delta \
         for what runs here, raise it, or set updates.beyond_max_fetch to \"continue\""
    )]
    MaxFetch {
        /// The payload that passes the bound.
        what: String,
        /// Bytes needed so far.
        needed: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// A payload could not be had.
    #[error("cannot download {path}: {source}")]
    Fetch {
        /// Its path in the repository.
        path: String,
        /// The reason.
        #[source]
        source: FetchError,
    },
    /// A payload is not the one that was released.
    #[error("{path}: {source}")]
    Header {
        /// Its path in the repository.
        path: String,
        /// What is wrong.
        #[source]
        source: HeaderError,
    },
    /// A payload could not be applied.
    #[error("{path}: {source}")]
    Apply {
        /// Its path in the repository.
        path: String,
        /// What is wrong.
        #[source]
        source: ApplyError,
    },
    /// The hash tree could not be made.
    #[error("cannot write the hash tree: {0}")]
    Tree(#[from] BuildError),
    /// What was written is not what was signed.
    #[error("the written root file system has root hash {found}, the release says {expected}")]
    RootHash {
        /// The signed hash.
        expected: RootHash,
        /// The hash of what was written.
        found: RootHash,
    },
    /// What is on the medium is not what was written.
    #[error("slot {slot}, read back from the disk: {source}")]
    ReadBack {
        /// The slot.
        slot: Slot,
        /// What differs.
        #[source]
        source: VerifyError,
    },
    /// The kernel image on the medium is not what was signed.
    #[error(
        "the kernel image, read back from the EFI system partition, has sha256 {found}, the release says {expected}"
    )]
    KernelHash {
        /// The signed hash.
        expected: String,
        /// The hash of what is there.
        found: String,
    },
    /// The boot disk failed.
    #[error("cannot {action} on the boot disk: {source}")]
    Disk {
        /// What was being done.
        action: &'static str,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The partition table cannot be used.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The EFI system partition failed.
    #[error("cannot {action} on the EFI system partition: {source}")]
    Esp {
        /// What was being done, and to what.
        action: String,
        /// The reason.
        #[source]
        source: io::Error,
    },
}

impl InstallError {
    /// One of a fixed set of words, for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Trust(error) => trust_code(error),
            Self::Running { .. } => "running",
            // What cannot be read is no wrong table and no wrong content.
            Self::Tree(_)
            | Self::Disk { .. }
            | Self::Table(TableError::Io { .. })
            | Self::ReadBack {
                source: VerifyError::ReadHash { .. } | VerifyError::ReadData { .. },
                ..
            } => "disk",
            Self::NoActiveSlot { .. } | Self::Table(_) => "partition-table",
            Self::NoWayBack { .. } => "no-way-back",
            Self::TooFar { .. } => "too-far",
            Self::SameContent { .. } => "same-content",
            Self::TooLarge { .. } => "too-large",
            Self::Inconsistent(_) => "release-inconsistent",
            Self::NoPayload { .. } => "no-payload",
            Self::MaxFetch { .. } => "max-fetch",
            Self::Fetch { .. } => "network",
            Self::Header { source, .. } => match source {
                HeaderError::Read(_) => "network",
                _ => "payload",
            },
            Self::Apply { source, .. } => match source {
                ApplyError::ReadPayload { .. } => "network",
                ApplyError::ReadBase { .. } => "base-damaged",
                ApplyError::ReadTarget { .. } | ApplyError::WriteTarget { .. } | ApplyError::Consumer { .. } => "disk",
                _ => "payload",
            },
            Self::RootHash { .. } => "root-hash",
            Self::ReadBack { .. } => "read-back",
            Self::KernelHash { .. } => "kernel-hash",
            Self::Esp { .. } => "esp",
        }
    }

    /// The reason, as the state machine takes it.
    pub fn problem(&self) -> Problem {
        Problem::new(self.code(), self)
    }

    pub(super) fn esp(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Esp { action, source }
    }

    /// The same for a payload whose base and target are files on the EFI system partition, and not on the boot disk.
    pub(super) fn on_esp(self) -> Self {
        match self {
            Self::Apply {
                source: ApplyError::ReadTarget { source, .. } | ApplyError::WriteTarget { source, .. },
                ..
            } => Self::Esp {
                action: "write the kernel image".to_owned(),
                source,
            },
            Self::Apply {
                source: ApplyError::ReadBase { source, .. },
                ..
            } => Self::Esp {
                action: "read the running kernel image".to_owned(),
                source,
            },
            other => other,
        }
    }

    pub(super) fn disk(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Disk { action, source }
    }

    pub(crate) fn no_way_back(found: &[BootEntry]) -> Self {
        let names: Vec<String> = found.iter().map(BootEntry::to_string).collect();
        Self::NoWayBack {
            found: if names.is_empty() {
                "none at all".to_owned()
            } else {
                names.join(", ")
            },
        }
    }
}

/// What the repository or somebody on the way did wrong.
fn trust_code(error: &TrustError) -> &'static str {
    match error {
        TrustError::TrustedRoot { .. } => "trusted-root",
        TrustError::Floors { .. } => "floors",
        TrustError::Store(_) | TrustError::Directory { .. } => "state",
        TrustError::Fetch { .. } | TrustError::TooSlow { .. } => "network",
        TrustError::Signatures { .. } => "signatures",
        TrustError::Rollback { .. } | TrustError::RoleDropped { .. } => "rollback",
        TrustError::Expired { .. } => "expired",
        TrustError::WrongProduct { .. } => "wrong-product",
        TrustError::WrongArchitecture { .. } => "wrong-architecture",
        TrustError::WrongVersion { .. } => "wrong-version",
        TrustError::NoSuchTarget { .. } => "not-released",
        _ => "metadata",
    }
}
