//! sha256 of all that is read.

use std::io::{self, BufRead};

use sha2::{Digest, Sha256};
use twinhull_trust::Hex32;

/// sha256 of what `reader` gives up to its end.
///
/// # Errors
/// It cannot be read.
pub(crate) fn sha256(reader: &mut dyn BufRead) -> io::Result<Hex32> {
    let mut hash = Sha256::new();
    loop {
        let bytes = reader.fill_buf()?;
        let count = bytes.len();
        if count == 0 {
            return Ok(Hex32::from(<[u8; 32]>::from(hash.finalize())));
        }
        hash.update(bytes);
        reader.consume(count);
    }
}
