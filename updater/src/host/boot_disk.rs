//! The disk this host was booted from.
//!
//! Found from `/` downwards and never by UUID: a copy of the disk on a USB stick has the same ones.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::stat;
use twinhull_layout::paths::ROOT_DEVICE;

use crate::paths::Paths;

/// The disk below the dm-verity device that carries `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootDisk {
    /// The whole disk, such as `/dev/vda`.
    pub device: PathBuf,
    /// Bytes of a logical sector.
    pub sector_size: u64,
    /// The root file system as dm-verity gives it: every read is checked.
    pub root: PathBuf,
    /// The disk in sysfs, where the folders of its partitions are.
    sysfs: PathBuf,
}

/// The disk cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum BootDiskError {
    /// sysfs cannot be read.
    #[error("cannot look for the boot disk in {}: {source}", path.display())]
    Sysfs {
        /// The file or folder in sysfs.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// There is no device-mapper device of the name that our init gives.
    #[error("there is no device-mapper device named `{ROOT_DEVICE}`: this host was not booted from a Twinhull image")]
    NoRoot,
    /// The device does not lie on partitions of one disk.
    #[error("the root device {} does not lie on partitions of exactly one disk", root.display())]
    NotOneDisk {
        /// The device-mapper device in sysfs.
        root: PathBuf,
    },
}

impl BootDisk {
    /// Follows the root device down to its disk.
    ///
    /// # Errors
    /// See [`BootDiskError`].
    pub fn find(paths: &Paths) -> Result<Self, BootDiskError> {
        let mapped = mapped_root(paths)?;
        let slaves = mapped.join("slaves");
        let mut disk: Option<PathBuf> = None;
        for slave in list(&slaves)? {
            // `slaves/vda2` is a link into the device tree, where a partition's folder lies in its disk's.
            let device = fs::canonicalize(&slave).map_err(failed(&slave))?;
            let parent = device.parent().filter(|_| device.join("partition").exists());
            match (parent, &disk) {
                (Some(parent), None) => disk = Some(parent.to_owned()),
                (Some(parent), Some(known)) if parent == known => {}
                _ => return Err(BootDiskError::NotOneDisk { root: mapped }),
            }
        }
        let Some(disk) = disk else {
            return Err(BootDiskError::NotOneDisk { root: mapped });
        };
        let size_file = disk.join("queue/logical_block_size");
        let sector_size = read(&size_file)?.parse().map_err(|error| BootDiskError::Sysfs {
            path: size_file,
            source: io::Error::new(io::ErrorKind::InvalidData, error),
        })?;
        let name = disk.file_name().unwrap_or_default();
        Ok(Self {
            // sysfs writes `!` where the device node has `/`.
            device: paths.at("/dev").join(name.to_string_lossy().replace('!', "/")),
            sector_size,
            root: paths.at("/dev/mapper").join(ROOT_DEVICE),
            sysfs: disk,
        })
    }

    /// Makes sure that what is mounted at `folder` is on a partition of this disk, and not on a copy of it.
    ///
    /// # Errors
    /// `folder` cannot be looked at, or is somewhere else.
    pub fn has(&self, folder: &Path, paths: &Paths) -> io::Result<()> {
        let device = fs::metadata(folder)?.dev();
        let (major, minor) = (stat::major(device), stat::minor(device));
        let there = fs::canonicalize(paths.at(format!("/sys/dev/block/{major}:{minor}")));
        let text = match &there {
            Ok(there) if there.parent() == Some(&self.sysfs) => return Ok(()),
            Ok(there) => format!("on {}", there.file_name().unwrap_or_default().display()),
            Err(_) => "not mounted from a disk".to_owned(),
        };
        Err(io::Error::other(format!(
            "{} is {text}, and this host was booted from {}",
            folder.display(),
            self.device.display()
        )))
    }
}

