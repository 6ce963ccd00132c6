//! The bounds that every payload keeps, so that a decoder knows the memory it needs before it reads one.
//!
//! The sum for one decoder: [`MAX_HEADER`] and [`MAX_STRUCTURE`], [`MAX_SEGMENT`] each for output, literals and blob,
//! [`MAX_REFERENCE`], another [`MAX_SEGMENT`] and [`MAX_CONTROL`] for the streams of a bsdiff, and about 0.2 MiB of zstd state: at
//! most 29.2 MiB, whatever the size of the image; an [`Applier`](crate::Applier) holds a blob and an output more, since it reads ahead.
//! Payloads as they are made here need 13 MiB (a delta) to 20 MiB (a full one).

/// Bytes of a block: the unit of copies and of the reference.
pub const BLOCK: u32 = 4096;

/// Most blocks that one segment puts out (4 MiB).
pub const MAX_SEGMENT_BLOCKS: u32 = 1024;

/// Most bytes that one segment puts out.
pub const MAX_SEGMENT: u32 = MAX_SEGMENT_BLOCKS * BLOCK;

/// Most blocks in the reference of one segment (4 MiB).
pub const MAX_REFERENCE_BLOCKS: u32 = 1024;

/// Most bytes in the reference of one segment.
pub const MAX_REFERENCE: u32 = MAX_REFERENCE_BLOCKS * BLOCK;

/// Largest window of a zstd frame, as a power of two: 8 MiB, a whole reference and a whole segment.
pub const MAX_WINDOW_LOG: u32 = 23;

/// Most bytes of the control stream of a bsdiff.
pub const MAX_CONTROL: u32 = 1 << 20;

/// Most bytes before the first blob.
pub const MAX_HEADER: u32 = 4 << 20;

/// Most bytes of the segments' structure once decompressed.
pub const MAX_STRUCTURE: u32 = 4 << 20;

/// Most bytes of an output or a base: 1 TiB, 2^28 blocks.
pub const MAX_IMAGE: u64 = 1 << 40;

/// Most blocks of an image that are indexed to find those of a block map in (4 GiB): 8 MiB of index.
pub const MAX_INDEXED_BLOCKS: u64 = 1 << 20;

/// Most runs that are remembered of what was found: 3 MiB.
pub const MAX_REUSED_RUNS: usize = 1 << 17;
