//! What one segment of a payload says.

use crate::limits::BLOCK;

/// One segment: up to [`crate::limits::MAX_SEGMENT`] bytes of output and how to get them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Segment {
    /// First block of the output.
    pub first_block: u64,
    /// The runs, in order of output; every block of the segment is in exactly one.
    pub runs: Vec<Run>,
    /// How the blocks of the literal runs are coded; none when there are no such runs.
    pub coding: Option<Coding>,
}

impl Segment {
    /// Blocks of output; the last block of the payload may be cut by the output's size.
    pub fn blocks(&self) -> u32 {
        self.runs.iter().map(|run| run.blocks).sum()
    }

    /// Where the output begins, in bytes.
    pub fn offset(&self) -> u64 {
        self.first_block * u64::from(BLOCK)
    }

    /// Bytes of output, for an output of `output_size` bytes.
    pub fn size(&self, output_size: u64) -> u32 {
        clip(self.first_block, self.blocks(), output_size)
    }

    /// Bytes of the blob; 0 without one.
    pub fn blob_size(&self) -> u64 {
        self.coding.as_ref().map_or(0, |coding| u64::from(coding.blob_size))
    }

    /// Bytes of the literal runs: what the blob decodes to. Only a literal run can hold a cut last block.
    pub fn literal_size(&self, output_size: u64) -> u32 {
        let literal: u32 = self
            .runs
            .iter()
            .filter(|run| run.kind == RunKind::Literal)
            .map(|run| run.blocks)
            .sum();
        literal * BLOCK - (self.blocks() * BLOCK - self.size(output_size))
    }
}

/// Bytes of `blocks` blocks from block `first` in an image of `size` bytes.
pub(crate) fn clip(first: u64, blocks: u32, size: u64) -> u32 {
    let bytes = blocks * BLOCK;
    let rest = size.saturating_sub(first * u64::from(BLOCK));
    u32::try_from(rest).map_or(bytes, |rest| rest.min(bytes))
}

/// Consecutive blocks of output with one origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Where they come from.
    pub kind: RunKind,
    /// How many; at least one.
    pub blocks: u32,
}

/// Where the blocks of a run come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunKind {
    /// The next blocks of what the blob decodes to.
    Literal,
    /// Blocks of the base, from this one on.
    Base(u64),
    /// Blocks of the output, from this one on, all before the segment.
    Output(u64),
    /// Zeros.
    Zero,
}

/// How the literals of a segment are coded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coding {
    /// The codec.
    pub codec: Codec,
    /// Bytes of the blob.
    pub blob_size: u32,
    /// What the codec may refer to, concatenated in this order; empty for codecs without a reference.
    pub reference: Vec<Range>,
}

/// The codecs of blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// The literals as they are.
    Raw,
    /// One zstd frame.
    Zstd,
    /// One zstd frame whose prefix is the reference.
    ZstdPrefix,
    /// Differences to bytes of the reference, as three zstd frames.
    Bsdiff,
}

impl Codec {
    /// The number in the format.
    pub(crate) const fn number(self) -> u64 {
        match self {
            Self::Raw => 0,
            Self::Zstd => 1,
            Self::ZstdPrefix => 2,
            Self::Bsdiff => 3,
        }
    }

    pub(crate) const fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Raw),
            1 => Some(Self::Zstd),
            2 => Some(Self::ZstdPrefix),
            3 => Some(Self::Bsdiff),
            _ => None,
        }
    }

    pub(crate) const fn takes_reference(self) -> bool {
        matches!(self, Self::ZstdPrefix | Self::Bsdiff)
    }
}

/// The image a reference range lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The base.
    Base,
    /// The output, before the segment.
    Output,
}

/// Consecutive blocks to refer to. The last block of the base may be cut by the base's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The image.
    pub origin: Origin,
    /// First block.
    pub first: u64,
    /// How many; at least one.
    pub blocks: u32,
}
