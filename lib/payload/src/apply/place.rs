//! Where an application stands in its payload.

use crate::error::HeaderError;
use crate::header::{Header, SegmentHashes, Segments};
use crate::segment::Segment;

/// Before one segment of a payload.
#[derive(Clone)]
pub(super) struct Place<'a> {
    segments: Segments<'a>,
    next: Option<(Segment, SegmentHashes)>,
    output_size: u64,
    /// The index of the next segment.
    pub(super) index: u32,
    /// Where its blob begins, or would, in bytes from the start of the payload.
    pub(super) position: u64,
}

impl<'a> Place<'a> {
    pub(super) fn first(header: &'a Header) -> Result<Self, HeaderError> {
        let mut segments = header.cursor();
        Ok(Self {
            next: segments.step().transpose()?,
            segments,
            output_size: header.output_size(),
            index: 0,
            position: u64::from(header.header_size()),
        })
    }

    /// The next segment; none at the end of the payload.
    pub(super) fn next(&self) -> Option<&(Segment, SegmentHashes)> {
        self.next.as_ref()
    }

    /// Where the next segment's output begins, and its bytes; none at the end.
    pub(super) fn output(&self) -> (u64, u32) {
        self.next.as_ref().map_or((self.output_size, 0), |(segment, _)| {
            (segment.offset(), segment.size(self.output_size))
        })
    }

    /// Where the next segment's output ends.
    pub(super) fn output_end(&self) -> u64 {
        let (offset, size) = self.output();
        offset + u64::from(size)
    }

    /// Bytes of the next segment's blob; 0 without one.
    pub(super) fn blob_size(&self) -> u64 {
        self.next.as_ref().map_or(0, |(segment, _)| segment.blob_size())
    }

    /// Passes the next segment; at the end nothing happens.
    pub(super) fn step(&mut self) -> Result<(), HeaderError> {
        if self.next.is_some() {
            self.position += self.blob_size();
            self.index += 1;
            self.next = self.segments.step().transpose()?;
        }
        Ok(())
    }
}
