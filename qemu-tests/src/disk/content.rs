//! A slot's content: hashed against its root hash, and searched.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;

use twinhull_layout::RootHash;
use twinhull_layout::table::{Partition, SlotPartitions};

/// Where file data begins in an uncompressed erofs: on blocks of this size.
const BLOCK: usize = 4096;

/// Checks data and tree of a slot against `root_hash`; tells the first block that does not match.
pub(super) fn verify(disk: &File, slot: &SlotPartitions, root_hash: &RootHash) -> Result<(), String> {
    let mut data = BufReader::with_capacity(1 << 20, Region::of(disk, &slot.root));
    let mut tree = BufReader::with_capacity(1 << 20, Region::of(disk, &slot.verity));
    twinhull_verity::verify(&mut data, &mut tree, root_hash)
        .map(drop)
        .map_err(|error| error.to_string())
}

/// Every position on the disk, a whole number of blocks into `partition`, at which `wanted` stands.
pub(super) fn find(disk: &File, partition: &Partition, wanted: &[u8]) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    let mut blocks = BufReader::with_capacity(1 << 20, Region::of(disk, partition));
    let mut block = [0; BLOCK];
    let end = partition.start + partition.size;
    for position in (partition.start..end).step_by(BLOCK) {
        blocks.read_exact(&mut block)?;
        if block == wanted {
            found.push(position);
        }
    }
    Ok(found)
}

/// A partition as something to read from front to back.
struct Region<'a> {
    disk: &'a File,
    position: u64,
    end: u64,
}

impl<'a> Region<'a> {
    fn of(disk: &'a File, partition: &Partition) -> Self {
        Self {
            disk,
            position: partition.start,
            end: partition.start + partition.size,
        }
    }
}

impl Read for Region<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let read = self.disk.read_at(&mut buffer[..wanted], self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}
