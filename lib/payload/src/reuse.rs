//! Which segments of a full payload a host need not fetch, because some image that it has holds all their blocks, wherever they
//! lie. `docs/payload-format.md`, "Block map".

use std::collections::BTreeMap;
use std::io::{self, Read};

use sha2::{Digest, Sha256};

use crate::error::MapError;
use crate::hash::Sha256Hash;
use crate::header::Header;
use crate::limits::{BLOCK, MAX_INDEXED_BLOCKS, MAX_REUSED_RUNS};
use crate::map::{ENTRY, entry};
use crate::segment::{Run, RunKind};
use crate::source::ReadAt;

/// Bits of an index entry that say where a block is: the largest image has 2^28. The others are of its map entry. That two
/// blocks agree in these by chance costs one segment, whose hash would tell.
const PLACE_BITS: u32 = 28;

/// Blocks that are read at once.
const AT_ONCE: u64 = 64;

/// Where the blocks of an image are, by content.
#[derive(Debug)]
pub struct BlockIndex {
    /// Sorted.
    entries: Vec<u64>,
}

impl BlockIndex {
    /// Reads the first `size` bytes of `image`, or as far as it goes. Blocks that cannot be read are left out, and so are those
    /// after [`MAX_INDEXED_BLOCKS`], which keep the index at 8 MiB.
    pub fn of(image: &dyn ReadAt, size: u64) -> Self {
        let block = BLOCK as usize;
        let zero = entry(&vec![0; block]);
        let blocks = (size / u64::from(BLOCK)).min(MAX_INDEXED_BLOCKS);
        let mut entries = Vec::new();
        let mut add = |first: u64, bytes: &[u8]| {
            for (place, block) in (first..).zip(bytes.chunks_exact(block)) {
                let entry = entry(block);
                if entry != zero {
                    entries.push(key(entry) | place);
                }
            }
        };
        let mut bytes = vec![0; usize::try_from(AT_ONCE).unwrap_or_default() * block];
        let mut first = 0;
        'image: while first < blocks {
            let count = AT_ONCE.min(blocks - first);
            let bytes = &mut bytes[..usize::try_from(count).unwrap_or_default() * block];
            if image.read_at(first * u64::from(BLOCK), bytes).is_ok() {
                add(first, bytes);
            } else {
                for (place, bytes) in (first..).zip(bytes.chunks_exact_mut(block)) {
                    match image.read_at(place * u64::from(BLOCK), bytes) {
                        Ok(()) => add(place, bytes),
                        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break 'image,
                        Err(_) => {}
                    }
                }
            }
            first += count;
        }
        entries.sort_unstable();
        entries.shrink_to_fit();
        Self { entries }
    }

    /// A block with this map entry: the one at `continued` if that is one, else the first.
    fn place(&self, entry: [u8; ENTRY], continued: u64) -> Option<u64> {
        let key = key(entry);
        if self.entries.binary_search(&(key | continued)).is_ok() {
            return Some(continued);
        }
        let at = self.entries.partition_point(|found| *found < key);
        let found = self.entries.get(at)?;
        (found >> PLACE_BITS == key >> PLACE_BITS).then_some(found & PLACES)
    }
}

const PLACES: u64 = (1 << PLACE_BITS) - 1;

/// The bits of an index entry that are of a map entry.
fn key(entry: [u8; ENTRY]) -> u64 {
    u64::from_le_bytes(entry) & !PLACES
}

/// Segments of a full payload, and where their blocks are in another image.
#[derive(Debug, Default)]
pub struct Reuse {
    segments: BTreeMap<u32, Vec<Run>>,
    saved: u64,
}

