//! Checks data and tree against a trusted root hash, reading both once from front to back.

use std::io::Read;

use twinhull_layout::RootHash;

use crate::geometry::{Geometry, Level};
use crate::{BLOCK_SIZE, HASH_SIZE, Salt, Superblock, SuperblockError, VerifyError, leaf_hash};

/// Reads the hash partition and the data it covers and checks every block of both down from `expected`.
///
/// `data` may go on after the blocks that the tree covers (a partition larger than its image); that rest is not read.
/// The returned superblock says how much was covered: it is not authenticated by the root hash, so a caller who knows the
/// image's size compares it. Memory is the levels above the leaves: 1/16384 of the data.
///
/// # Errors
/// The first block, of either, that cannot be read or does not match.
pub fn verify(data: &mut impl Read, hash: &mut impl Read, expected: &RootHash) -> Result<Superblock, VerifyError> {
    let mut hash = HashReader {
        reader: hash,
        offset: 0,
    };
    let superblock = Superblock::parse(&hash.block()?)?;
    let salt = superblock.salt;
    let geometry = Geometry::new(superblock.data_blocks)
        .map_err(|error| SuperblockError::unsupported("number of data blocks", &superblock.data_blocks, &error))?;

    // Hashes that the next level down must have; at first the root hash alone.
    let mut trusted = expected.as_bytes().to_vec();
    let mut block = vec![0; BLOCK_SIZE];
    for (level, Level { blocks, .. }) in geometry.levels.iter().enumerate().rev() {
        let leaves = level == 0;
        let mut below = Vec::new();
        for index in 0..*blocks {
            let hashes = hash.block()?;
            let found = leaf_hash(&salt, &hashes);
            if trusted_at(&trusted, index) != Some(&found) {
                let top = level + 1 == geometry.levels.len();
                return Err(if top {
                    root_mismatch(expected, found)
                } else {
                    VerifyError::HashBlock { level, index }
                });
            }
            if leaves {
                let first = index * (BLOCK_SIZE / HASH_SIZE) as u64;
                check_data(data, &mut block, &salt, &hashes, first, superblock.data_blocks)?;
            } else {
                below.extend_from_slice(&hashes);
            }
        }
        trusted = below;
    }
    if geometry.levels.is_empty() {
        read_data(data, &mut block, 0)?;
        let found = leaf_hash(&salt, &block);
        if found != *expected.as_bytes() {
            return Err(root_mismatch(expected, found));
        }
    }
    Ok(superblock)
}

/// Checks the data blocks from `first` that one hash block covers.
fn check_data(
    data: &mut impl Read,
    block: &mut [u8],
    salt: &Salt,
    hashes: &[u8],
    first: u64,
    data_blocks: u64,
) -> Result<(), VerifyError> {
    for (index, leaf) in (first..data_blocks).zip(hashes.chunks_exact(HASH_SIZE)) {
        read_data(data, block, index)?;
        if leaf_hash(salt, block) != *leaf {
            return Err(VerifyError::DataBlock { index });
        }
    }
    Ok(())
}

fn read_data(data: &mut impl Read, block: &mut [u8], index: u64) -> Result<(), VerifyError> {
    data.read_exact(block)
        .map_err(|source| VerifyError::ReadData { index, source })
}

fn trusted_at(trusted: &[u8], index: u64) -> Option<&[u8; HASH_SIZE]> {
    let at = usize::try_from(index).ok()?.checked_mul(HASH_SIZE)?;
    trusted.get(at..)?.first_chunk()
}

fn root_mismatch(expected: &RootHash, found: [u8; HASH_SIZE]) -> VerifyError {
    VerifyError::Root {
        expected: RootHash::from(*expected.as_bytes()),
        found: found.into(),
    }
}

struct HashReader<'a, R> {
    reader: &'a mut R,
    offset: u64,
}

impl<R: Read> HashReader<'_, R> {
    fn block(&mut self) -> Result<[u8; BLOCK_SIZE], VerifyError> {
        let mut block = [0; BLOCK_SIZE];
        let offset = self.offset;
        self.reader
            .read_exact(&mut block)
            .map_err(|source| VerifyError::ReadHash { offset, source })?;
        self.offset += BLOCK_SIZE as u64;
        Ok(block)
    }
}
