//! The hashes of an output's blocks: those of its verity tree, so that whoever checks a segment has hashed it for the tree.

use sha2::{Digest, Sha256};
use twinhull_verity::{HASH_SIZE, Salt, leaf_hash};

use crate::hash::Sha256Hash;
use crate::limits::BLOCK;

/// The hash of one block of output.
pub type Leaf = [u8; HASH_SIZE];

/// Replaces `leaves` by those of `output`, and gives the hash over them: what a header says of a segment.
pub(crate) fn hash(salt: &Salt, output: &[u8], leaves: &mut Vec<Leaf>) -> Sha256Hash {
    leaves.clear();
    leaves.extend(output.chunks(BLOCK as usize).map(|block| leaf_hash(salt, block)));
    Sha256Hash(Sha256::digest(leaves.as_flattened()).into())
}
