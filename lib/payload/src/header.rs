//! Everything before the first blob: `docs/payload-format.md`, "Header".

use std::io::Read;

use twinhull_verity::Salt;
use zstd::zstd_safe;

use crate::error::HeaderError;
use crate::hash::Sha256Hash;
use crate::limits::{BLOCK, MAX_HEADER, MAX_IMAGE, MAX_STRUCTURE};
use crate::segment::Segment;
use crate::structure::{Bounds, Cursor};

const MAGIC: &[u8; 8] = b"\x89THP\r\n\x1a\n";
const VERSION: u32 = 2;
/// Bytes before the structure.
const FIXED: usize = 120;
const HASH: usize = 32;

/// A header that was checked whole: hash, bounds, every segment.
///
/// It keeps the structure as bytes and decodes a segment when it is asked for: a parsed table would take several times
/// the memory, and hosts have little.
#[derive(Debug, Clone)]
pub struct Header {
    facts: Facts,
    sha256: Sha256Hash,
    size: u32,
    structure: Vec<u8>,
    /// Hashes of the segments' outputs, then of the blobs.
    hashes: Vec<u8>,
}

/// The fixed fields.
#[derive(Debug, Clone, Copy)]
struct Facts {
    output_size: u64,
    base_size: u64,
    blobs_size: u64,
    segments: u32,
    blobs: u32,
    base_fingerprint: Sha256Hash,
    salt: Salt,
}

impl Header {
    /// Reads exactly `size` bytes, compares their hash with `expected`, and only then looks into them.
    ///
    /// `size` and `expected` come from signed metadata. Memory is at most [`MAX_HEADER`] plus
    /// [`MAX_STRUCTURE`], whatever the bytes ask for.
    ///
    /// # Errors
    /// [`HeaderError`]: too large, cut short, another hash, another version, or anything outside the format's bounds.
    pub fn read(reader: &mut impl Read, expected: &Sha256Hash, size: u64) -> Result<Self, HeaderError> {
        let header_size = u32::try_from(size).ok().filter(|size| *size <= MAX_HEADER);
        let header_size = header_size.ok_or(HeaderError::TooLarge { size })?;
        let mut bytes = Vec::with_capacity(header_size as usize);
        let read = reader.take(size).read_to_end(&mut bytes).map_err(HeaderError::Read)?;
        if read as u64 != size {
            return Err(HeaderError::Truncated {
                size,
                read: read as u64,
            });
        }
        let found = Sha256Hash::of(&bytes);
        if found != *expected {
            return Err(HeaderError::Hash {
                expected: *expected,
                found,
            });
        }
        Self::parse(bytes, header_size, found)
    }

    fn parse(mut bytes: Vec<u8>, header_size: u32, sha256: Sha256Hash) -> Result<Self, HeaderError> {
        let fixed: &[u8; FIXED] = bytes
            .first_chunk()
            .ok_or(HeaderError::Malformed("shorter than its fixed part"))?;
        if fixed[..8] != *MAGIC {
            return Err(HeaderError::Malformed(
                "the magic number is missing: this is no payload",
            ));
        }
        let version = u32_at(fixed, 8);
        if version != VERSION {
            return Err(HeaderError::Version(version));
        }
        if u32_at(fixed, 12) != header_size {
            return Err(HeaderError::Malformed("its own size differs from the announced one"));
        }
        let facts = Facts {
            output_size: u64_at(fixed, 16),
            base_size: u64_at(fixed, 24),
            blobs_size: u64_at(fixed, 32),
            segments: u32_at(fixed, 40),
            blobs: u32_at(fixed, 44),
            base_fingerprint: Sha256Hash(slice32(&fixed[56..])),
            salt: Salt::from(slice32(&fixed[88..])),
        };
        if facts.output_size == 0 || facts.output_size > MAX_IMAGE || facts.base_size > MAX_IMAGE {
            return Err(HeaderError::Malformed("an output or base size outside the limits"));
        }
        let (stored, size) = (u32_at(fixed, 48), u32_at(fixed, 52));
        let hashes = (u64::from(facts.segments) + u64::from(facts.blobs)) * HASH as u64;
        if FIXED as u64 + u64::from(stored) + hashes != u64::from(header_size) {
            return Err(HeaderError::Malformed("the sizes of its parts do not add up"));
        }
        let hashes_at = FIXED + stored as usize;
        let structure = decompress(&bytes[FIXED..hashes_at], size)?;
        bytes.drain(..hashes_at);
        let hashes = bytes;
        let header = Self {
            facts,
            sha256,
            size: header_size,
            structure,
            hashes,
        };
        header.check_segments()?;
        Ok(header)
    }

