//! A tree in memory: for leaves that come in any order, and for images whose tree is small beside them.

use std::io::{self, Write};

use twinhull_layout::RootHash;

use crate::blocks::Blocks;
use crate::geometry::{Geometry, partition_size};
use crate::{BLOCK_SIZE, BuildError, HASH_SIZE, Salt, Superblock, leaf_hash};

/// No block hashes to this, so it marks a leaf that has not been set.
const UNSET: [u8; HASH_SIZE] = [0; HASH_SIZE];

/// Collects the hash of every block; memory is the hash partition itself (about 32 bytes a block).
///
/// Blocks may come as bytes in order ([`Write`], any chunking), as blocks in order ([`TreeBuilder::push_block`]) or as hashes
/// in any order ([`TreeBuilder::set_leaf`]).
#[derive(Debug)]
pub struct TreeBuilder {
    salt: Salt,
    geometry: Geometry,
    partition: Vec<u8>,
    leaves_at: usize,
    next: u64,
    blocks: Blocks,
}

impl TreeBuilder {
    /// A tree over `data_blocks` blocks.
    ///
    /// # Errors
    /// [`BuildError::DataBlocks`] outside 1 to [`crate::MAX_DATA_BLOCKS`].
    pub fn new(data_blocks: u64, salt: Salt) -> Result<Self, BuildError> {
        let geometry = Geometry::new(data_blocks)?;
        let too_large = |_| BuildError::DataBlocks(data_blocks);
        let size = usize::try_from(partition_size(data_blocks)).map_err(too_large)?;
        // One block has no level; its hash waits in a place past the partition.
        let leaves_at = geometry
            .levels
            .first()
            .map_or(Ok(size), |level| usize::try_from(level.offset))
            .map_err(too_large)?;
        let partition = vec![
            0;
            if geometry.levels.is_empty() {
                size + HASH_SIZE
            } else {
                size
            }
        ];
        Ok(Self {
            salt,
            geometry,
            partition,
            leaves_at,
            next: 0,
            blocks: Blocks::default(),
        })
    }

    /// Hashes the next block in order.
    ///
    /// # Errors
    /// [`BuildError::TooMuch`] after the last block.
    pub fn push_block(&mut self, block: &[u8; BLOCK_SIZE]) -> Result<(), BuildError> {
        self.push_slice(block)
    }

    /// Sets the hash ([`leaf_hash`]) of block `index`, in any order. Does not move the place where [`Self::push_block`] goes on.
    ///
    /// # Errors
    /// [`BuildError::TooMuch`] for an index past the end.
    pub fn set_leaf(&mut self, index: u64, hash: [u8; HASH_SIZE]) -> Result<(), BuildError> {
        let data_blocks = self.geometry.data_blocks;
        let too_much = BuildError::TooMuch { index, data_blocks };
        if index >= data_blocks {
            return Err(too_much);
        }
        let Ok(index) = usize::try_from(index) else {
            return Err(too_much);
        };
        let at = self.leaves_at + index * HASH_SIZE;
        self.partition[at..at + HASH_SIZE].copy_from_slice(&hash);
        Ok(())
    }

    /// Computes the levels above the leaves.
    ///
    /// # Errors
    /// [`BuildError::Incomplete`] when a leaf is missing or the last block was cut short.
    pub fn finish(mut self) -> Result<Tree, BuildError> {
        let data_blocks = self.geometry.data_blocks;
        let leaves = self.partition[self.leaves_at..].chunks_exact(HASH_SIZE);
        if let Some((missing, _)) = (0..data_blocks).zip(leaves).find(|(_, leaf)| **leaf == UNSET) {
            return Err(BuildError::Incomplete { data_blocks, missing });
        }
        let Some(top) = self.geometry.levels.last().copied() else {
            let mut root = [0; HASH_SIZE];
            root.copy_from_slice(&self.partition[self.leaves_at..]);
            self.partition.truncate(self.leaves_at);
            return Ok(self.seal(root));
        };
        for pair in self.geometry.levels.windows(2) {
            // The level above lies before its children, and both are whole blocks within the partition.
            let (above, below) = self.partition.split_at_mut(offset(pair[0].offset));
            let parents = above[offset(pair[1].offset)..].chunks_exact_mut(HASH_SIZE);
            let children = below[..offset(pair[0].blocks) * BLOCK_SIZE].chunks_exact(BLOCK_SIZE);
            for (child, parent) in children.zip(parents) {
                parent.copy_from_slice(&leaf_hash(&self.salt, child));
            }
        }
        let top = offset(top.offset);
        let root = leaf_hash(&self.salt, &self.partition[top..top + BLOCK_SIZE]);
        Ok(self.seal(root))
    }

    fn seal(mut self, root: [u8; HASH_SIZE]) -> Tree {
        let superblock = Superblock::new(self.geometry.data_blocks, self.salt).to_bytes();
        self.partition[..superblock.len()].copy_from_slice(&superblock);
        Tree {
            root_hash: root.into(),
            partition: self.partition,
        }
    }

    fn push_slice(&mut self, block: &[u8]) -> Result<(), BuildError> {
        self.set_leaf(self.next, leaf_hash(&self.salt, block))?;
        self.next += 1;
        Ok(())
    }
}

/// Offsets within the partition fit memory: it was allocated whole.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the partition is in memory, so an offset in it fits usize"
)]
fn offset(offset: u64) -> usize {
    offset as usize
}

/// The image's bytes in order, in pieces of any size. Fails as [`BuildError::TooMuch`] says when more come than announced.
impl Write for TreeBuilder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut blocks = std::mem::take(&mut self.blocks);
        let pushed = blocks.push(bytes, |block| self.push_slice(block));
        self.blocks = blocks;
        pushed.map(|()| bytes.len()).map_err(io::Error::other)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A finished hash partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    root_hash: RootHash,
    partition: Vec<u8>,
}

impl Tree {
    /// The root hash: what the kernel command line and the signed release carry.
    pub const fn root_hash(&self) -> &RootHash {
        &self.root_hash
    }

    /// The whole hash partition: superblock and levels, top level first.
    pub fn as_bytes(&self) -> &[u8] {
        &self.partition
    }

    /// Writes [`Tree::as_bytes`] to `out`.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.partition)
    }
}
