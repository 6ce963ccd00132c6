//! The update payload: one format for full and delta images, made, applied and resumed.
//!
//! The format is specified in `docs/payload-format.md`. In short: a header that signed metadata binds by its hash, then
//! blobs in order. The output is cut into segments; each says which 4 KiB blocks come from the base, from output written
//! before, are zero, or are decoded from its blob, and carries the hash of its blob and of its output.
//!
//! - [`make`] writes a payload from a new image and, for a delta, the base that hosts have.
//! - [`Header::read`] checks and reads the header; nothing after it is trusted but by its hashes.
//! - [`Applier`] streams blobs into a target, segment by segment, and resumes after any interruption.
//! - [`make_block_map`] and [`Reuse`]: a host that no delta was made for fetches only what it does not hold anyway.
//!
//! Roots and unified kernel images go through the same functions; nothing here looks into what it carries.

mod apply;
mod assemble;
mod codec;
mod direct;
mod error;
mod fingerprint;
mod hash;
mod header;
mod leaves;
pub mod limits;
mod make;
mod map;
mod pages;
mod reuse;
mod segment;
mod source;
mod structure;
mod varint;

pub use apply::{Applied, Applier, Consumer, Part, Reached, apply};
pub use direct::DirectFile;
pub use error::{ApplyError, HeaderError, MakeError, MapError};
pub use hash::Sha256Hash;
pub use header::Header;
pub use leaves::Leaf;
pub use make::{Made, MakeOptions, make};
pub use map::{block_map_size, make_block_map};
pub use pages::Pages;
pub use reuse::{BlockIndex, Reuse};
pub use segment::{Codec, Coding, Origin, Range, Run, RunKind, Segment};
pub use source::{ReadAt, Source, Target};