    /// Decodes every segment once, so that later ones cannot fail, and compares the sums.
    fn check_segments(&self) -> Result<(), HeaderError> {
        let mut segments = self.cursor();
        let mut blobs_size = 0_u64;
        while let Some(step) = segments.step() {
            let (segment, _) = step?;
            if let Some(coding) = &segment.coding {
                let literals = segment.literal_size(self.facts.output_size);
                if coding.blob_size == 0 || coding.blob_size > literals {
                    return Err(segments.wrong("a blob that is empty or larger than its literals"));
                }
                if coding.codec == crate::Codec::Raw && coding.blob_size != literals {
                    return Err(segments.wrong("a raw blob of another size than its literals"));
                }
                blobs_size += u64::from(coding.blob_size);
            }
        }
        let sums_hold = segments.rest.is_empty()
            && segments.cursor.next_block() == self.bounds().output
            && segments.blob == self.facts.blobs
            && blobs_size == self.facts.blobs_size;
        if sums_hold {
            Ok(())
        } else {
            Err(HeaderError::Malformed(
                "the segments do not add up to the announced sums",
            ))
        }
    }

    fn bounds(&self) -> Bounds {
        let block = u64::from(BLOCK);
        Bounds {
            output: self.facts.output_size.div_ceil(block),
            output_is_cut: !self.facts.output_size.is_multiple_of(block),
            base_whole: self.facts.base_size / block,
            base: self.facts.base_size.div_ceil(block),
        }
    }

    pub(crate) fn cursor(&self) -> Segments<'_> {
        Segments {
            header: self,
            rest: &self.structure,
            cursor: Cursor::default(),
            segment: 0,
            blob: 0,
        }
    }

    /// The segments, for whoever wants to look into a payload.
    pub fn segments(&self) -> impl Iterator<Item = Segment> {
        let mut segments = self.cursor();
        std::iter::from_fn(move || segments.step()?.ok().map(|(segment, _)| segment))
    }

    /// Bytes of the output.
    pub const fn output_size(&self) -> u64 {
        self.facts.output_size
    }

    /// Bytes of the base; 0 for a full image.
    pub const fn base_size(&self) -> u64 {
        self.facts.base_size
    }

    /// What is hashed before each block of the output: the salt of the verity tree that it gets, [`Salt::ZERO`] if it gets none.
    pub const fn salt(&self) -> &Salt {
        &self.facts.salt
    }

    /// Number of segments.
    pub const fn segment_count(&self) -> u32 {
        self.facts.segments
    }

    /// Bytes before the first blob.
    pub const fn header_size(&self) -> u32 {
        self.size
    }

    /// Bytes of the whole payload.
    pub fn payload_size(&self) -> u64 {
        u64::from(self.size) + self.facts.blobs_size
    }

    /// The hash of the header.
    pub const fn sha256(&self) -> &Sha256Hash {
        &self.sha256
    }

    pub(crate) const fn base_fingerprint(&self) -> &Sha256Hash {
        &self.facts.base_fingerprint
    }
}

/// The segments of a header in order.
#[derive(Debug, Clone)]
pub(crate) struct Segments<'a> {
    header: &'a Header,
    rest: &'a [u8],
    cursor: Cursor,
    segment: u32,
    blob: u32,
}

/// The hashes of one segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SegmentHashes {
    pub(crate) output: Sha256Hash,
    /// Zeros for a segment without a blob.
    pub(crate) blob: Sha256Hash,
}

