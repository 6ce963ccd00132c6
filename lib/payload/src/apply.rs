//! Streams a payload into a target.

use std::io::{self, Read};

use crate::assemble::Images;
use crate::codec;
use crate::error::ApplyError;
use crate::fingerprint::fingerprint;
use crate::hash::Sha256Hash;
use crate::header::{Header, SegmentHashes, Segments};
use crate::limits::BLOCK;
use crate::segment::{Coding, Segment};
use crate::source::{ReadAt, Target};

/// What an application did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// Bytes of output in segments that the target already held: neither fetched nor decoded.
    pub found: u64,
    /// Bytes of output that were put together.
    pub written: u64,
    /// Those of them that the target already held: compared, and not written again.
    pub kept: u64,
    /// Bytes of blobs that were read.
    pub fetched: u64,
}

/// Why [`Applier::apply_while_needed`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// All of the output is in place.
    End(Applied),
    /// The target holds the next segments, and their blobs are worth a new request: go on with [`Applier::resume`] and a reader
    /// from the position after it.
    Held,
}

/// Applies one payload to one target, in order, and knows where it stands: after a failed read it goes on with another
/// reader from [`Applier::position`].
///
/// Before anything of a segment is written, the hash of its blob was compared before decoding, and the hash of its output
/// after. The target is not flushed here.
pub struct Applier<'a> {
    header: &'a Header,
    base: Option<&'a dyn ReadAt>,
    target: &'a dyn Target,
    segments: Segments<'a>,
    next: Option<(Segment, SegmentHashes)>,
    index: u32,
    /// The segment that is not applied any more: the number of segments, but for a piece.
    end: u32,
    position: u64,
    done: Applied,
    blob: Vec<u8>,
    reference: Vec<u8>,
    literals: Vec<u8>,
    output: Vec<u8>,
}

/// Takes the output in order: offset and bytes of each segment, found or written. This is how a verity tree is built on
/// the way.
pub type Consumer<'c> = dyn FnMut(u64, &[u8]) -> io::Result<()> + 'c;

impl<'a> Applier<'a> {
    /// Starts at the first segment. A base is ignored when the payload is full.
    ///
    /// # Errors
    /// [`ApplyError::BaseMissing`] and [`ApplyError::WrongBase`]; the base may be longer than the one the payload was made
    /// against (a partition), what follows is not looked at.
    pub fn new(header: &'a Header, base: Option<&'a dyn ReadAt>, target: &'a dyn Target) -> Result<Self, ApplyError> {
        if header.base_size() > 0 {
            let base = base.ok_or(ApplyError::BaseMissing)?;
            match fingerprint(base, header.base_size()) {
                Ok(found) if found == *header.base_fingerprint() => {}
                Ok(_) => return Err(ApplyError::WrongBase),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(ApplyError::WrongBase),
                // Damaged at a sampled place: the segments that need it will say so, the others need not suffer.
                Err(_) => {}
            }
        }
        let mut applier = Self {
            header,
            base,
            target,
            segments: header.cursor(),
            next: None,
            index: 0,
            end: header.segment_count(),
            position: u64::from(header.header_size()),
            done: Applied::default(),
            blob: Vec::new(),
            reference: Vec::new(),
            literals: Vec::new(),
            output: Vec::new(),
        };
        applier.next = applier.segments.step().transpose()?;
        Ok(applier)
    }

    /// Starts at the first segment that puts out something of the `size` bytes at `offset`, and ends with the last one. All
    /// output before `offset` must be in the target: this is for a full payload that fills what a delta could not.
    ///
    /// Gives the applier and where its blobs end, in bytes from the start of the payload: a reader from
    /// [`Applier::position`] must end there.
    ///
    /// # Errors
    /// As [`Applier::new`].
    pub fn piece(
        header: &'a Header,
        base: Option<&'a dyn ReadAt>,
        target: &'a dyn Target,
        offset: u64,
        size: u32,
    ) -> Result<(Self, u64), ApplyError> {
        let mut applier = Self::new(header, base, target)?;
        let output_end = |segment: &Segment| segment.offset() + u64::from(segment.size(header.output_size()));
        while applier
            .next
            .as_ref()
            .is_some_and(|(segment, _)| output_end(segment) <= offset)
        {
            applier.step()?;
        }
        let (mut rest, mut blobs_end) = (applier.segments.clone(), applier.position);
        let mut next = applier.next.clone();
        applier.end = applier.index;
        while let Some((segment, _)) = next.filter(|(segment, _)| segment.offset() < offset + u64::from(size)) {
            applier.end += 1;
            blobs_end += segment.blob_size();
            next = rest.step().transpose()?;
        }
        Ok((applier, blobs_end))
    }

