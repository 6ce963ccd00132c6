//! Partition types, numbers, attributes and labels.
//!
//! Types and attribute bits are those of the Discoverable Partitions Specification (UAPI.2), so that systemd's own tools
//! can read the image.

use uuid::{Uuid, uuid};

use crate::{Arch, Version};

/// Type of the EFI system partition.
pub const ESP: Uuid = uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
/// Type of the state partition: generic Linux data, which nothing mounts by itself.
pub const STATE: Uuid = uuid!("0fc63daf-8483-4772-8e79-3d69d8477de4");

/// Number of the EFI system partition.
pub const ESP_NUMBER: u32 = 1;
/// Number of the state partition.
pub const STATE_NUMBER: u32 = 8;

/// Attribute bit: grow the file system to the size of the partition.
pub const GROW_FILE_SYSTEM: u64 = 1 << 59;
/// Attribute bit: mount read-only.
pub const READ_ONLY: u64 = 1 << 60;

/// Label of the EFI system partition.
pub const ESP_LABEL: &str = "esp";
/// Label of the state partition.
pub const STATE_LABEL: &str = "state";
/// Label of a slot's partition whose content is not valid (the convention of systemd-sysupdate).
pub const EMPTY_LABEL: &str = "_empty";

/// Type of a root partition.
#[must_use]
pub const fn root(arch: Arch) -> Uuid {
    match arch {
        Arch::X86_64 => uuid!("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
        Arch::Aarch64 => uuid!("b921b045-1df0-41c3-af44-4c6f280d3fae"),
    }
}

/// Type of a partition with the dm-verity tree of a root partition.
#[must_use]
pub const fn root_verity(arch: Arch) -> Uuid {
    match arch {
        Arch::X86_64 => uuid!("2c7357ed-ebd2-46d9-aec1-23d437ec2bf5"),
        Arch::Aarch64 => uuid!("df3300ce-d69f-4c92-978c-9bfb0f38d820"),
    }
}

/// Type of a partition with the signed root hash of a root partition.
#[must_use]
pub const fn root_verity_signature(arch: Arch) -> Uuid {
    match arch {
        Arch::X86_64 => uuid!("41092b05-9fc8-4523-994f-2def0408b176"),
        Arch::Aarch64 => uuid!("6db69de6-29f4-4758-a7a5-962190f00ce3"),
    }
}

/// Label of a root partition that holds `version`.
#[must_use]
pub fn root_label(version: &Version) -> String {
    format!("root_{version}")
}

/// Label of a verity partition that holds the tree of `version`.
#[must_use]
pub fn verity_label(version: &Version) -> String {
    format!("verity_{version}")
}

/// Label of a partition that holds the signed root hash of `version`.
#[must_use]
pub fn signature_label(version: &Version) -> String {
    format!("sig_{version}")
}

/// The version that a label made by [`root_label`] or [`verity_label`] names.
#[must_use]
pub fn version_of_label(label: &str) -> Option<Version> {
    let (kind, version) = label.split_once('_')?;
    matches!(kind, "root" | "verity")
        .then(|| version.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_label_fits_the_table() {
        let longest: Version = "999999999.999999999.999999999".parse().unwrap();
        // A GPT label has 36 UTF-16 units (UEFI specification 2.10, table 5.6).
        assert!(verity_label(&longest).len() <= 36);
    }

    #[test]
    fn label_names_its_version_and_empty_names_none() {
        let version: Version = "1.10.0".parse().unwrap();
        assert_eq!(version_of_label(&root_label(&version)), Some(version.clone()));
        assert_eq!(version_of_label(&verity_label(&version)), Some(version));
        assert_eq!(version_of_label(EMPTY_LABEL), None);
        assert_eq!(version_of_label("home_1.0"), None);
    }
}
