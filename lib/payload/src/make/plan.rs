//! From digests to runs and segments.

use std::collections::HashMap;

use super::scan::{Digest, digest};
use crate::limits::{BLOCK, MAX_SEGMENT_BLOCKS};
use crate::segment::{Run, RunKind, Segment};

/// Blocks of literals that close a segment of a delta: 1 MiB codes nearly as well as more, and keeps what is lost with a
/// connection, and what an applier must hold, small.
const LITERALS: u32 = 256;

/// The same for a full payload. It has nothing to lean on but itself: there, more in one piece is smaller.
const LITERALS_OF_FULL: u32 = MAX_SEGMENT_BLOCKS;

/// Cuts the output into segments whose runs say where each block comes from; codings are left open.
///
/// `digests` covers the whole blocks of the output, `base` those of the base. A cut last block is a literal.
pub(super) fn plan(digests: &[Digest], base: &[Digest], base_size: u64, output_size: u64) -> Vec<Segment> {
    debug_assert_eq!(base.len() as u64, base_size / u64::from(BLOCK));
    let mut finder = Finder {
        zero: digest(&[0; BLOCK as usize]),
        base,
        output: digests,
        first_in_base: first_places(base),
        first_in_output: first_places(digests),
        base_displacement: 0,
        output_distance: 0,
    };
    let most_literals = if base_size > 0 { LITERALS } else { LITERALS_OF_FULL };
    let mut segments = Vec::new();
    let mut segment = Segment::default();
    let (mut blocks, mut literals) = (0, 0);
    for block in 0..output_size.div_ceil(BLOCK.into()) {
        let kind = finder.origin(block, segment.first_block);
        append(&mut segment.runs, kind);
        blocks += 1;
        literals += u32::from(kind == RunKind::Literal);
        if blocks == MAX_SEGMENT_BLOCKS || literals == most_literals {
            let next = Segment {
                first_block: block + 1,
                ..Segment::default()
            };
            segments.push(std::mem::replace(&mut segment, next));
            (blocks, literals) = (0, 0);
        }
    }
    if blocks > 0 {
        segments.push(segment);
    }
    segments
}

/// Adds one block: to the last run where it continues that.
fn append(runs: &mut Vec<Run>, kind: RunKind) {
    if let Some(last) = runs.last_mut() {
        let length = u64::from(last.blocks);
        let continues = match (last.kind, kind) {
            (RunKind::Base(first), RunKind::Base(block)) | (RunKind::Output(first), RunKind::Output(block)) => {
                first + length == block
            }
            (last, kind) => last == kind,
        };
        if continues {
            last.blocks += 1;
            return;
        }
    }
    runs.push(Run { kind, blocks: 1 });
}

fn first_places(digests: &[Digest]) -> HashMap<Digest, u64> {
    let mut places = HashMap::with_capacity(digests.len());
    for (place, digest) in (0..).zip(digests) {
        places.entry(*digest).or_insert(place);
    }
    places
}

struct Finder<'a> {
    zero: Digest,
    base: &'a [Digest],
    output: &'a [Digest],
    first_in_base: HashMap<Digest, u64>,
    first_in_output: HashMap<Digest, u64>,
    /// Base block less output block at the last copy from the base.
    base_displacement: i64,
    /// How far back the last copy from the output went.
    output_distance: u64,
}

impl Finder<'_> {
    /// Where to take `block` from: the place that continues the last copy if it fits, else the first that does.
    fn origin(&mut self, block: u64, segment_start: u64) -> RunKind {
        let Some(digest) = at(self.output, block) else {
            return RunKind::Literal;
        };
        if *digest == self.zero {
            return RunKind::Zero;
        }
        let continued = block.checked_add_signed(self.base_displacement);
        let continued = continued.filter(|place| at(self.base, *place) == Some(digest));
        if let Some(place) = continued.or_else(|| self.first_in_base.get(digest).copied()) {
            self.base_displacement = place.cast_signed() - block.cast_signed();
            return RunKind::Base(place);
        }
        let continued = block.checked_sub(self.output_distance);
        let continued = continued.filter(|place| at(self.output, *place) == Some(digest));
        let earlier = |place: &u64| *place < segment_start;
        let place = continued
            .filter(earlier)
            .or_else(|| self.first_in_output.get(digest).copied().filter(earlier));
        if let Some(place) = place {
            self.output_distance = block - place;
            return RunKind::Output(place);
        }
        RunKind::Literal
    }
}

fn at(digests: &[Digest], block: u64) -> Option<&Digest> {
    digests.get(usize::try_from(block).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(names: &[u8]) -> Vec<Digest> {
        names
            .iter()
            .map(|name| if *name == b'0' { digest(&[0; 4096]) } else { [*name; 16] })
            .collect()
    }

    fn runs(output: &[u8], base: &[u8]) -> Vec<Run> {
        let size = |names: &[u8]| names.len() as u64 * 4096;
        let mut segments = plan(&digests(output), &digests(base), size(base), size(output));
        assert_eq!(segments.len(), 1);
        segments.remove(0).runs
    }

    #[test]
    fn a_copy_prefers_to_go_on_where_it_was() {
        let run = |kind, blocks| Run { kind, blocks };
        // "a" is at 0 too, yet the second copy stays beside "c" and "d".
        let expected = [
            run(RunKind::Base(3), 3),
            run(RunKind::Literal, 1),
            run(RunKind::Base(7), 1),
            run(RunKind::Zero, 2),
        ];
        assert_eq!(runs(b"cadXe00", b"a..cad.e"), expected);
    }

    #[test]
    fn segments_close_at_their_limits() {
        let output: Vec<Digest> = (0..600_u32)
            .map(|block| [block.to_le_bytes(); 4].concat().try_into().unwrap())
            .collect();
        let sizes = |base: &[Digest]| {
            let segments = plan(&output, base, base.len() as u64 * 4096, 600 * 4096 - 1);
            segments.iter().map(Segment::blocks).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&[]), [600]);
        assert_eq!(sizes(&[[9; 16]]), [256, 256, 88]);
        assert_eq!(sizes(&output), [600]);
    }
}