impl Segments<'_> {
    /// The next segment; its errors are found when the header is read.
    pub(crate) fn step(&mut self) -> Option<Result<(Segment, SegmentHashes), HeaderError>> {
        if self.segment == self.header.facts.segments {
            return None;
        }
        let segment = match self.cursor.decode(&mut self.rest, &self.header.bounds()) {
            Ok(segment) => segment,
            Err(what) => return Some(Err(self.wrong(what))),
        };
        let output = self.header.hash(u64::from(self.segment));
        let mut blob = Sha256Hash([0; HASH]);
        if segment.coding.is_some() {
            if self.blob == self.header.facts.blobs {
                return Some(Err(self.wrong("a blob more than announced")));
            }
            blob = self
                .header
                .hash(u64::from(self.header.facts.segments) + u64::from(self.blob));
            self.blob += 1;
        }
        self.segment += 1;
        Some(Ok((segment, SegmentHashes { output, blob })))
    }

    fn wrong(&self, what: &'static str) -> HeaderError {
        HeaderError::Segment {
            segment: self.segment,
            what,
        }
    }
}

impl Header {
    fn hash(&self, index: u64) -> Sha256Hash {
        let at = usize::try_from(index).map_or(usize::MAX, |index| index * HASH);
        Sha256Hash(slice32(self.hashes.get(at..).unwrap_or_default()))
    }
}

/// Collects segments in order and gives the header's bytes.
#[derive(Debug, Default)]
pub(crate) struct HeaderBuilder {
    cursor: Cursor,
    structure: Vec<u8>,
    outputs: Vec<u8>,
    blobs: Vec<u8>,
    blobs_size: u64,
    segments: u32,
}

impl HeaderBuilder {
    pub(crate) fn push(&mut self, segment: &Segment, output: &Sha256Hash, blob: &Sha256Hash) {
        self.cursor.encode(segment, &mut self.structure);
        self.outputs.extend_from_slice(&output.0);
        self.segments += 1;
        if let Some(coding) = &segment.coding {
            self.blobs.extend_from_slice(&blob.0);
            self.blobs_size += u64::from(coding.blob_size);
        }
    }

    /// The bytes; None when a limit was passed.
    pub(crate) fn finish(
        self,
        output_size: u64,
        base_size: u64,
        base_fingerprint: &Sha256Hash,
        salt: &Salt,
    ) -> Option<Vec<u8>> {
        let size = u32::try_from(self.structure.len())
            .ok()
            .filter(|size| *size <= MAX_STRUCTURE)?;
        let mut stored = Vec::with_capacity(zstd_safe::compress_bound(self.structure.len()));
        let compressed = zstd_safe::compress(&mut stored, &self.structure, 19);
        if compressed.is_err() || stored.len() >= self.structure.len() {
            stored = self.structure;
        }
        let blobs = u32::try_from(self.blobs.len() / HASH).ok()?;
        let header_size = FIXED + stored.len() + self.outputs.len() + self.blobs.len();
        let header_size = u32::try_from(header_size).ok().filter(|size| *size <= MAX_HEADER)?;
        let mut out = Vec::with_capacity(header_size as usize);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&header_size.to_le_bytes());
        for number in [output_size, base_size, self.blobs_size] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.segments, blobs, u32::try_from(stored.len()).ok()?, size] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&base_fingerprint.0);
        out.extend_from_slice(salt.as_bytes());
        for part in [&stored, &self.outputs, &self.blobs] {
            out.extend_from_slice(part);
        }
        Some(out)
    }
}

/// The structure, stored as it is when both sizes agree, else as one zstd frame.
fn decompress(stored: &[u8], size: u32) -> Result<Vec<u8>, HeaderError> {
    if size > MAX_STRUCTURE {
        return Err(HeaderError::Malformed("a structure above the limit"));
    }
    if stored.len() == size as usize {
        return Ok(stored.to_vec());
    }
    let mut structure = Vec::with_capacity(size as usize);
    let written = zstd_safe::decompress(&mut structure, stored)
        .map_err(|_| HeaderError::Malformed("the structure does not decompress within its size"))?;
    if written == size as usize {
        Ok(structure)
    } else {
        Err(HeaderError::Malformed("a structure of another size"))
    }
}

fn u32_at(bytes: &[u8; FIXED], at: usize) -> u32 {
    bytes[at..at + 4]
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn u64_at(bytes: &[u8; FIXED], at: usize) -> u64 {
    u64::from(u32_at(bytes, at + 4)) << 32 | u64::from(u32_at(bytes, at))
}

fn slice32(bytes: &[u8]) -> [u8; HASH] {
    bytes.first_chunk().copied().unwrap_or_default()
}
