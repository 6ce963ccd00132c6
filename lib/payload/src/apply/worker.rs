//! Brings one segment after another to the target, while the caller fetches the next and takes the one before.

use crate::assemble::Images;
use crate::codec;
use crate::error::ApplyError;
use crate::header::{Header, SegmentHashes};
use crate::limits::BLOCK;
use crate::pages::Pages;
use crate::segment::Segment;
use crate::source::{ReadAt, Target};

use super::output::Output;

/// One segment to bring to the target.
pub(super) struct Job {
    pub(super) segment: Segment,
    pub(super) hashes: SegmentHashes,
    pub(super) index: u32,
    /// Its blob, whose hash was compared; empty without one.
    pub(super) blob: Vec<u8>,
    /// Takes its output.
    pub(super) output: Output,
    /// Whether it is made of blocks that were found in the base, instead of as the payload says.
    pub(super) reused: bool,
}

/// What segments are made from and go to, and room for one.
pub(super) struct Worker<'a> {
    header: &'a Header,
    base: Option<&'a dyn ReadAt>,
    target: &'a dyn Target,
    reference: Vec<u8>,
    literals: Pages,
}

impl<'a> Worker<'a> {
    pub(super) fn new(header: &'a Header, base: Option<&'a dyn ReadAt>, target: &'a dyn Target) -> Self {
        Self {
            header,
            base,
            target,
            reference: Vec::new(),
            literals: Pages::default(),
        }
    }

    /// Puts the segment's output together, compares its hash, and writes what the target does not hold. Gives the bytes that
    /// it did hold.
    pub(super) fn write(&mut self, job: &mut Job) -> Result<u64, ApplyError> {
        let output_size = self.header.output_size();
        let (offset, size) = (job.segment.offset(), job.segment.size(output_size));
        let wrong = ApplyError::Output {
            segment: job.index,
            offset,
            size,
        };
        let images = Images {
            base: self.base,
            base_size: self.header.base_size(),
            output: self.target,
            output_size,
        };
        self.literals.resize(job.segment.literal_size(output_size) as usize);
        if let Some(coding) = &job.segment.coding {
            images.read_reference(&coding.reference, &mut self.reference)?;
            let decoded = codec::decode(coding.codec, &job.blob, &self.reference, &mut self.literals);
            if decoded.is_err() {
                return Err(wrong);
            }
        }
        job.output.bytes.resize(size as usize);
        images.assemble(&job.segment, &self.literals, &mut job.output.bytes)?;
        if job.output.hash(self.header.salt()) != job.hashes.output {
            return Err(wrong);
        }
        write_changes(self.target, offset, &job.output.bytes, &mut self.literals)
    }
}

/// Writes those blocks of `output` that the target does not hold yet; gives the bytes of those it does. A medium wears by
/// writing, and a flush is as long as what was written. `present` is scratch.
fn write_changes(target: &dyn Target, offset: u64, output: &[u8], present: &mut Pages) -> Result<u64, ApplyError> {
    let write = |at: usize, bytes: &[u8]| {
        let offset = offset + at as u64;
        target
            .write_at(offset, bytes)
            .map_err(|source| ApplyError::WriteTarget { offset, source })
    };
    present.resize(output.len());
    if target.read_at(offset, present).is_err() {
        // A file that ends before here, or a medium that cannot be read until it was written.
        return write(0, output).map(|()| 0);
    }
    let block = BLOCK as usize;
    let (mut at, mut kept) = (0, 0);
    for same in output
        .chunks(block)
        .zip(present.chunks(block))
        .collect::<Vec<_>>()
        .chunk_by(|(new, old), (next_new, next_old)| (new == old) == (next_new == next_old))
    {
        let size: usize = same.iter().map(|(new, _)| new.len()).sum();
        if same[0].0 == same[0].1 {
            kept += size as u64;
        } else {
            write(at, &output[at..at + size])?;
        }
        at += size;
    }
    Ok(kept)
}
