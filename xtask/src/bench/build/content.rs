//! What both sides build, and where: the same packages, overlays and partitions.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The kernel. Ours names it apart from the rest.
pub(super) const KERNEL: &str = "linux-image-cloud-amd64";

/// What ours takes the boot loader and the stub of kernel images from, unasked.
pub(super) const LOADER: &str = "systemd-boot-efi";

/// systemd and containerd, with what a host needs to boot and to be reached; recommended packages are left out by both sides.
pub(super) const PACKAGES: &[&str] = &[
    "ca-certificates",
    "containerd",
    "dbus-broker",
    "e2fsprogs",
    "kmod",
    "runc",
    "systemd",
    "systemd-boot",
    "systemd-repart",
    "systemd-resolved",
    "systemd-sysv",
    "systemd-timesyncd",
    "udev",
];

/// A folder for everything that is made here.
pub(super) struct Place(PathBuf);

impl Place {
    /// The folder `path` (absolute), with the overlays in it.
    pub(super) fn new(path: PathBuf) -> Result<Self> {
        let place = Self(path);
        place.change("nothing yet")?;
        Ok(place)
    }

    /// A folder of one side, made when it is not there.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.0.join(name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(folder)
    }

    /// The folder of all of it.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The folders that both sides lay over their trees. The first is what every host of ours has.
    pub(super) fn overlays(&self) -> Result<[PathBuf; 2]> {
        let base = std::path::absolute("configs/overlays/base").context("there is no current folder")?;
        Ok([base, self.0.join("overlay")])
    }

    /// Changes the one file of the second overlay.
    pub(super) fn change(&self, text: &str) -> Result<()> {
        let folder = self.folder("overlay/usr/share/bench")?;
        let file = folder.join("file");
        fs::write(&file, format!("{text}\n")).with_context(|| format!("cannot write {}", file.display()))
    }
}