impl Reuse {
    /// Reads the block map of the payload's output and looks for its blocks. Only what the map's hash vouches for is given, and
    /// even that is a hint: a segment's own hash decides when it was put together.
    ///
    /// Memory beside the index: at most [`MAX_REUSED_RUNS`] runs, 3 MiB.
    ///
    /// # Errors
    /// [`MapError`]. The payload can be applied without.
    pub fn find(
        header: &Header,
        index: &BlockIndex,
        map: &mut impl Read,
        expected: &Sha256Hash,
    ) -> Result<Self, MapError> {
        let zero = entry(&vec![0; BLOCK as usize]);
        let mut reuse = Self::default();
        let mut hash = Sha256::new();
        let mut entries = Vec::new();
        let mut runs_left = MAX_REUSED_RUNS;
        for (number, segment) in (0..).zip(header.segments()) {
            entries.resize(segment.blocks() as usize * ENTRY, 0);
            map.read_exact(&mut entries).map_err(MapError::Read)?;
            hash.update(&entries);
            let is_cut = segment.size(header.output_size()) < segment.blocks() * BLOCK;
            if segment.coding.is_none() || is_cut {
                continue;
            }
            let (entries, _) = entries.as_chunks::<ENTRY>();
            if let Some(runs) = runs(entries, zero, index, runs_left) {
                runs_left -= runs.len();
                reuse.saved += segment.blob_size();
                reuse.segments.insert(number, runs);
            }
        }
        let found = Sha256Hash(hash.finalize().into());
        if found == *expected {
            Ok(reuse)
        } else {
            Err(MapError::Hash {
                expected: *expected,
                found,
            })
        }
    }

    /// Bytes of blobs that need not be fetched.
    pub const fn saved(&self) -> u64 {
        self.saved
    }

    pub(crate) fn runs(&self, segment: u32) -> Option<&Vec<Run>> {
        self.segments.get(&segment)
    }

    /// The image does not hold `segment` after all.
    pub(crate) fn forget(&mut self, segment: u32) {
        self.segments.remove(&segment);
    }
}

/// The blocks of one segment as at most `most` runs; none if any block is not there.
fn runs(entries: &[[u8; ENTRY]], zero: [u8; ENTRY], index: &BlockIndex, most: usize) -> Option<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    for entry in entries {
        let continued = match runs.last() {
            Some(Run {
                kind: RunKind::Base(first),
                blocks,
            }) => first + u64::from(*blocks),
            _ => 0,
        };
        let kind = if *entry == zero {
            RunKind::Zero
        } else {
            RunKind::Base(index.place(*entry, continued)?)
        };
        match (runs.last_mut(), kind) {
            (Some(last), RunKind::Base(place)) if matches!(last.kind, RunKind::Base(_)) && place == continued => {
                last.blocks += 1;
            }
            (Some(last), RunKind::Zero) if last.kind == RunKind::Zero => last.blocks += 1,
            _ => {
                if runs.len() == most {
                    return None;
                }
                runs.push(Run { kind, blocks: 1 });
            }
        }
    }
    Some(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(byte: u8) -> Vec<u8> {
        vec![byte; BLOCK as usize]
    }

    /// Gives whole images, and fails at some of its blocks.
    struct Damaged(Vec<u8>, u64);

    impl ReadAt for Damaged {
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            let at = self.1 * u64::from(BLOCK);
            if (offset..offset + buffer.len() as u64).contains(&at) {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.0.read_at(offset, buffer)
        }
    }

    #[test]
    fn a_run_goes_on_where_it_was_and_zeros_need_no_place() {
        let image = [7, 1, 2, 9, 1, 3, 0].map(block).concat();
        // Longer than it is: a partition.
        let index = BlockIndex::of(&image, 1 << 20);
        let entries = [2, 9, 1, 3, 0, 0, 7].map(|byte| entry(&block(byte)));
        let zero = entry(&block(0));
        let run = |kind, blocks| Run { kind, blocks };
        let expected = vec![
            run(RunKind::Base(2), 4),
            run(RunKind::Zero, 2),
            run(RunKind::Base(0), 1),
        ];
        assert_eq!(runs(&entries, zero, &index, 3), Some(expected));
        assert_eq!(runs(&entries, zero, &index, 2), None, "more runs than allowed");
        assert_eq!(runs(&[entry(&block(4))], zero, &index, 9), None);
    }

    #[test]
    fn blocks_that_cannot_be_read_are_left_out() {
        let index = BlockIndex::of(&Damaged([1, 2, 3].map(block).concat(), 1), 3 * 4096);
        let there = |byte| index.place(entry(&block(byte)), 0);
        assert_eq!((there(1), there(2), there(3)), (Some(0), None, Some(2)));
    }
}
