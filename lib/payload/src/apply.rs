//! Streams a payload into a target.

use std::io::{self, Read};

use crate::assemble::Images;
use crate::codec;
use crate::error::ApplyError;
use crate::fingerprint::fingerprint;
use crate::hash::Sha256Hash;
use crate::header::{Header, SegmentHashes, Segments};
use crate::segment::{Coding, Segment};
use crate::source::{ReadAt, Target};

/// What an application did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// Bytes of output that were already in the target.
    pub found: u64,
    /// Bytes of output that were written.
    pub written: u64,
    /// Bytes of blobs that were read.
    pub fetched: u64,
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
    /// against (a partition), what follows is not looked at. [`ApplyError::ReadBase`].
    pub fn new(header: &'a Header, base: Option<&'a dyn ReadAt>, target: &'a dyn Target) -> Result<Self, ApplyError> {
        if header.base_size() > 0 {
            let base = base.ok_or(ApplyError::BaseMissing)?;
            match fingerprint(base, header.base_size()) {
                Ok(found) if found == *header.base_fingerprint() => {}
                Ok(_) => return Err(ApplyError::WrongBase),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(ApplyError::WrongBase),
                Err(source) => return Err(ApplyError::ReadBase { offset: 0, source }),
            }
        }
        let mut applier = Self {
            header,
            base,
            target,
            segments: header.cursor(),
            next: None,
            index: 0,
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

    /// Where the next blob begins, in bytes from the start of the payload: what to ask a server for. The size of the
    /// payload once all blobs are read.
    pub const fn position(&self) -> u64 {
        self.position
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
        while let Some((segment, hashes)) = &self.next {
            let size = segment.size(self.header.output_size());
            self.output.resize(size as usize, 0);
            let read = self.target.read_at(segment.offset(), &mut self.output);
            if read.is_err() || Sha256Hash::of(&self.output) != hashes.output {
                return Ok(());
            }
            self.done.found += u64::from(size);
            self.advance(consumer)?;
        }
        Ok(())
    }

    /// Applies the segments from [`Applier::position`] to the end. `payload` begins at that byte and must end with the
    /// payload.
    ///
    /// # Errors
    /// After [`ApplyError::ReadPayload`], [`ApplyError::Truncated`] and [`ApplyError::Blob`] the call can be repeated with another
    /// reader from the new position; other errors stay.
    pub fn apply(&mut self, payload: &mut impl Read, consumer: &mut Consumer<'_>) -> Result<Applied, ApplyError> {
        while let Some((segment, hashes)) = self.next.take() {
            let result = self.write_segment(&segment, &hashes, payload);
            self.next = Some((segment, hashes));
            result?;
            self.advance(consumer)?;
        }
        let position = self.position;
        match payload.take(1).read_to_end(&mut Vec::new()) {
            Ok(0) => Ok(self.done),
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
        self.target
            .write_at(offset, &self.output)
            .map_err(|source| ApplyError::WriteTarget { offset, source })?;
        self.done.written += u64::from(size);
        self.done.fetched += segment.coding.as_ref().map_or(0, |coding| u64::from(coding.blob_size));
        Ok(())
    }

    /// Moves past the segment whose output is in `self.output`, then hands that out.
    fn advance(&mut self, consumer: &mut Consumer<'_>) -> Result<(), ApplyError> {
        let Some((segment, _)) = self.next.take() else {
            return Ok(());
        };
        self.position += segment.coding.as_ref().map_or(0, |coding| u64::from(coding.blob_size));
        self.index += 1;
        self.next = self.segments.step().transpose()?;
        let offset = segment.offset();
        consumer(offset, &self.output).map_err(|source| ApplyError::Consumer { offset, source })
    }
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
