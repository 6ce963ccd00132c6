//! Which partitions to boot from.
//!
//! Partition UUIDs alone can lead to a copy of the disk, for example on a USB stick that was made to install this
//! very host. So the disk comes first: the one that the boot loader was started from.

use std::collections::BTreeSet;

use twinhull_layout::{RootHash, partition};
use uuid::Uuid;

use super::Partition;

/// The partitions of this boot, all on one disk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The root file system.
    pub(crate) root: Partition,
    /// Its hash tree.
    pub(crate) verity: Partition,
    /// The state partition.
    pub(crate) state: Partition,
}

/// Why there is no choice, or not yet.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChoiceError {
    #[error(
        "partition {0}, which the boot loader was started from, has not appeared; check that the initramfs has the driver of that disk"
    )]
    NoBootDisk(Uuid),
    #[error(
        "no disk has root partition {root} and hash partition {verity}; check that the initramfs has the driver of the disk, or boot the other slot"
    )]
    NoDisk { root: Uuid, verity: Uuid },
    #[error("disk {disk} has no {what} {partuuid}; boot the other slot or reinstall this one")]
    NoPartition {
        disk: String,
        what: &'static str,
        partuuid: Uuid,
    },
    #[error("disk {disk} has no partition {number} for the state; reinstall this host")]
    NoState { disk: String, number: u32 },
    #[error("several partitions are {what} {partuuid}: {names}; remove the copy of this disk and boot again")]
    Ambiguous {
        what: &'static str,
        partuuid: Uuid,
        names: String,
    },
    #[error(
        "the boot loader does not say which disk it was started from, and several have this root: {names}; remove the copies and boot again"
    )]
    SeveralDisks { names: String },
}

impl ChoiceError {
    /// Whether waiting cannot help: more devices never make a choice less ambiguous.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Ambiguous { .. } | Self::SeveralDisks { .. })
    }
}

/// Chooses among `partitions`, on the disk that has `boot_partition`. Without one, the choice must be the only
/// one possible on all disks.
pub(super) fn choose(
    partitions: &[Partition],
    boot_partition: Option<Uuid>,
    root_hash: &RootHash,
) -> Result<Found, ChoiceError> {
    let disk = match boot_partition {
        Some(partuuid) => {
            let boot = single(partitions, "the boot partition", partuuid)?;
            &boot.ok_or(ChoiceError::NoBootDisk(partuuid))?.disk
        }
        None => only_disk(partitions, root_hash)?,
    };
    let there: Vec<_> = partitions
        .iter()
        .filter(|partition| partition.disk == *disk)
        .cloned()
        .collect();
    let find = |what, partuuid| {
        let missing = || ChoiceError::NoPartition {
            disk: disk.clone(),
            what,
            partuuid,
        };
        single(&there, what, partuuid)?.cloned().ok_or_else(missing)
    };
    let root = find("root partition", root_hash.root_partuuid())?;
    let verity = find("hash partition", root_hash.verity_partuuid())?;
    let number = partition::STATE_NUMBER;
    let state = there.iter().find(|partition| partition.number == number).cloned();
    let state = state.ok_or_else(|| ChoiceError::NoState {
        disk: disk.clone(),
        number,
    })?;
    Ok(Found { root, verity, state })
}

/// The partition with that PARTUUID, when there are not two.
fn single<'a>(
    partitions: &'a [Partition],
    what: &'static str,
    partuuid: Uuid,
) -> Result<Option<&'a Partition>, ChoiceError> {
    let fitting: Vec<_> = partitions
        .iter()
        .filter(|partition| partition.partuuid == Some(partuuid))
        .collect();
    match fitting[..] {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => {
            let names: Vec<_> = fitting.iter().map(|partition| partition.name.as_str()).collect();
            Err(ChoiceError::Ambiguous {
                what,
                partuuid,
                names: names.join(", "),
            })
        }
    }
}

