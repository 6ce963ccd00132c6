//! What a TPM holds after the image was started.
//!
//! Specifications: systemd-stub(7) of version 257, "TPM PCR Notes"; UAPI.5 "Unified Kernel Image", "PCR Measurements".

use object::LittleEndian as LE;
use sha2::{Digest, Sha256};

use crate::image::Image;
use crate::{Part, UkiError};

/// The sections that are measured, in the order in which they are, whatever their order in the file is.
const MEASURED: [&str; 13] = [
    ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat", ".pcrpkey", ".profile",
    ".dtbauto", ".hwids",
];

/// The largest section that is measured, in bytes of memory: what an image says of its size is not believed beyond this.
const LARGEST: usize = 1 << 30;

/// The value of PCR 11 in the SHA-256 bank once systemd-stub has started the image in `pe`, and before anything else extends it
/// (systemd's boot phases would, where its TPM libraries are installed).
///
/// As `systemd-measure calculate --phase=:` says of the same sections. Fails on what is no 64-bit PE image, and on a section
/// of more than 1 GiB.
pub fn pcr11(pe: &[u8]) -> Result<[u8; 32], UkiError> {
    let image = Image::parse(pe, Part::Image)?;
    let mut register = [0; 32];
    let mut extend = |event: [u8; 32]| {
        register = Sha256::new()
            .chain_update(register)
            .chain_update(event)
            .finalize()
            .into();
    };
    for name in MEASURED {
        let Some(header) = image.find(name) else { continue };
        let content = image.data(pe, header)?;
        let mapped = header.virtual_size.get(LE) as usize;
        if mapped > LARGEST {
            return Err(UkiError::NotPe {
                part: Part::Image,
                reason: format!("section {name} claims {mapped} bytes of memory; at most {LARGEST} are measured"),
            });
        }
        // The name with the NUL that ends it, then all that is mapped: zeros where the file has none.
        extend(Sha256::new().chain_update(name).chain_update([0]).finalize().into());
        let mut hash = Sha256::new_with_prefix(content);
        let zeros = [0; 4096];
        let mut left = mapped.saturating_sub(content.len());
        while left > 0 {
            let part = left.min(zeros.len());
            hash.update(&zeros[..part]);
            left -= part;
        }
        extend(hash.finalize().into());
    }
    Ok(register)
}
