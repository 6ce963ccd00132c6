//! Whether the boot sector of a FAT describes a file system that can be.
//!
//! Specification: Microsoft Extensible Firmware Initiative FAT32 File System Specification, 1.03, "Boot Sector and BPB". The reader of
//! files takes the numbers as they are and calculates with them in 32 bits.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use twinhull_layout::table::Partition;

/// Fewer clusters than that are no FAT32, more have no numbers.
const CLUSTERS: std::ops::Range<u64> = 65_525..0x0FFF_FFF5;

/// Clusters are counted from here.
const FIRST: u64 = 2;

/// Fails unless the file system in `partition` of `disk` is a FAT32 that fits into it.
pub(super) fn check(disk: &File, partition: &Partition) -> io::Result<()> {
    let mut sector = [0; 512];
    disk.read_exact_at(&mut sector, partition.start)?;
    check_sector(&sector, partition.size).map_err(|problem| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("its boot sector is damaged: {problem}"),
        )
    })
}

fn check_sector(sector: &[u8; 512], most: u64) -> Result<(), &'static str> {
    let number = |at: usize, width: usize| {
        let digits = sector[at..at + width].iter().rev();
        digits.fold(0_u64, |sum, digit| sum << 8 | u64::from(*digit))
    };
    let (sector_size, cluster, reserved, fats) = (number(11, 2), number(13, 1), number(14, 2), number(16, 1));
    let (total, fat, root) = (number(32, 4), number(36, 4), number(44, 4));
    if !matches!(sector_size, 512 | 1024 | 2048 | 4096) || !cluster.is_power_of_two() {
        return Err("no sectors or clusters are of that size");
    }
    // Where FAT12 and FAT16 have their numbers.
    if number(17, 2) != 0 || number(19, 2) != 0 || number(22, 2) != 0 {
        return Err("it is no FAT32");
    }
    if reserved == 0 || !matches!(fats, 1 | 2) || number(48, 2) >= reserved || number(50, 2) >= reserved {
        return Err("what is before the files cannot be so");
    }
    if total * sector_size > most {
        return Err("it is larger than its partition");
    }
    let clusters = total
        .checked_sub(reserved + fats * fat)
        .ok_or("its tables are larger than itself")?
        / cluster;
    if !CLUSTERS.contains(&clusters) || fat * sector_size / 4 < clusters + FIRST {
        return Err("it has more clusters than its tables tell of, or too few for FAT32");
    }
    if !(FIRST..clusters + FIRST).contains(&root) {
        return Err("its root folder is in no cluster");
    }
    Ok(())
}