    /// Where the next blob begins, in bytes from the start of the payload: what to ask a server for. The size of the
    /// payload once all blobs are read.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Where the output of the next segment begins, and its bytes; none at the end.
    pub fn next_output(&self) -> (u64, u32) {
        self.next
            .as_ref()
            .map_or((self.header.output_size(), 0), |(segment, _)| {
                (segment.offset(), segment.size(self.header.output_size()))
            })
    }

    /// Bytes of output done so far, from the start.
    pub const fn output_position(&self) -> u64 {
        self.done.found + self.done.written
    }

    /// Passes over the segments that the target already holds, from the first on, up to the first that differs.
    ///
    /// Meant for a target that an earlier application was cut off in; harmless on any other. Costs one read and one hash
    /// of what is found.
    ///
    /// # Errors
    /// [`ApplyError::Consumer`]. A target that cannot be read counts as one that differs.
    pub fn resume(&mut self, consumer: &mut Consumer<'_>) -> Result<(), ApplyError> {
        while self.index < self.end && self.is_held() {
            self.pass_held(consumer)?;
        }
        Ok(())
    }

    /// Whether the target holds the output of the next segment; leaves it in `self.output` then.
    fn is_held(&mut self) -> bool {
        let Some((segment, hashes)) = &self.next else {
            return false;
        };
        let size = segment.size(self.header.output_size());
        self.output.resize(size as usize, 0);
        let read = self.target.read_at(segment.offset(), &mut self.output);
        read.is_ok() && Sha256Hash::of(&self.output) == hashes.output
    }

    fn pass_held(&mut self, consumer: &mut Consumer<'_>) -> Result<(), ApplyError> {
        self.done.found += self.output.len() as u64;
        self.advance(consumer)
    }

    /// Applies the segments from [`Applier::position`] to the end. `payload` begins at that byte and must end with the
    /// payload. Blobs of segments that the target already holds are read and passed over.
    ///
    /// # Errors
    /// After [`ApplyError::ReadPayload`], [`ApplyError::Truncated`] and [`ApplyError::Blob`] the call can be repeated with another
    /// reader from the new position; other errors stay.
    pub fn apply(&mut self, payload: &mut impl Read, consumer: &mut Consumer<'_>) -> Result<Applied, ApplyError> {
        loop {
            match self.apply_while_needed(payload, u64::MAX, consumer)? {
                Reached::End(done) => return Ok(done),
                Reached::Held => {}
            }
        }
    }

    /// As [`Applier::apply`], but comes back before segments that the target already holds, from a blob of more than
    /// `worth_a_request` bytes on: they need not be fetched.
    ///
    /// # Errors
    /// As [`Applier::apply`].
    pub fn apply_while_needed(
        &mut self,
        payload: &mut impl Read,
        worth_a_request: u64,
        consumer: &mut Consumer<'_>,
    ) -> Result<Reached, ApplyError> {
        while self.index < self.end {
            // Copies cost nothing to make again; their blocks are compared before they are written.
            let blob = self.next.as_ref().map_or(0, |(segment, _)| segment.blob_size());
            if blob > 0 && self.is_held() {
                if blob > worth_a_request {
                    return Ok(Reached::Held);
                }
                let position = self.position;
                let read = io::copy(&mut payload.by_ref().take(blob), &mut io::sink());
                match read {
                    Ok(read) if read == blob => {}
                    Ok(_) => return Err(ApplyError::Truncated { position }),
                    Err(source) => return Err(ApplyError::ReadPayload { position, source }),
                }
                self.done.fetched += blob;
                self.pass_held(consumer)?;
                continue;
            }
            let Some((segment, hashes)) = self.next.take() else {
                break;
            };
            let result = self.write_segment(&segment, &hashes, payload);
            self.next = Some((segment, hashes));
            result?;
            self.advance(consumer)?;
        }
        let position = self.position;
        match payload.take(1).read_to_end(&mut Vec::new()) {
            Ok(0) => Ok(Reached::End(self.done)),
            Ok(_) => Err(ApplyError::TrailingBytes),
            Err(source) => Err(ApplyError::ReadPayload { position, source }),
        }
    }

