//! What can go wrong, by what was being done.

use std::io;

use crate::hash::Sha256Hash;
use crate::limits::{MAX_HEADER, MAX_IMAGE};

/// A header that is not the announced one or not a valid one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The announced size is above the limit.
    #[error("a payload header has at most {MAX_HEADER} bytes, {size} are announced")]
    TooLarge {
        /// Announced bytes.
        size: u64,
    },
    /// Reading failed.
    #[error("reading the payload header: {0}")]
    Read(#[source] io::Error),
    /// Fewer bytes than announced.
    #[error("the payload ends after {read} of the {size} bytes of its header: fetch it again")]
    Truncated {
        /// Announced bytes.
        size: u64,
        /// Bytes there.
        read: u64,
    },
    /// Another hash than the signed one.
    #[error("the payload header has hash {found}, the release says {expected}: it was damaged or replaced on its way")]
    Hash {
        /// The signed hash.
        expected: Sha256Hash,
        /// The hash of what was read.
        found: Sha256Hash,
    },
    /// A version this program does not know.
    #[error("the payload has format version {0}, this program reads version 2: update the updater first")]
    Version(u32),
    /// Outside the format.
    #[error("the payload header is malformed: {0}")]
    Malformed(&'static str),
    /// A segment outside the format.
    #[error("segment {segment} of the payload is malformed: {what}")]
    Segment {
        /// Its index.
        segment: u32,
        /// What is wrong.
        what: &'static str,
    },
}

/// A payload that could not be applied. Nothing of the segment at fault was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The header is invalid after all; cannot happen for one that was read.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A delta without a base.
    #[error("this payload is a delta and no base was given: use the full payload")]
    BaseMissing,
    /// The base is not the one that the delta was made against.
    #[error("this delta was made against another base than the one given: use the full payload")]
    WrongBase,
    /// Reading the base failed.
    #[error("reading the base at byte {offset}: {source}")]
    ReadBase {
        /// Offset in the base.
        offset: u64,
        /// The system's reason.
        source: io::Error,
    },
    /// Reading the payload failed; it can go on from [`crate::Applier::position`].
    #[error("reading the payload at byte {position}: {source}")]
    ReadPayload {
        /// How far it was read.
        position: u64,
        /// The reader's reason.
        source: io::Error,
    },
    /// The payload ended within or before a blob; it can go on from [`crate::Applier::position`].
    #[error("the payload ends at byte {position}, within a blob: fetch it again from there")]
    Truncated {
        /// How far it was read.
        position: u64,
    },
    /// More bytes than announced.
    #[error("the payload goes on after its last blob: what is served is not what was released")]
    TrailingBytes,
    /// A blob with another hash than the header's.
    #[error(
        "blob of segment {segment} (payload byte {position}) has hash {found}, {expected} was expected: it was damaged on its way"
    )]
    Blob {
        /// Index of the segment.
        segment: u32,
        /// Where the blob begins in the payload.
        position: u64,
        /// The header's hash.
        expected: Sha256Hash,
        /// The hash of what was read.
        found: Sha256Hash,
    },
    /// The right blob gave a wrong output, or none: what it refers to has changed. Names the output that is missing.
    #[error("segment {segment} (output bytes {offset} to {}) came out wrong: the base is damaged or was changed", offset + u64::from(*size))]
    Output {
        /// Index of the segment.
        segment: u32,
        /// First byte of the output.
        offset: u64,
        /// Bytes of output.
        size: u32,
    },
    /// Reading back the output failed.
    #[error("reading the target at byte {offset}: {source}")]
    ReadTarget {
        /// Offset in the output.
        offset: u64,
        /// The system's reason.
        source: io::Error,
    },
    /// Writing the output failed.
    #[error("writing the target at byte {offset}: {source}")]
    WriteTarget {
        /// Offset in the output.
        offset: u64,
        /// The system's reason.
        source: io::Error,
    },
    /// There is no thread to write with.
    #[error("starting a thread to write the target with: {0}")]
    Thread(#[source] io::Error),
    /// The caller's consumer of segments refused one.
    #[error("the output at byte {offset} was written but not taken: {source}")]
    Consumer {
        /// Offset in the output.
        offset: u64,
        /// The consumer's reason.
        source: io::Error,
    },
}

/// A payload that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MakeError {
    /// Reading the new image or the base failed.
    #[error("reading the {image} at byte {offset}: {source}")]
    Read {
        /// "new image" or "base".
        image: &'static str,
        /// Offset in it.
        offset: u64,
        /// The system's reason.
        source: io::Error,
    },
    /// An image that is empty or too large.
    #[error("the {image} has {size} bytes: a payload takes images of 1 to {MAX_IMAGE} bytes")]
    Size {
        /// "new image" or "base".
        image: &'static str,
        /// Its size.
        size: u64,
    },
    /// The options cannot be met.
    #[error("a payload is made at a level of 1 to 22, not {0}")]
    Level(i32),
    /// Keeping the blobs until the header is known failed.
    #[error("keeping blobs in the scratch directory: {0}")]
    Scratch(#[source] io::Error),
    /// Writing the payload failed.
    #[error("writing the payload: {0}")]
    Write(#[source] io::Error),
    /// The image has so many small pieces that its header passes the limit.
    #[error("the header of this payload would pass {MAX_HEADER} bytes: make it without a base")]
    HeaderTooLarge,
    /// A blob that does not decode to what it was made from. An error of this program or of the machine's memory.
    #[error("the blob of segment {segment} does not decode to its input: do not publish anything made on this machine")]
    RoundTrip {
        /// Index of the segment.
        segment: usize,
    },
    /// The compressor failed.
    #[error("compressing segment {segment}: {reason}")]
    Compress {
        /// Index of the segment.
        segment: usize,
        /// The compressor's reason.
        reason: &'static str,
    },
}

/// Why a block map is of no use.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// It could not be read, or is shorter than the payload's output asks for.
    #[error("cannot read the block map: {0}")]
    Read(#[source] io::Error),
    /// It is not the one that was released.
    #[error("the block map has sha256 {found}, expected {expected}: it is damaged or was replaced")]
    Hash {
        /// The hash that was released.
        expected: Sha256Hash,
        /// The hash of what was read.
        found: Sha256Hash,
    },
}
