//! A tree written as it grows: for hosts with little memory and images of any size.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use twinhull_layout::RootHash;

use crate::blocks::Blocks;
use crate::geometry::Geometry;
use crate::{BLOCK_SIZE, BuildError, HASH_SIZE, Salt, Superblock, leaf_hash};

/// Takes the blocks of a hash partition at their offsets. Every block is written exactly once, the superblock last: a tree
/// that was cut off has none.
pub trait HashSink {
    /// Writes all of `block` at `offset` bytes from the start of the hash partition.
    ///
    /// # Errors
    /// The system's.
    fn write_block(&mut self, offset: u64, block: &[u8; BLOCK_SIZE]) -> io::Result<()>;
}

impl HashSink for File {
    fn write_block(&mut self, offset: u64, block: &[u8; BLOCK_SIZE]) -> io::Result<()> {
        self.write_all_at(block, offset)
    }
}

impl HashSink for &File {
    fn write_block(&mut self, offset: u64, block: &[u8; BLOCK_SIZE]) -> io::Result<()> {
        self.write_all_at(block, offset)
    }
}

/// Grows as needed; for tests and small trees.
impl HashSink for Vec<u8> {
    fn write_block(&mut self, offset: u64, block: &[u8; BLOCK_SIZE]) -> io::Result<()> {
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        if self.len() < at + BLOCK_SIZE {
            self.resize(at + BLOCK_SIZE, 0);
        }
        self[at..at + BLOCK_SIZE].copy_from_slice(block);
        Ok(())
    }
}

/// Takes the blocks of an image in order and writes each hash block once it is full. Memory is one block a level
/// (four for 8 GiB), whatever the image's size.
#[derive(Debug)]
pub struct TreeWriter<S> {
    salt: Salt,
    geometry: Geometry,
    sink: S,
    levels: Vec<OpenBlock>,
    next: u64,
    root: [u8; HASH_SIZE],
    blocks: Blocks,
}

/// The hash block that is being filled in one level.
#[derive(Debug)]
struct OpenBlock {
    bytes: Box<[u8; BLOCK_SIZE]>,
    filled: usize,
    written: u64,
}

impl<S: HashSink> TreeWriter<S> {
    /// A tree over `data_blocks` blocks, written to `sink`.
    ///
    /// # Errors
    /// [`BuildError::DataBlocks`] outside 1 to [`crate::MAX_DATA_BLOCKS`].
    pub fn new(data_blocks: u64, salt: Salt, sink: S) -> Result<Self, BuildError> {
        let geometry = Geometry::new(data_blocks)?;
        let open = || OpenBlock {
            bytes: Box::new([0; BLOCK_SIZE]),
            filled: 0,
            written: 0,
        };
        let levels = geometry.levels.iter().map(|_| open()).collect();
        Ok(Self {
            salt,
            geometry,
            sink,
            levels,
            next: 0,
            root: [0; HASH_SIZE],
            blocks: Blocks::default(),
        })
    }

    /// Hashes the next block in order.
    ///
    /// # Errors
    /// [`BuildError::TooMuch`] after the last block, [`BuildError::Write`] from the sink.
    pub fn push_block(&mut self, block: &[u8; BLOCK_SIZE]) -> Result<(), BuildError> {
        self.push_leaf(leaf_hash(&self.salt, block))
    }

    /// Takes the hash ([`leaf_hash`]) of the next block in order, for callers that hash elsewhere.
    ///
    /// # Errors
    /// As [`Self::push_block`].
    pub fn push_leaf(&mut self, hash: [u8; HASH_SIZE]) -> Result<(), BuildError> {
        let data_blocks = self.geometry.data_blocks;
        if self.next >= data_blocks {
            return Err(BuildError::TooMuch {
                index: self.next,
                data_blocks,
            });
        }
        self.next += 1;
        self.push_hash(0, hash)
    }

    /// Completes the tree and writes the superblock. Gives the root hash and the sink, which is not flushed here.
    ///
    /// # Errors
    /// [`BuildError::Incomplete`] when a block is missing or was cut short, [`BuildError::Write`] from the sink.
    pub fn finish(mut self) -> Result<(RootHash, S), BuildError> {
        let data_blocks = self.geometry.data_blocks;
        if self.next != data_blocks || self.blocks.within_block() {
            return Err(BuildError::Incomplete {
                data_blocks,
                missing: self.next,
            });
        }
        for level in 0..self.levels.len() {
            if self.levels[level].filled > 0 {
                self.close_block(level)?;
            }
        }
        let mut block = [0; BLOCK_SIZE];
        let superblock = Superblock::new(data_blocks, self.salt).to_bytes();
        block[..superblock.len()].copy_from_slice(&superblock);
        self.write(0, &block)?;
        Ok((self.root.into(), self.sink))
    }

    /// Adds a hash to `level`; above the last level it is the root hash.
    fn push_hash(&mut self, level: usize, hash: [u8; HASH_SIZE]) -> Result<(), BuildError> {
        let Some(open) = self.levels.get_mut(level) else {
            self.root = hash;
            return Ok(());
        };
        open.bytes[open.filled..open.filled + HASH_SIZE].copy_from_slice(&hash);
        open.filled += HASH_SIZE;
        if open.filled < BLOCK_SIZE {
            Ok(())
        } else {
            self.close_block(level)
        }
    }

    /// Writes the open block of `level`, padded with zeros, and hands its hash up.
    fn close_block(&mut self, level: usize) -> Result<(), BuildError> {
        let open = &mut self.levels[level];
        open.bytes[open.filled..].fill(0);
        let offset = self.geometry.levels[level].offset + open.written * BLOCK_SIZE as u64;
        open.written += 1;
        open.filled = 0;
        let block = *open.bytes;
        self.write(offset, &block)?;
        self.push_hash(level + 1, leaf_hash(&self.salt, &block))
    }

    fn write(&mut self, offset: u64, block: &[u8; BLOCK_SIZE]) -> Result<(), BuildError> {
        self.sink
            .write_block(offset, block)
            .map_err(|source| BuildError::Write { offset, source })
    }
}

/// The image's bytes in order, in pieces of any size.
impl<S: HashSink> Write for TreeWriter<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut blocks = std::mem::take(&mut self.blocks);
        let pushed = blocks.push(bytes, |block| self.push_leaf(leaf_hash(&self.salt, block)));
        self.blocks = blocks;
        pushed.map(|()| bytes.len()).map_err(io::Error::other)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
