//! Chooses the reference of a segment: the buckets that share most content with its literals.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::scan::{Anchors, BUCKET, BUCKET_BLOCKS};
use crate::limits::BLOCK;
use crate::segment::{Origin, Range};

/// Most bytes of a reference that the maker chooses; the format allows more.
const REFERENCE: u64 = 3 << 19;

/// The same for a full payload: reference and literals together fill the window.
const REFERENCE_OF_FULL: u64 = 4 << 20;

/// So much of it is what was put out last, whatever is voted for: anchors see no match shorter than their window.
const RECENT: u64 = 3 << 20;

/// An anchor in more places than this says nothing about any of them.
const COMMON: usize = 64;

/// Anchors that a bucket must add to those before it to be worth its place in the reference.
const WORTHWHILE: usize = 2;

/// Ranges for literals of a segment that begins at output byte `segment_start`, sorted as the format wants them.
///
/// Greedy: the bucket that covers most anchors not covered yet, until the reference is full or nothing is gained.
pub(super) fn vote(anchors: &Anchors, literals: &[u8], segment_start: u64, base_size: u64) -> Vec<Range> {
    let end = u64::from(anchors.base_buckets) + segment_start / BUCKET;
    let mut covers: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    let tags = anchors.tags(literals);
    for (anchor, tag) in tags.iter().enumerate() {
        let places = || anchors.buckets(*tag).take_while(|bucket| u64::from(*bucket) < end);
        if places().take(COMMON + 1).count() <= COMMON {
            places().for_each(|bucket| covers.entry(bucket).or_default().push(anchor));
        }
    }

    let mut chosen = Vec::new();
    let mut covered = vec![false; tags.len()];
    let full = base_size == 0;
    let most = if full { REFERENCE_OF_FULL } else { REFERENCE };
    if full {
        let end = segment_start / BUCKET;
        let recent = end.saturating_sub(RECENT / BUCKET)..end;
        for bucket in recent.filter_map(|bucket| u32::try_from(bucket).ok()) {
            let anchors = covers.remove(&bucket).unwrap_or_default();
            for anchor in anchors {
                covered[anchor] = true;
            }
            chosen.push(bucket);
        }
    }
    let mut best: BinaryHeap<_> = covers
        .iter()
        .map(|(bucket, anchors)| (anchors.len(), Reverse(*bucket)))
        .collect();
    while let Some((votes, Reverse(bucket))) = best.pop() {
        if (chosen.len() as u64 + 1) * BUCKET > most || votes < WORTHWHILE {
            break;
        }
        let open = covers[&bucket].iter().filter(|anchor| !covered[**anchor]).count();
        if open < votes {
            // Others took a part of its anchors meanwhile: back with what is left.
            best.push((open, Reverse(bucket)));
            continue;
        }
        covers[&bucket].iter().for_each(|anchor| covered[*anchor] = true);
        chosen.push(bucket);
    }
    chosen.sort_unstable();
    ranges(&chosen, anchors.base_buckets, base_size.div_ceil(BLOCK.into()))
}

/// Buckets, sorted, as ranges of blocks; neighbours joined, the last of the base cut to its size.
fn ranges(buckets: &[u32], base_buckets: u32, base_blocks: u64) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    for bucket in buckets {
        let (origin, number) = match bucket.checked_sub(base_buckets) {
            None => (Origin::Base, *bucket),
            Some(number) => (Origin::Output, number),
        };
        let first = u64::from(number) * u64::from(BUCKET_BLOCKS);
        let mut blocks = BUCKET_BLOCKS;
        if origin == Origin::Base {
            blocks = u32::try_from(base_blocks - first).map_or(blocks, |rest| rest.min(blocks));
        }
        match ranges.last_mut() {
            Some(last) if last.origin == origin && last.first + u64::from(last.blocks) == first => {
                last.blocks += blocks;
            }
            _ => ranges.push(Range { origin, first, blocks }),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_join_and_the_base_ends_where_it_does() {
        let range = |origin, first, blocks| Range { origin, first, blocks };
        let expected = [
            range(Origin::Base, 0, 8),
            range(Origin::Base, 12, 2),
            range(Origin::Output, 0, 4),
        ];
        assert_eq!(ranges(&[0, 1, 3, 4], 4, 14), expected);
    }
}
