//! Where the levels of a tree lie in the hash partition.

use crate::{BLOCK_SIZE, BuildError, FANOUT};

/// The most blocks a tree may cover: 1 TiB of data. A superblock is not covered by the root hash, so its count needs a
/// bound of its own before anything is allocated by it.
pub const MAX_DATA_BLOCKS: u64 = 1 << 28;

/// Bytes of the hash partition for `data_blocks` blocks of data: the superblock's block and every level.
///
/// Saturates for counts above [`MAX_DATA_BLOCKS`], which nothing else here accepts.
pub fn partition_size(data_blocks: u64) -> u64 {
    let mut total = 1_u64;
    let mut level = data_blocks;
    while level > 1 {
        level = level.div_ceil(FANOUT);
        total = total.saturating_add(level);
    }
    total.saturating_mul(BLOCK_SIZE as u64)
}

/// The levels of one tree. Level 0 holds the hashes of the data; the last level is a single block. On the partition the
/// order is the reverse: superblock, last level, ..., level 0. One block of data has no level at all: its own hash is the
/// root hash.
#[derive(Debug, Clone)]
pub(crate) struct Geometry {
    /// Blocks of data.
    pub(crate) data_blocks: u64,
    /// Per level: where it starts in the hash partition, and how many blocks it has.
    pub(crate) levels: Vec<Level>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) offset: u64,
    pub(crate) blocks: u64,
}

impl Geometry {
    pub(crate) fn new(data_blocks: u64) -> Result<Self, BuildError> {
        if data_blocks == 0 || data_blocks > MAX_DATA_BLOCKS {
            return Err(BuildError::DataBlocks(data_blocks));
        }
        let mut levels = Vec::new();
        let mut offset = partition_size(data_blocks);
        let mut blocks = data_blocks;
        while blocks > 1 {
            blocks = blocks.div_ceil(FANOUT);
            offset -= blocks * BLOCK_SIZE as u64;
            levels.push(Level { offset, blocks });
        }
        Ok(Self { data_blocks, levels })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn top_level_follows_the_superblock_and_levels_are_adjacent() {
        for blocks in [2, 128, 129, 16384, 16385, 500_000, MAX_DATA_BLOCKS] {
            let geometry = Geometry::new(blocks).unwrap();
            let mut end = BLOCK_SIZE as u64;
            for level in geometry.levels.iter().rev() {
                assert_eq!(level.offset, end);
                end += level.blocks * BLOCK_SIZE as u64;
            }
            assert_eq!(end, partition_size(blocks));
            assert_eq!(geometry.levels.last().unwrap().blocks, 1);
        }
    }

    #[test]
    fn one_block_needs_no_tree() {
        assert_eq!(partition_size(1), 4096);
        assert!(Geometry::new(1).unwrap().levels.is_empty());
    }

    #[test]
    fn counts_outside_the_bounds_are_refused() {
        assert!(Geometry::new(0).is_err());
        assert!(Geometry::new(MAX_DATA_BLOCKS + 1).is_err());
        assert_eq!(partition_size(u64::MAX), u64::MAX);
    }
}
