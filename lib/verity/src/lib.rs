//! dm-verity hash trees, as `veritysetup format` writes them: 4096-byte data and hash blocks, SHA-256,
//! a 32-byte salt, superblock version 1, hash type 1.
//!
//! Specification: `Documentation/admin-guide/device-mapper/verity.rst` of the kernel ("On-disk format", "Hash tree") and
//! the page on dm-verity in the wiki of cryptsetup (the superblock).
//!
//! Three ways to a tree, by what the caller has:
//!
//! - [`TreeBuilder`] keeps the tree in memory (32 bytes a block) and takes leaves in any order;
//! - [`TreeWriter`] takes blocks in order and writes hash blocks as they fill: memory is one block a level;
//! - [`verify`] reads an existing tree beside its data and compares everything, down from a trusted root hash.

mod blocks;
mod error;
mod geometry;
mod leaf;
mod salt;
mod superblock;
mod tree;
mod verify;
mod writer;

pub use error::{BuildError, SaltError, SuperblockError, VerifyError};
pub use geometry::{MAX_DATA_BLOCKS, partition_size};
pub use leaf::leaf_hash;
pub use salt::Salt;
pub use superblock::{SUPERBLOCK_SIZE, Superblock};
pub use tree::{Tree, TreeBuilder};
pub use verify::verify;
pub use writer::{HashSink, TreeWriter};

/// Bytes of a data block and of a hash block. The kernel allows others; Twinhull writes and reads only this one,
/// the page size of both its architectures.
pub const BLOCK_SIZE: usize = 4096;

/// Bytes of one hash (SHA-256).
pub const HASH_SIZE: usize = 32;

/// Hashes in one hash block.
const FANOUT: u64 = (BLOCK_SIZE / HASH_SIZE) as u64;
