//! Makes a payload from a new image and, for a delta, the base that hosts have.
//!
//! Three passes, each in parallel over pieces whose results are taken in order, so that the payload does not depend on the
//! number of threads: both images are scanned ([`scan`]), the blocks of the new one become runs ([`plan`]), and the literals of
//! each segment are coded against the places that resemble them most ([`vote`], [`encode`]).

mod align;
mod encode;
mod ordered;
mod plan;
mod scan;
mod vote;

use std::io::{self, Seek, Write};
use std::path::PathBuf;

use sha2::{Digest, Sha256};
use twinhull_verity::Salt;

use crate::error::MakeError;
use crate::fingerprint::fingerprint;
use crate::hash::Sha256Hash;
use crate::header::HeaderBuilder;
use crate::limits::MAX_IMAGE;
use crate::source::Source;
use encode::Encoder;
use scan::{Anchors, Scanner};

/// Blobs wait in memory up to this many bytes, then in the scratch directory: the header before them needs their hashes.
const SCRATCH_IN_MEMORY: usize = 64 << 20;

/// How to make a payload. The bytes depend on the level and the salt alone.
#[derive(Debug, Clone)]
pub struct MakeOptions {
    /// zstd level, 1 to 22: 3 is quick, 19 is small.
    pub level: i32,
    /// The salt of the verity tree over the new image: an applier then hashes each block once. [`Salt::ZERO`] for an image without one.
    pub salt: Salt,
    /// Threads to compress with; at least one is used. Each needs up to 150 MB at level 19.
    pub threads: usize,
    /// Where blobs wait until the header is complete; the system's directory for temporary files when absent.
    pub scratch: Option<PathBuf>,
}

impl Default for MakeOptions {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            level: 19,
            salt: Salt::ZERO,
            threads,
            scratch: None,
        }
    }
}

/// A payload that was made: what release metadata says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// Bytes of the payload.
    pub size: u64,
    /// Bytes before the first blob.
    pub header_size: u64,
    /// Hash of those bytes; it binds the whole payload.
    pub header_sha256: Sha256Hash,
    /// Bytes of the new image.
    pub output_size: u64,
    /// Hash of the new image.
    pub output_sha256: Sha256Hash,
    /// Bytes of the base, 0 without one.
    pub base_size: u64,
}

/// Writes the payload for `new` to `out`: a delta against `base`, or a full one without.
///
/// `progress` is told bytes done and bytes in all, ends with both equal, and never goes back. Memory: 64 MiB of blobs, at most
/// 256 MiB of index, 1/128 of both images for hashes of blocks, and per thread the compressor: under 1.2 GB for a 1 GiB root
/// at level 19 with four threads.
///
/// # Errors
/// [`MakeError`]. What was written to `out` is then of no use.
pub fn make(
    new: &dyn Source,
    base: Option<&dyn Source>,
    options: &MakeOptions,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Made, MakeError> {
    if !(1..=22).contains(&options.level) {
        return Err(MakeError::Level(options.level));
    }
    let output_size = checked_size("new image", new)?;
    let base = base.map(|base| Ok((base, checked_size("base", base)?))).transpose()?;
    let base_size = base.map_or(0, |(_, size)| size);
    let threads = options.threads.max(1);
    // Scanning runs at the speed of hashing; coding takes as long again per byte at the lowest level, far more at others.
    let total = base_size + 2 * output_size;
    let mut progress = |done: u64| progress(done, total);

    let mut anchors = Anchors::new(base_size, output_size);
    let mut base_digests = Vec::new();
    let mut base_fingerprint = Sha256Hash([0; 32]);
    if let Some((base, size)) = base {
        let scanner = Scanner::new("base", base, size, anchors.base_rules());
        base_digests = scanner.run(threads, &mut anchors, &mut |_| (), &mut progress)?;
        let read_error = |source| MakeError::Read {
            image: "base",
            offset: 0,
            source,
        };
        base_fingerprint = fingerprint(base, size).map_err(read_error)?;
    }
    let scanner = Scanner::new("new image", new, output_size, anchors.output_rules());
    let mut hash = Sha256::new();
    let digests = scanner.run(threads, &mut anchors, &mut |bytes| hash.update(bytes), &mut |done| {
        progress(base_size + done);
    })?;
    let output_sha256 = Sha256Hash(hash.finalize().into());
    anchors.index();

    let segments = plan::plan(&digests, &base_digests, base_size, output_size);
    drop((digests, base_digests));
    let encoder = Encoder {
        new,
        base: base.map(|(base, _)| base),
        base_size,
        output_size,
        anchors: &anchors,
        level: options.level,
        salt: options.salt,
    };
    let mut header = HeaderBuilder::default();
    let scratch = options.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let mut blobs = tempfile::spooled_tempfile_in(SCRATCH_IN_MEMORY, scratch);
    ordered::run(
        threads,
        segments.len(),
        |index| encoder.encode(index, &segments[index]),
        |index, encoded| {
            header.push(&encoded.segment, &encoded.output_hash, &encoded.blob_sha256);
            let end = encoded.segment.offset() + u64::from(encoded.segment.size(output_size));
            blobs.write_all(&encoded.blob).map_err(MakeError::Scratch)?;
            debug_assert_eq!(encoded.segment.first_block, segments[index].first_block);
            progress(base_size + output_size + end);
            Ok(())
        },
    )?;

    let header = header
        .finish(output_size, base_size, &base_fingerprint, &options.salt)
        .ok_or(MakeError::HeaderTooLarge)?;
    out.write_all(&header).map_err(MakeError::Write)?;
    blobs.rewind().map_err(MakeError::Scratch)?;
    let blobs_size = io::copy(&mut blobs, out).map_err(MakeError::Write)?;
    let header_size = header.len() as u64;
    Ok(Made {
        size: header_size + blobs_size,
        header_size,
        header_sha256: Sha256Hash::of(&header),
        output_size,
        output_sha256,
        base_size,
    })
}

fn checked_size(image: &'static str, source: &dyn Source) -> Result<u64, MakeError> {
    let size = source.size().map_err(|source| MakeError::Read {
        image,
        offset: 0,
        source,
    })?;
    if (1..=MAX_IMAGE).contains(&size) {
        Ok(size)
    } else {
        Err(MakeError::Size { image, size })
    }
}
