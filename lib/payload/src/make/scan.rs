//! What is known of an image after one reading: the digest of every block, and its anchors.
//!
//! An anchor is a place chosen by content: where a rolling hash of the 64 bytes before it has its top bits clear. Equal
//! content has equal anchors wherever it moved to, so anchors that two places share say how alike the places are.

use sha2::{Digest as _, Sha256};

use crate::error::MakeError;
use crate::limits::BLOCK;
use crate::source::{ReadAt, Source};

use super::ordered;

/// Bytes that one piece of work reads.
const PIECE: u32 = 1 << 20;
const PIECE_BYTES: u64 = PIECE as u64;

/// Bytes of a bucket, the unit that anchors vote for.
pub(super) const BUCKET: u64 = 16 << 10;

/// Blocks of a bucket.
pub(super) const BUCKET_BLOCKS: u32 = 4;

/// Bytes that the rolling hash remembers.
const WINDOW: usize = 64;

/// One anchor in 2^6 bytes while the images are small.
const SPACING: u32 = 6;

/// Bytes of both images from which on anchors are spaced wider, so that their index keeps its bound: 2^25 of 8 bytes.
const SPACED_FROM: u64 = 2 << 30;

/// Half a SHA-256: enough to tell blocks apart, and an error of the maker would be found by the segment's hash.
pub(super) type Digest = [u8; 16];

/// How anchors of one image enter the index.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// Bits of the hash that must be clear.
    spacing: u32,
    /// Number of the image's first bucket.
    first_bucket: u32,
}

/// Anchors of the base and of the output: which buckets hold which content.
#[derive(Debug)]
pub(super) struct Anchors {
    /// Tag in the upper half, bucket in the lower; sorted once complete.
    entries: Vec<u64>,
    /// Where the entries of each tag's upper bits begin.
    starts: Vec<usize>,
    spacing: u32,
    /// Buckets of the base; those of the output follow.
    pub(super) base_buckets: u32,
}

/// Bits of a tag that `starts` resolves.
const START_BITS: u32 = 20;

impl Anchors {
    pub(super) fn new(base_size: u64, output_size: u64) -> Self {
        let mut spacing = SPACING;
        while (base_size + output_size) >> (spacing - SPACING) > SPACED_FROM {
            spacing += 1;
        }
        Self {
            entries: Vec::new(),
            starts: Vec::new(),
            spacing,
            base_buckets: bucket(base_size.div_ceil(BUCKET)),
        }
    }

    pub(super) fn base_rules(&self) -> Rules {
        Rules {
            spacing: self.spacing,
            first_bucket: 0,
        }
    }

    pub(super) fn output_rules(&self) -> Rules {
        Rules {
            spacing: self.spacing,
            first_bucket: self.base_buckets,
        }
    }

    /// Makes the anchors that were gathered ready to be looked up.
    pub(super) fn index(&mut self) {
        self.entries.sort_unstable();
        self.entries.dedup();
        self.entries.shrink_to_fit();
        let mut next = 0;
        self.starts = (0..=1_u64 << START_BITS)
            .map(|prefix| {
                let entries = &self.entries[next..];
                next += entries
                    .iter()
                    .take_while(|entry| *entry >> (64 - START_BITS) < prefix)
                    .count();
                next
            })
            .collect();
    }

    /// The buckets that hold `tag`, in order.
    pub(super) fn buckets(&self, tag: u32) -> impl Iterator<Item = u32> {
        let prefix = (tag >> (32 - START_BITS)) as usize;
        let entries = &self.entries[self.starts[prefix]..self.starts[prefix + 1]];
        let from = entries.partition_point(|entry| upper(*entry) < tag);
        entries[from..]
            .iter()
            .take_while(move |entry| upper(**entry) == tag)
            .map(|entry| lower(*entry))
    }

    /// Tags of the anchors in `bytes`, each once, sorted.
    pub(super) fn tags(&self, bytes: &[u8]) -> Vec<u32> {
        let mut tags = Vec::with_capacity(bytes.len() >> self.spacing);
        roll(bytes, self.spacing, |_, tag| tags.push(tag));
        tags.sort_unstable();
        tags.dedup();
        tags
    }
}

/// Reads one image.
pub(super) struct Scanner<'a> {
    name: &'static str,
    image: &'a dyn Source,
    size: u64,
    rules: Rules,
}

struct Piece {
    /// The bytes, after those that only warm up the rolling hash.
    bytes: Vec<u8>,
    digests: Vec<Digest>,
    entries: Vec<u64>,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(name: &'static str, image: &'a dyn Source, size: u64, rules: Rules) -> Self {
        Self {
            name,
            image,
            size,
            rules,
        }
    }

