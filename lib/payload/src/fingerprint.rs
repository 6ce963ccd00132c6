//! Tells a wrong base early, without reading all of it.

use std::io;

use sha2::{Digest, Sha256};

use crate::ReadAt;
use crate::hash::Sha256Hash;
use crate::limits::BLOCK;
use crate::segment::clip;

/// Blocks that are looked at, evenly spread from the first to the last.
const SAMPLES: u64 = 64;

/// SHA-256 over the size (64 bits, little-endian) and up to 64 blocks of the base. This guards against mistakes, not
/// malice: what the output must be is said by the segments' hashes.
pub(crate) fn fingerprint(base: &dyn ReadAt, size: u64) -> io::Result<Sha256Hash> {
    let mut hash = Sha256::new();
    hash.update(size.to_le_bytes());
    let blocks = size.div_ceil(BLOCK.into());
    let samples = blocks.min(SAMPLES);
    let mut block = vec![0; BLOCK as usize];
    for sample in 0..samples {
        let index = if samples > 1 {
            sample * (blocks - 1) / (samples - 1)
        } else {
            0
        };
        let block = &mut block[..clip(index, 1, size) as usize];
        base.read_at(index * u64::from(BLOCK), block)?;
        hash.update(block);
    }
    Ok(Sha256Hash(hash.finalize().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_and_last_bytes_and_the_size_count() {
        let image = vec![3; 1_000_003];
        let expected = fingerprint(&image, 1_000_003).unwrap();
        for at in [0, 1_000_002] {
            let mut other = image.clone();
            other[at] = 4;
            assert_ne!(fingerprint(&other, 1_000_003).unwrap(), expected);
        }
        assert_ne!(fingerprint(&image, 1_000_002).unwrap(), expected);
        assert!(fingerprint(&image, 1_000_004).is_err());
    }
}