fn mapped_root(paths: &Paths) -> Result<PathBuf, BootDiskError> {
    for device in list(&paths.at("/sys/block"))? {
        let name = device.join("dm/name");
        if name.exists() && read(&name)? == ROOT_DEVICE {
            return Ok(device);
        }
    }
    Err(BootDiskError::NoRoot)
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, BootDiskError> {
    fs::read_dir(folder)
        .map_err(failed(folder))?
        .map(|entry| entry.map(|entry| entry.path()).map_err(failed(folder)))
        .collect()
}

fn read(path: &Path) -> Result<String, BootDiskError> {
    let text = fs::read_to_string(path).map_err(failed(path))?;
    Ok(text.trim().to_owned())
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> BootDiskError + '_ {
    move |source| BootDiskError::Sysfs {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Sysfs {
        root: tempfile::TempDir,
    }

    impl Sysfs {
        fn new() -> Self {
            let sysfs = Self {
                root: tempfile::tempdir().unwrap(),
            };
            sysfs.mapped("dm-0", "root");
            sysfs
        }

        fn at(&self, path: &str) -> PathBuf {
            self.root.path().join("sys").join(path)
        }

        fn file(&self, path: &str, text: &str) {
            fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
            fs::write(self.at(path), text).unwrap();
        }

        fn mapped(&self, device: &str, name: &str) {
            self.file(&format!("block/{device}/dm/name"), &format!("{name}\n"));
            fs::create_dir_all(self.at(&format!("block/{device}/slaves"))).unwrap();
        }

        fn partition(&self, disk: &str, partition: &str, of: &str) {
            let device = format!("devices/pci/block/{disk}");
            self.file(&format!("{device}/queue/logical_block_size"), "512\n");
            self.file(&format!("{device}/{partition}/partition"), "2\n");
            let link = self.at(&format!("block/{of}/slaves/{partition}"));
            symlink(self.at(&format!("{device}/{partition}")), link).unwrap();
        }

        fn find(&self) -> Result<BootDisk, BootDiskError> {
            BootDisk::find(&Paths::below(self.root.path()))
        }
    }

    #[test]
    fn disk_is_the_parent_of_the_partitions_below_the_root_device() {
        // The name in sysfs, what is between it and the number of a partition, and the device.
        for (name, between, device) in [
            ("vda", "", "dev/vda"),
            ("sdc", "", "dev/sdc"),
            ("sdaa", "", "dev/sdaa"),
            ("xvda", "", "dev/xvda"),
            ("nvme0n1", "p", "dev/nvme0n1"),
            ("mmcblk0", "p", "dev/mmcblk0"),
            ("cciss!c0d0", "p", "dev/cciss/c0d0"),
        ] {
            let sysfs = Sysfs::new();
            // A copy of the disk, in use for something else.
            sysfs.mapped("dm-1", "other");
            sysfs.partition("sdb", "sdb2", "dm-1");
            for number in [2, 3] {
                sysfs.partition(name, &format!("{name}{between}{number}"), "dm-0");
            }
            let disk = sysfs.find().unwrap();
            assert!(disk.device.ends_with(device), "{}", disk.device.display());
            assert_eq!(disk.sector_size, 512);
        }
    }

    #[test]
    fn folder_on_a_copy_of_the_disk_is_not_taken_for_ours() {
        let sysfs = Sysfs::new();
        sysfs.partition("vda", "vda2", "dm-0");
        let (disk, paths) = (sysfs.find().unwrap(), Paths::below(sysfs.root.path()));
        let folder = sysfs.root.path();
        let error = disk.has(folder, &paths).unwrap_err().to_string();
        assert!(error.contains("not mounted from a disk"), "{error}");

        let device = fs::metadata(folder).unwrap().dev();
        let link = sysfs.at(&format!("dev/block/{}:{}", stat::major(device), stat::minor(device)));
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        for (on, ours) in [("vdb/vdb1", false), ("vda/vda1", true)] {
            let partition = sysfs.at(&format!("devices/pci/block/{on}"));
            fs::create_dir_all(&partition).unwrap();
            symlink(&partition, &link).unwrap();
            let found = disk.has(folder, &paths);
            assert_eq!(found.is_ok(), ours, "{found:?}");
            if let Err(error) = found {
                assert!(error.to_string().contains("is on vdb1, and"), "{error}");
            }
            fs::remove_file(&link).unwrap();
        }
    }

    #[test]
    fn root_over_two_disks_is_refused() {
        let sysfs = Sysfs::new();
        sysfs.partition("vda", "vda2", "dm-0");
        sysfs.partition("vdb", "vdb3", "dm-0");
        assert!(matches!(sysfs.find(), Err(BootDiskError::NotOneDisk { .. })));
    }

    #[test]
    fn host_that_did_not_boot_from_our_image_is_told_so() {
        let sysfs = Sysfs::new();
        sysfs.mapped("dm-0", "vg-root");
        assert!(matches!(sysfs.find(), Err(BootDiskError::NoRoot)));
    }
}