    /// Brings one segment's output to the target; leaves it in `self.output`.
    fn write_segment(
        &mut self,
        segment: &Segment,
        hashes: &SegmentHashes,
        payload: &mut impl Read,
    ) -> Result<(), ApplyError> {
        let output_size = self.header.output_size();
        let (offset, size) = (segment.offset(), segment.size(output_size));
        let index = self.index;
        let images = Images {
            base: self.base,
            base_size: self.header.base_size(),
            output: self.target,
            output_size,
        };
        self.literals.clear();
        if let Some(coding) = &segment.coding {
            read_blob(payload, coding, &hashes.blob, index, self.position, &mut self.blob)?;
            images.read_reference(&coding.reference, &mut self.reference)?;
            self.literals.resize(segment.literal_size(output_size) as usize, 0);
            codec::decode(coding.codec, &self.blob, &self.reference, &mut self.literals).map_err(|_| {
                ApplyError::Output {
                    segment: index,
                    offset,
                    size,
                }
            })?;
        }
        self.output.resize(size as usize, 0);
        images.assemble(segment, &self.literals, &mut self.output)?;
        if Sha256Hash::of(&self.output) != hashes.output {
            return Err(ApplyError::Output {
                segment: index,
                offset,
                size,
            });
        }
        self.done.kept += write_changes(self.target, offset, &self.output, &mut self.literals)?;
        self.done.written += u64::from(size);
        self.done.fetched += segment.blob_size();
        Ok(())
    }

    /// Moves past the segment whose output is in `self.output`, then hands that out.
    fn advance(&mut self, consumer: &mut Consumer<'_>) -> Result<(), ApplyError> {
        match self.step()? {
            Some(offset) => consumer(offset, &self.output).map_err(|source| ApplyError::Consumer { offset, source }),
            None => Ok(()),
        }
    }

    /// Moves past the next segment; where its output begins.
    fn step(&mut self) -> Result<Option<u64>, ApplyError> {
        let Some((segment, _)) = self.next.take() else {
            return Ok(None);
        };
        self.position += segment.blob_size();
        self.index += 1;
        self.next = self.segments.step().transpose()?;
        Ok(Some(segment.offset()))
    }
}

/// Writes those blocks of `output` that the target does not hold yet; gives the bytes of those it does. A medium wears by
/// writing, and a flush is as long as what was written. `present` is scratch.
fn write_changes(target: &dyn Target, offset: u64, output: &[u8], present: &mut Vec<u8>) -> Result<u64, ApplyError> {
    let write = |at: usize, bytes: &[u8]| {
        let offset = offset + at as u64;
        target
            .write_at(offset, bytes)
            .map_err(|source| ApplyError::WriteTarget { offset, source })
    };
    present.resize(output.len(), 0);
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

/// Reads one blob whole and compares its hash.
fn read_blob(
    payload: &mut impl Read,
    coding: &Coding,
    expected: &Sha256Hash,
    segment: u32,
    position: u64,
    blob: &mut Vec<u8>,
) -> Result<(), ApplyError> {
    blob.resize(coding.blob_size as usize, 0);
    payload.read_exact(blob).map_err(|source| match source.kind() {
        io::ErrorKind::UnexpectedEof => ApplyError::Truncated { position },
        _ => ApplyError::ReadPayload { position, source },
    })?;
    let found = Sha256Hash::of(blob);
    if found == *expected {
        Ok(())
    } else {
        Err(ApplyError::Blob {
            segment,
            position,
            expected: *expected,
            found,
        })
    }
}

/// Applies a whole payload whose header was just read from the same reader.
///
/// # Errors
/// As [`Applier::new`] and [`Applier::apply`].
pub fn apply(
    header: &Header,
    blobs: &mut impl Read,
    base: Option<&dyn ReadAt>,
    target: &dyn Target,
    consumer: &mut Consumer<'_>,
) -> Result<Applied, ApplyError> {
    Applier::new(header, base, target)?.apply(blobs, consumer)
}