    /// Digests of the whole blocks, in order; anchors go to `anchors`, the bytes in order to `each`.
    pub(super) fn run(
        &self,
        threads: usize,
        anchors: &mut Anchors,
        each: &mut dyn FnMut(&[u8]),
        progress: &mut dyn FnMut(u64),
    ) -> Result<Vec<Digest>, MakeError> {
        let mut digests = Vec::new();
        let pieces = usize::try_from(self.size.div_ceil(PIECE_BYTES)).unwrap_or(usize::MAX);
        let mut done = 0;
        ordered::run(
            threads,
            pieces,
            |index| self.piece(index as u64),
            |_, piece| {
                digests.extend_from_slice(&piece.digests);
                anchors.entries.extend_from_slice(&piece.entries);
                each(&piece.bytes);
                done += piece.bytes.len() as u64;
                progress(done);
                Ok(())
            },
        )?;
        Ok(digests)
    }

    fn piece(&self, index: u64) -> Result<Piece, MakeError> {
        let offset = index * PIECE_BYTES;
        let warm_up = if index == 0 { 0 } else { WINDOW };
        let from = offset - warm_up as u64;
        let rest = usize::try_from(self.size - offset).unwrap_or(usize::MAX);
        let mut bytes = vec![0; warm_up + rest.min(PIECE as usize)];
        let read = ReadAt::read_at(self.image, from, &mut bytes);
        read.map_err(|source| MakeError::Read {
            image: self.name,
            offset: from,
            source,
        })?;

        let mut entries = Vec::with_capacity(bytes.len() >> self.rules.spacing);
        roll(&bytes, self.rules.spacing, |at, tag| {
            let bucket = bucket((from + at as u64) / BUCKET) + self.rules.first_bucket;
            entries.push(u64::from(tag) << 32 | u64::from(bucket));
        });
        entries.sort_unstable();
        entries.dedup();
        bytes.drain(..warm_up);
        let digests = bytes.chunks_exact(BLOCK as usize).map(digest).collect();
        Ok(Piece {
            bytes,
            digests,
            entries,
        })
    }
}

/// Digest of one block.
pub(super) fn digest(block: &[u8]) -> Digest {
    let mut half = [0; 16];
    half.copy_from_slice(&Sha256::digest(block)[..16]);
    half
}

/// Calls `anchor` with the index of the last byte and the tag of every anchor whose window lies within `bytes`.
fn roll(bytes: &[u8], spacing: u32, mut anchor: impl FnMut(usize, u32)) {
    let mut hash = 0_u64;
    for (at, byte) in bytes.iter().enumerate() {
        hash = (hash << 1).wrapping_add(GEAR[usize::from(*byte)]);
        if hash >> (64 - spacing) == 0 && at + 1 >= WINDOW {
            // The top bits are the same for all anchors: spread the others over the tag.
            anchor(at, upper(hash.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        }
    }
}

/// A random number for each byte, from a splitmix64 generator.
const GEAR: [u64; 256] = {
    let mut table = [0; 256];
    let mut state = 0_u64;
    let mut index = 0;
    while index < 256 {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        table[index] = word ^ (word >> 31);
        index += 1;
    }
    table
};

fn upper(entry: u64) -> u32 {
    (entry >> 32) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
fn lower(entry: u64) -> u32 {
    entry as u32
}

/// Numbers of buckets fit: the largest image has 2^26 of them.
#[expect(clippy::cast_possible_truncation, reason = "the largest image has 2^26 buckets")]
fn bucket(number: u64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(size: usize) -> Vec<u8> {
        let mut state = 1_u64;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        })
        .take(size)
        .collect()
    }

    #[test]
    fn moved_content_finds_its_old_place() {
        let image = noise(3 << 20);
        let mut anchors = Anchors::new(image.len() as u64, 0);
        Scanner::new("base", &image, image.len() as u64, anchors.base_rules())
            .run(2, &mut anchors, &mut |_| (), &mut |_| ())
            .unwrap();
        anchors.index();
        // An odd shift, across the border of two pieces.
        let at = (1 << 20) - 5000;
        let tags = anchors.tags(&image[at..at + 10_000]);
        assert!(tags.len() > 80, "{}", tags.len());
        for tag in tags {
            let near = |bucket: u32| (61..=65).contains(&bucket);
            assert!(anchors.buckets(tag).any(near));
        }
        assert_eq!(
            anchors.tags(&noise(1000)[900..]).len(),
            anchors.tags(&noise(1000)[900..]).len()
        );
    }

    #[test]
    fn large_images_have_wider_anchors() {
        assert_eq!(Anchors::new(1 << 30, 1 << 30).spacing, 6);
        assert_eq!(Anchors::new(1 << 32, 1 << 32).spacing, 8);
    }
}
