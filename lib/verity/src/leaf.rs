//! The hash of one block.

use sha2::{Digest, Sha256};

use crate::{HASH_SIZE, Salt};

/// The hash of one block (of data, or of hashes) as hash type 1 defines it: SHA-256 of the salt followed by the block.
///
/// `block` is one whole block of [`crate::BLOCK_SIZE`] bytes; that is the caller's to keep.
pub fn leaf_hash(salt: &Salt, block: &[u8]) -> [u8; HASH_SIZE] {
    let mut hash = Sha256::new();
    hash.update(salt.as_bytes());
    hash.update(block);
    hash.finalize().into()
}
