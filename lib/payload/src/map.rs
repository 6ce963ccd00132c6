//! The block map of an image: eight bytes for each of its blocks. `docs/payload-format.md`, "Block map".

use std::io::Write;

use sha2::{Digest, Sha256};

use crate::error::MakeError;
use crate::hash::Sha256Hash;
use crate::limits::BLOCK;
use crate::segment::clip;
use crate::source::{ReadAt, Source};

/// Bytes of the map for one block.
pub(crate) const ENTRY: usize = 8;

/// Bytes of the map of an image of `image_size` bytes.
pub const fn block_map_size(image_size: u64) -> u64 {
    image_size.div_ceil(BLOCK as u64) * ENTRY as u64
}

/// What stands for a block: the first eight bytes of its SHA-256.
pub(crate) fn entry(block: &[u8]) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    entry.copy_from_slice(&Sha256::digest(block)[..ENTRY]);
    entry
}

/// Writes the map of `image` to `out` and gives its hash, which release metadata names.
///
/// # Errors
/// [`MakeError::Read`] and [`MakeError::Write`].
pub fn make_block_map(image: &dyn Source, out: &mut dyn Write) -> Result<Sha256Hash, MakeError> {
    let read_error = |offset| {
        move |source| MakeError::Read {
            image: "new image",
            offset,
            source,
        }
    };
    let size = image.size().map_err(read_error(0))?;
    let mut hash = Sha256::new();
    let mut block = vec![0; BLOCK as usize];
    for number in 0..size.div_ceil(BLOCK.into()) {
        let offset = number * u64::from(BLOCK);
        let block = &mut block[..clip(number, 1, size) as usize];
        ReadAt::read_at(image, offset, block).map_err(read_error(offset))?;
        let entry = entry(block);
        hash.update(entry);
        out.write_all(&entry).map_err(MakeError::Write)?;
    }
    Ok(Sha256Hash(hash.finalize().into()))
}
