//! What can go wrong, by what the caller was doing.

use std::io;

use twinhull_layout::RootHash;

use crate::geometry::MAX_DATA_BLOCKS;

/// A salt that is not 64 hexadecimal digits.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a verity salt is 64 hexadecimal digits; this text of {length} bytes is not")]
pub struct SaltError {
    pub(crate) length: usize,
}

/// A superblock that Twinhull does not read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SuperblockError {
    /// Fewer than 512 bytes.
    #[error("a verity superblock has 512 bytes, only {0} were given")]
    Short(usize),
    /// No signature: this is not a verity hash partition, or it was never written.
    #[error("no verity superblock here: the signature is missing")]
    NoSignature,
    /// A known field with a value outside what this crate supports.
    #[error("verity superblock: {field} is {found}, only {wanted} is supported")]
    Unsupported {
        /// The field's name.
        field: &'static str,
        /// What the superblock says.
        found: String,
        /// What would be accepted.
        wanted: String,
    },
}

impl SuperblockError {
    pub(crate) fn unsupported(field: &'static str, found: &dyn ToString, wanted: &dyn ToString) -> Self {
        Self::Unsupported {
            field,
            found: found.to_string(),
            wanted: wanted.to_string(),
        }
    }
}

/// Building a tree failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Zero blocks, or more than [`MAX_DATA_BLOCKS`].
    #[error("a verity tree covers 1 to {MAX_DATA_BLOCKS} blocks of 4096 bytes, not {0}")]
    DataBlocks(u64),
    /// A block beyond the count the tree was opened for.
    #[error(
        "block {index} does not belong to a verity tree over {data_blocks} blocks: the image is larger than announced"
    )]
    TooMuch {
        /// Index of the refused block.
        index: u64,
        /// Blocks the tree covers.
        data_blocks: u64,
    },
    /// Finished before every block was there.
    #[error(
        "verity tree over {data_blocks} blocks finished without block {missing}: the image is shorter than announced"
    )]
    Incomplete {
        /// Blocks the tree covers.
        data_blocks: u64,
        /// The first block without a hash.
        missing: u64,
    },
    /// The hash partition could not be written.
    #[error("writing a verity hash block at byte {offset}: {source}")]
    Write {
        /// Offset in the hash partition.
        offset: u64,
        /// The system's reason.
        source: io::Error,
    },
}

/// Data, tree and root hash do not belong together, or could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The superblock is not one of ours.
    #[error(transparent)]
    Superblock(#[from] SuperblockError),
    /// Reading the hash partition failed or it ended early.
    #[error("reading the verity hash partition at byte {offset}: {source}")]
    ReadHash {
        /// Offset in the hash partition.
        offset: u64,
        /// The system's reason.
        source: io::Error,
    },
    /// Reading the data failed or it ended early.
    #[error("reading verity data block {index}: {source}")]
    ReadData {
        /// Index of the block.
        index: u64,
        /// The system's reason.
        source: io::Error,
    },
    /// The top of the tree does not hash to the expected root hash.
    #[error(
        "the verity tree has root hash {found}, {expected} was expected: the partition holds another image or is damaged"
    )]
    Root {
        /// The trusted root hash.
        expected: RootHash,
        /// What the partition hashes to.
        found: RootHash,
    },
    /// A hash block differs from what the level above says.
    #[error("verity hash block {index} of level {level} is damaged")]
    HashBlock {
        /// Level, 0 being the hashes of the data.
        level: usize,
        /// Index in its level.
        index: u64,
    },
    /// A data block differs from what the tree says.
    #[error("verity data block {index} (byte {}) is damaged", index * 4096)]
    DataBlock {
        /// Index of the block.
        index: u64,
    },
}
