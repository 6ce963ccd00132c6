//! The first 512 bytes of a hash partition.

use crate::geometry::MAX_DATA_BLOCKS;
use crate::{BLOCK_SIZE, Salt, SuperblockError};

/// Bytes of a superblock. It has a whole hash block to itself; the rest of that block is zero.
pub const SUPERBLOCK_SIZE: usize = 512;

const SIGNATURE: &[u8; 8] = b"verity\0\0";
const VERSION: u32 = 1;
const HASH_TYPE: u32 = 1;
const ALGORITHM: &[u8; 6] = b"sha256";
const SALT_SIZE: u16 = 32;
/// [`BLOCK_SIZE`] in the width of its two fields.
const BLOCK_SIZE_FIELD: u32 = 4096;
const _: () = assert!(BLOCK_SIZE_FIELD as usize == BLOCK_SIZE);

// Offsets of the fields; all numbers are little-endian.
const AT_VERSION: usize = 8;
const AT_HASH_TYPE: usize = 12;
const AT_UUID: usize = 16;
const AT_ALGORITHM: usize = 32;
const ALGORITHM_SIZE: usize = 32;
const AT_DATA_BLOCK_SIZE: usize = 64;
const AT_HASH_BLOCK_SIZE: usize = 68;
const AT_DATA_BLOCKS: usize = 72;
const AT_SALT_SIZE: usize = 80;
const AT_SALT: usize = 88;

/// What a superblock says about its tree. The root hash does not cover it: take nothing from here on trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Superblock {
    /// Blocks of 4096 bytes that the tree covers: 1 to [`MAX_DATA_BLOCKS`].
    pub data_blocks: u64,
    /// The salt.
    pub salt: Salt,
    /// Identifies the partition for people; no meaning.
    pub uuid: [u8; 16],
}

impl Superblock {
    /// A superblock for `data_blocks` blocks whose UUID follows from the salt.
    pub fn new(data_blocks: u64, salt: Salt) -> Self {
        Self {
            data_blocks,
            salt,
            uuid: salt.uuid(),
        }
    }

    /// The bytes, as `veritysetup format` would write them.
    pub fn to_bytes(&self) -> [u8; SUPERBLOCK_SIZE] {
        let mut bytes = [0; SUPERBLOCK_SIZE];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, SIGNATURE);
        put(AT_VERSION, &VERSION.to_le_bytes());
        put(AT_HASH_TYPE, &HASH_TYPE.to_le_bytes());
        put(AT_UUID, &self.uuid);
        put(AT_ALGORITHM, ALGORITHM);
        put(AT_DATA_BLOCK_SIZE, &BLOCK_SIZE_FIELD.to_le_bytes());
        put(AT_HASH_BLOCK_SIZE, &BLOCK_SIZE_FIELD.to_le_bytes());
        put(AT_DATA_BLOCKS, &self.data_blocks.to_le_bytes());
        put(AT_SALT_SIZE, &SALT_SIZE.to_le_bytes());
        put(AT_SALT, self.salt.as_bytes());
        bytes
    }

    /// Reads a superblock from the start of `bytes`; what follows its 512 bytes is not looked at.
    ///
    /// # Errors
    /// When there is no superblock, or one with another version, hash type, algorithm, block size or salt size than this
    /// crate writes, or with a block count of zero or above [`MAX_DATA_BLOCKS`].
    pub fn parse(bytes: &[u8]) -> Result<Self, SuperblockError> {
        let bytes: &[u8; SUPERBLOCK_SIZE] = bytes.first_chunk().ok_or(SuperblockError::Short(bytes.len()))?;
        if bytes[..8] != *SIGNATURE {
            return Err(SuperblockError::NoSignature);
        }
        expect("version", number(bytes, AT_VERSION, 4), VERSION.into())?;
        expect("hash type", number(bytes, AT_HASH_TYPE, 4), HASH_TYPE.into())?;
        let algorithm = &bytes[AT_ALGORITHM..AT_ALGORITHM + ALGORITHM_SIZE];
        let name = algorithm.split(|byte| *byte == 0).next().unwrap_or_default();
        if name != ALGORITHM {
            return Err(SuperblockError::unsupported(
                "algorithm",
                &name.escape_ascii(),
                &"sha256",
            ));
        }
        expect(
            "data block size",
            number(bytes, AT_DATA_BLOCK_SIZE, 4),
            BLOCK_SIZE as u64,
        )?;
        expect(
            "hash block size",
            number(bytes, AT_HASH_BLOCK_SIZE, 4),
            BLOCK_SIZE as u64,
        )?;
        expect("salt size", number(bytes, AT_SALT_SIZE, 2), SALT_SIZE.into())?;
        let data_blocks = number(bytes, AT_DATA_BLOCKS, 8);
        if data_blocks == 0 || data_blocks > MAX_DATA_BLOCKS {
            let wanted = format!("1 to {MAX_DATA_BLOCKS}");
            return Err(SuperblockError::unsupported(
                "number of data blocks",
                &data_blocks,
                &wanted,
            ));
        }
        let (mut salt, mut uuid) = ([0; 32], [0; 16]);
        salt.copy_from_slice(&bytes[AT_SALT..AT_SALT + 32]);
        uuid.copy_from_slice(&bytes[AT_UUID..AT_UUID + 16]);
        Ok(Self {
            data_blocks,
            salt: salt.into(),
            uuid,
        })
    }
}

fn number(bytes: &[u8; SUPERBLOCK_SIZE], at: usize, size: usize) -> u64 {
    bytes[at..at + size]
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn expect(field: &'static str, found: u64, wanted: u64) -> Result<(), SuperblockError> {
    if found == wanted {
        Ok(())
    } else {
        Err(SuperblockError::unsupported(field, &found, &wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Superblock {
        Superblock::new(70_000, Salt::from([7; 32]))
    }

    #[test]
    fn bytes_go_both_ways() {
        assert_eq!(Superblock::parse(&sample().to_bytes()).unwrap(), sample());
    }

    #[test]
    fn what_the_kernel_supports_and_we_do_not_is_named() {
        let cases = [
            (8, "version"),
            (12, "hash type"),
            (33, "algorithm"),
            (65, "data block size"),
            (69, "hash block size"),
            (80, "salt size"),
            (79, "number of data blocks"),
        ];
        for (at, name) in cases {
            let mut bytes = sample().to_bytes();
            bytes[at] ^= 0x40;
            let error = Superblock::parse(&bytes).unwrap_err();
            assert!(
                matches!(&error, SuperblockError::Unsupported { field, .. } if *field == name),
                "{error}"
            );
        }
    }

    #[test]
    fn short_or_foreign_bytes_are_refused() {
        assert_eq!(
            Superblock::parse(&sample().to_bytes()[..511]),
            Err(SuperblockError::Short(511))
        );
        assert_eq!(Superblock::parse(&[0; 512]), Err(SuperblockError::NoSignature));
    }
}
