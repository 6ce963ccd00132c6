//! Signatures of a PE image: what they cover, and where they are kept.
//!
//! Specifications: Microsoft, "Windows Authenticode Portable Executable Signature Format", "Calculating the PE Image Hash";
//! "PE Format", section 6.4 (certificate table). The signature itself is an opaque PKCS #7 structure here.

use object::LittleEndian as LE;
use object::pe::ImageDataDirectory;
use sha2::{Digest, Sha256};

use crate::append::CHECKSUM_AT;
use crate::checksum::checksum;
use crate::image::{Image, put};
use crate::{Part, UkiError};

/// Certificates begin and end on this many bytes.
const ALIGNMENT: usize = 8;

/// `WIN_CERTIFICATE`: length (4), revision (2), type (2).
const CERTIFICATE_HEADER: usize = 8;
const REVISION_2: u16 = 0x0200;
const TYPE_PKCS_SIGNED_DATA: u16 = 0x0002;

/// The most signatures that are read from one image.
const MAX_SIGNATURES: usize = 16;

/// Where the parts are that a signature does not cover.
struct Places {
    checksum: usize,
    directory: usize,
    headers_end: usize,
    sections: Vec<(usize, usize)>,
    /// First byte and size of the certificate table; the end of the file and nothing when there is none.
    table: (usize, usize),
}

impl Places {
    fn find(pe: &[u8]) -> Result<Self, UkiError> {
        let image = Image::parse(pe, Part::Image)?;
        let directory = image
            .signature_directory_at
            .ok_or_else(|| wrong("its headers have no entry for one"))?;
        let word = |at: usize| {
            let bytes = pe.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes
                .map(|bytes| u32::from_le_bytes(bytes) as usize)
                .ok_or_else(|| wrong("the headers end too early"))
        };
        let (start, size) = (word(directory)?, word(directory + 4)?);
        let table = match (start, size) {
            (0, _) | (_, 0) => (pe.len(), 0),
            // Anything behind the table would be covered by nothing.
            (start, size) if start >= image.end_of_sections() && start + size == pe.len() => (start, size),
            _ => return Err(wrong("the certificate table is not at the end of the file")),
        };
        let mut sections: Vec<(usize, usize)> = image
            .sections
            .iter()
            .map(|section| {
                let start = section.pointer_to_raw_data.get(LE) as usize;
                (start, start + section.size_of_raw_data.get(LE) as usize)
            })
            .filter(|(start, end)| start < end)
            .collect();
        sections.sort_unstable();
        let places = Self {
            checksum: image.headers_at + CHECKSUM_AT,
            directory,
            headers_end: image.headers.optional_header.size_of_headers.get(LE) as usize,
            sections,
            table,
        };
        let end = places.directory + size_of::<ImageDataDirectory>();
        if end > places.headers_end || places.headers_end > places.table.0 {
            return Err(wrong("its headers contradict each other"));
        }
        Ok(places)
    }
}

/// The hash that a signature of the image speaks of: everything but its checksum and its signatures.
///
/// # Errors
/// The bytes are no PE image, or one that cannot be signed.
pub fn authenticode_digest(pe: &[u8]) -> Result<[u8; 32], UkiError> {
    let places = Places::find(pe)?;
    let mut hash = Sha256::new();
    hash.update(&pe[..places.checksum]);
    hash.update(&pe[places.checksum + 4..places.directory]);
    hash.update(&pe[places.directory + size_of::<ImageDataDirectory>()..places.headers_end]);
    let mut hashed = places.headers_end;
    for (start, end) in &places.sections {
        if *start < hashed {
            return Err(wrong("its sections overlap"));
        }
        // Firmware hashes sections one after the other; what lies between them would be covered by nothing.
        if pe[hashed..*start].iter().any(|byte| *byte != 0) {
            return Err(wrong("there is something between its sections"));
        }
        hash.update(&pe[*start..*end]);
        hashed = *end;
    }
    hash.update(&pe[hashed..places.table.0]);
    // A file that is signed is filled up to the alignment of its certificate table first.
    let filling = places.table.0.next_multiple_of(ALIGNMENT) - places.table.0;
    hash.update(&[0; ALIGNMENT][..filling]);
    Ok(hash.finalize().into())
}

/// The signatures of the image, each as DER of a PKCS #7 structure.
///
/// # Errors
/// The bytes are no PE image, or its certificate table is damaged.
pub fn signatures(pe: &[u8]) -> Result<Vec<&[u8]>, UkiError> {
    let (start, size) = Places::find(pe)?.table;
    let mut rest = &pe[start..start + size];
    let mut found = Vec::new();
    while !rest.is_empty() && found.len() < MAX_SIGNATURES {
        let header = rest
            .first_chunk::<CERTIFICATE_HEADER>()
            .ok_or_else(|| wrong("the certificate table is cut short"))?;
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = u16::from_le_bytes([header[6], header[7]]);
        let content = rest
            .get(CERTIFICATE_HEADER..length)
            .ok_or_else(|| wrong("a certificate passes the end of its table"))?;
        if kind == TYPE_PKCS_SIGNED_DATA {
            found.push(content);
        }
        rest = rest.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
    }
    Ok(found)
}

/// The image without its signatures, filled up to where one would begin.
///
/// # Errors
/// As [`signatures`].
pub fn without_signatures(pe: &[u8]) -> Result<Vec<u8>, UkiError> {
    let places = Places::find(pe)?;
    let mut out = pe[..places.table.0].to_vec();
    out.resize(places.table.0.next_multiple_of(ALIGNMENT), 0);
    put(&mut out, places.directory, &[0; size_of::<ImageDataDirectory>()])?;
    with_checksum(out, places.checksum)
}

/// The image with `signature`, the DER of a PKCS #7 structure, in the place of those it had.
///
/// # Errors
/// The bytes are no PE image, or it would pass 4 GiB.
pub fn attach_signature(pe: &[u8], signature: &[u8]) -> Result<Vec<u8>, UkiError> {
    let mut out = without_signatures(pe)?;
    let places = Places::find(&out)?;
    let start = u32::try_from(out.len()).map_err(|_| wrong("it passes 4 GiB"))?;
    let length = CERTIFICATE_HEADER + signature.len();
    let padded = length.next_multiple_of(ALIGNMENT);
    let narrow = |size: usize| u32::try_from(size).map_err(|_| wrong("the signature passes 4 GiB"));
    out.extend_from_slice(&narrow(length)?.to_le_bytes());
    out.extend_from_slice(&REVISION_2.to_le_bytes());
    out.extend_from_slice(&TYPE_PKCS_SIGNED_DATA.to_le_bytes());
    out.extend_from_slice(signature);
    out.resize(start as usize + padded, 0);
    put(&mut out, places.directory, &start.to_le_bytes())?;
    put(&mut out, places.directory + 4, &narrow(padded)?.to_le_bytes())?;
    with_checksum(out, places.checksum)
}

fn with_checksum(mut pe: Vec<u8>, field: usize) -> Result<Vec<u8>, UkiError> {
    let sum = checksum(&pe, field).ok_or_else(|| wrong("it passes 4 GiB"))?;
    put(&mut pe, field, &sum.to_le_bytes())?;
    Ok(pe)
}

fn wrong(reason: &str) -> UkiError {
    UkiError::Signature {
        reason: reason.to_owned(),
    }
}