/// The one disk that has both root and hash partition.
fn only_disk<'a>(partitions: &'a [Partition], root_hash: &RootHash) -> Result<&'a String, ChoiceError> {
    let disks_with = |partuuid| -> BTreeSet<&String> {
        let fitting = partitions
            .iter()
            .filter(|partition| partition.partuuid == Some(partuuid));
        fitting.map(|partition| &partition.disk).collect()
    };
    let (root, verity) = (root_hash.root_partuuid(), root_hash.verity_partuuid());
    let (with_root, with_verity) = (disks_with(root), disks_with(verity));
    let both: Vec<_> = with_root.intersection(&with_verity).copied().collect();
    match both[..] {
        [] => Err(ChoiceError::NoDisk { root, verity }),
        [one] => Ok(one),
        _ => {
            let names: Vec<_> = both.iter().map(|disk| disk.as_str()).collect();
            Err(ChoiceError::SeveralDisks {
                names: names.join(", "),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash() -> RootHash {
        let mut bytes = [0x11; 32];
        bytes[16..].fill(0x22);
        bytes.into()
    }

    fn uuid(byte: u8) -> Uuid {
        Uuid::from_bytes([byte; 16])
    }

    fn partition(disk: &str, number: u32, partuuid: Uuid) -> Partition {
        let name = format!("{disk}{number}");
        Partition {
            name,
            disk: disk.to_owned(),
            device: (254, number),
            number,
            partuuid: Some(partuuid),
            start: 0,
            sectors: 8,
        }
    }

    /// ESP 0xe0 + `salt`, slot A with the hash, slot B empty, state.
    fn disk(name: &str, salt: u8) -> Vec<Partition> {
        vec![
            partition(name, 1, uuid(0xe0 + salt)),
            partition(name, 2, uuid(0x11)),
            partition(name, 3, uuid(0x22)),
            partition(name, 5, uuid(0x50 + salt)),
            partition(name, 8, uuid(0x80 + salt)),
        ]
    }

    #[test]
    fn copy_on_another_disk_is_never_taken() {
        let partitions = [disk("sda", 1), disk("vda", 2)].concat();
        for (boot, expected) in [(0xe1, "sda"), (0xe2, "vda")] {
            let found = choose(&partitions, Some(uuid(boot)), &hash()).unwrap();
            assert!(
                [&found.root, &found.verity, &found.state]
                    .iter()
                    .all(|partition| partition.disk == expected)
            );
            assert_eq!((found.root.number, found.verity.number, found.state.number), (2, 3, 8));
        }
    }

    #[test]
    fn partition_on_another_disk_does_not_complete_the_boot_disk() {
        let mut partitions = [disk("sda", 1), disk("vda", 2)].concat();
        partitions.retain(|partition| partition.name != "vda3");
        let error = choose(&partitions, Some(uuid(0xe2)), &hash()).unwrap_err();
        assert_eq!(
            error,
            ChoiceError::NoPartition {
                disk: "vda".to_owned(),
                what: "hash partition",
                partuuid: uuid(0x22)
            }
        );
        assert!(!error.is_final());
    }

    #[test]
    fn boot_disk_that_is_not_there_is_not_replaced() {
        let error = choose(&disk("sda", 1), Some(uuid(0xe2)), &hash()).unwrap_err();
        assert_eq!(error, ChoiceError::NoBootDisk(uuid(0xe2)));
    }

    #[test]
    fn disk_and_its_exact_copy_stop_the_boot() {
        let partitions = [disk("sda", 1), disk("sdb", 1)].concat();
        let error = choose(&partitions, Some(uuid(0xe1)), &hash()).unwrap_err();
        assert!(error.is_final() && error.to_string().contains("sda1, sdb1"), "{error}");
    }

    #[test]
    fn two_slots_with_one_root_hash_stop_the_boot() {
        let mut partitions = disk("vda", 1);
        partitions[3].partuuid = Some(uuid(0x11));
        let error = choose(&partitions, Some(uuid(0xe1)), &hash()).unwrap_err();
        assert!(error.is_final() && error.to_string().contains("vda2, vda5"), "{error}");
    }

    #[test]
    fn unknown_boot_disk_needs_a_single_candidate() {
        let one = choose(&disk("vda", 1), None, &hash()).unwrap();
        assert_eq!(one.root.name, "vda2");
        let error = choose(&[disk("sda", 1), disk("vda", 2)].concat(), None, &hash()).unwrap_err();
        assert_eq!(
            error,
            ChoiceError::SeveralDisks {
                names: "sda, vda".to_owned()
            }
        );
        assert!(error.is_final());
    }

    #[test]
    fn halves_on_two_disks_are_no_candidate() {
        let mut partitions = [disk("sda", 1), disk("vda", 2)].concat();
        partitions.retain(|partition| partition.name != "sda2" && partition.name != "vda3");
        assert!(matches!(
            choose(&partitions, None, &hash()),
            Err(ChoiceError::NoDisk { .. })
        ));
    }

    #[test]
    fn state_must_be_on_the_same_disk() {
        let mut partitions = [disk("sda", 1), disk("vda", 2)].concat();
        partitions.retain(|partition| partition.name != "vda8");
        let error = choose(&partitions, Some(uuid(0xe2)), &hash()).unwrap_err();
        assert_eq!(
            error,
            ChoiceError::NoState {
                disk: "vda".to_owned(),
                number: 8
            }
        );
    }
}
