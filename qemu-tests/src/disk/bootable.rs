//! What would start from a disk that lost its power, and whether it is whole to its last byte.
//!
//! A disk passes when the entry that systemd-boot would choose is a release that was signed, its kernel image and its slot
//! complete; and, while that entry is on trial, when a proven one stands behind it.

use std::collections::HashMap;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use twinhull_layout::{Arch, BootEntry, RootHash, Slot, Version};

use super::Disk;
use crate::artefacts::Image;
use crate::error::{Error, Result};

/// A release as it was built.
#[derive(Debug, Clone)]
struct Release {
    version: Version,
    root_hash: RootHash,
    kernel_image: [u8; 32],
}

/// Judges disks that may hold these releases and nothing else.
#[derive(Debug)]
pub struct Judge {
    arch: Arch,
    releases: Vec<Release>,
    /// What was found in a slot. Good until [`Judge::slot_written`]: hashing one takes longer than all the rest.
    slots: HashMap<(Slot, RootHash), Result<(), String>>,
}

impl Judge {
    /// A judge who knows `images`.
    pub fn new(arch: Arch, images: &[&Image]) -> Result<Self> {
        let releases = images
            .iter()
            .map(|image| {
                let bytes = std::fs::read(&image.uki)
                    .map_err(|source| Error::file("read the kernel image", &image.uki, source))?;
                Ok(Release {
                    version: image.version.clone(),
                    root_hash: image.root_hash,
                    kernel_image: Sha256::digest(&bytes).into(),
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            arch,
            releases,
            slots: HashMap::new(),
        })
    }

    /// Forgets what was found in `slot`: something was written there.
    pub fn slot_written(&mut self, slot: Slot) {
        self.slots.retain(|(known, _), _| *known != slot);
    }

    /// The entry that starts from the disk at `path`; or why a host with this disk would be lost, or on trial without a way back.
    pub fn judge(&mut self, path: &Path) -> Result<BootEntry, String> {
        let disk = Disk::open(path, self.arch).map_err(|error| error.to_string())?;
        let entries = disk.boot_entries().map_err(|error| error.to_string())?;
        let Some(first) = entries.first() else {
            return Err("there is no boot entry".to_owned());
        };
        if first.is_bad() {
            return Err(format!("no entry has tries left; the first is {first}"));
        }
        self.complete(&disk, first)?;
        if first.is_on_trial() {
            let behind = entries.iter().find(|entry| entry.tries.is_none());
            let behind = behind.ok_or_else(|| format!("{first} is on trial and there is no proven entry behind it"))?;
            self.complete(&disk, behind)?;
        }
        Ok(first.clone())
    }

    fn complete(&mut self, disk: &Disk, entry: &BootEntry) -> Result<(), String> {
        let release = self
            .releases
            .iter()
            .find(|release| release.version == entry.version)
            .ok_or_else(|| format!("{entry} is of a release that was never published"))?;
        let digest: [u8; 32] = Sha256::digest(disk.kernel_image(entry).map_err(|error| error.to_string())?).into();
        if digest != release.kernel_image {
            return Err(format!("the kernel image {entry} is not the released one"));
        }
        let slot = disk
            .slot_holding(&release.root_hash)
            .map_err(|error| error.to_string())?
            .ok_or_else(|| format!("no slot has the partition ids of the root that {entry} starts"))?;
        let root_hash = release.root_hash;
        self.slots
            .entry((slot, root_hash))
            .or_insert_with(|| disk.check_intact(slot, &root_hash).map_err(|error| error.to_string()))
            .clone()
    }
}
