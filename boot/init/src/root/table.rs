//! The device-mapper table of the root, from what the superblock says and the partitions hold.

use twinhull_layout::RootHash;
use twinhull_verity::{Superblock, SuperblockError, partition_size};
use uuid::Uuid;

use crate::disk::Partition;

/// Device-mapper counts in these, whatever the disk's own sectors are.
const SECTOR: u64 = 512;

/// Bytes of a data block and of a hash block.
const BLOCK: u64 = 4096;

/// Hash tree and root do not go together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TableError {
    #[error("the hash partition is not usable: {0}; boot the other slot or reinstall this one")]
    Superblock(SuperblockError),
    #[error(
        "/dev/{name} has {have} bytes and the hash tree speaks of {need}; boot the other slot or reinstall this one"
    )]
    TooSmall { name: String, have: u64, need: u64 },
}

/// One line for device-mapper.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// Length of the device in sectors of 512 bytes.
    pub(super) sectors: u64,
    /// What the verity target takes (`verity.rst` of the kernel, "Construction Parameters").
    pub(super) parameters: String,
}

/// The table. No optional parameter is given: the default for a block that does not fit is a read error.
pub(super) fn table(
    superblock: &Superblock,
    root: &Partition,
    verity: &Partition,
    root_hash: &RootHash,
) -> Result<Table, TableError> {
    let blocks = superblock.data_blocks;
    // The superblock's bound on the number of blocks keeps these products small.
    fits(root, blocks * BLOCK)?;
    fits(verity, partition_size(blocks))?;
    let device = |(major, minor): (u32, u32)| format!("{major}:{minor}");
    let (data, hash, salt) = (device(root.device), device(verity.device), superblock.salt);
    Ok(Table {
        sectors: blocks * (BLOCK / SECTOR),
        parameters: format!("1 {data} {hash} {BLOCK} {BLOCK} {blocks} 1 sha256 {root_hash} {salt}"),
    })
}

/// The name under which libcryptsetup would have made the device, so that its tools know it for what it is.
pub(super) fn device_uuid(superblock: &Superblock) -> String {
    let uuid = Uuid::from_bytes(superblock.uuid).simple();
    format!("CRYPT-VERITY-{uuid}-{}", twinhull_layout::paths::ROOT_DEVICE)
}

fn fits(partition: &Partition, need: u64) -> Result<(), TableError> {
    let have = partition.sectors.saturating_mul(SECTOR);
    if have < need {
        return Err(TableError::TooSmall {
            name: partition.name.clone(),
            have,
            need,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(number: u32, sectors: u64) -> Partition {
        let name = format!("vda{number}");
        Partition {
            name,
            disk: "vda".to_owned(),
            device: (254, number),
            number,
            partuuid: None,
            start: 0,
            sectors,
        }
    }

    fn superblock(data_blocks: u64) -> Superblock {
        Superblock::new(data_blocks, [0xab; 32].into())
    }

    #[test]
    fn line_is_the_kernels() {
        let table = table(
            &superblock(100),
            &partition(2, 800),
            &partition(3, 4096),
            &[0x11; 32].into(),
        )
        .unwrap();
        let (hash, salt) = ("11".repeat(32), "ab".repeat(32));
        assert_eq!(
            table.parameters,
            format!("1 254:2 254:3 4096 4096 100 1 sha256 {hash} {salt}")
        );
        assert_eq!(table.sectors, 800);
    }

    #[test]
    fn superblock_cannot_reach_past_its_partitions() {
        let hash = [0x11; 32].into();
        let short_root = table(&superblock(100), &partition(2, 799), &partition(3, 4096), &hash);
        assert_eq!(
            short_root,
            Err(TableError::TooSmall {
                name: "vda2".to_owned(),
                have: 799 * 512,
                need: 409_600
            })
        );
        // Superblock and one hash block: 16 sectors.
        assert!(table(&superblock(100), &partition(2, 800), &partition(3, 16), &hash).is_ok());
        assert!(table(&superblock(100), &partition(2, 800), &partition(3, 15), &hash).is_err());
    }

    #[test]
    fn largest_superblock_does_not_overflow() {
        let largest = superblock(twinhull_verity::MAX_DATA_BLOCKS);
        assert!(table(&largest, &partition(2, 800), &partition(3, 800), &[0x11; 32].into()).is_err());
    }

    #[test]
    fn device_uuid_is_libcryptsetups() {
        assert_eq!(
            device_uuid(&superblock(1)),
            format!("CRYPT-VERITY-{}-root", "ab".repeat(16))
        );
    }
}
