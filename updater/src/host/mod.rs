//! What this host is: which release runs, from which disk and slot, and under which name it asks for the lock.

mod boot_disk;
mod command_line;
mod firmware;
mod id;
mod os_release;

use twinhull_layout::{Arch, Product, RootHash, Version};

pub use boot_disk::{BootDisk, BootDiskError};
pub(crate) use command_line::parse as parse_command_line;
pub use firmware::counted_boot;
pub use id::{APPLICATION, IdError, host_id};
pub use os_release::OsReleaseError;

use crate::paths::Paths;

/// The release that runs. It cannot change before the next boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// From os-release.
    pub product: Product,
    /// From os-release.
    pub version: Version,
    /// From the kernel command line, which Secure Boot measures: the content of `/`.
    pub root_hash: RootHash,
    /// What this program was compiled for.
    pub arch: Arch,
}

/// This host does not say what it runs.
#[derive(Debug, thiserror::Error)]
pub enum RunningError {
    /// os-release does not.
    #[error(transparent)]
    OsRelease(#[from] OsReleaseError),
    /// The kernel command line does not.
    #[error(transparent)]
    CommandLine(#[from] command_line::CommandLineError),
}

impl Running {
    /// Asks the host.
    ///
    /// # Errors
    /// os-release or the kernel command line cannot be read or lack what is needed: the host was not booted from a Twinhull
    /// image.
    pub fn read(paths: &Paths) -> Result<Self, RunningError> {
        let (product, version) = os_release::read(paths)?;
        Ok(Self {
            product,
            version,
            root_hash: command_line::root_hash(paths)?,
            arch: Arch::host(),
        })
    }
}
