//! The segments as bytes: `docs/payload-format.md`, "Structure".

use crate::limits::{MAX_REFERENCE_BLOCKS, MAX_SEGMENT_BLOCKS};
use crate::segment::{Codec, Coding, Origin, Range, Run, RunKind, Segment};
use crate::varint;

/// What the coding of a segment depends on from those before it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cursor {
    /// First block of the next segment.
    next_block: u64,
    /// Block of the base less block of the output at the last copy from the base: where a change replaces bytes in place,
    /// the copy after it goes on with the same.
    displacement: i64,
}

/// Sizes of the images, in blocks, that segments must keep to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Blocks of the output, a cut last one included.
    pub(crate) output: u64,
    /// Whether the last block of the output is cut.
    pub(crate) output_is_cut: bool,
    /// Whole blocks of the base: what can be copied.
    pub(crate) base_whole: u64,
    /// Blocks of the base, a cut last one included: what can be referred to.
    pub(crate) base: u64,
}

/// What is wrong with a structure; `None` from a [`varint`] is a cut or overlong number.
type Wrong = &'static str;
const NUMBER: Wrong = "a number is cut short or overlong";

impl Cursor {
    /// Appends `segment`, which must follow the one before.
    pub(crate) fn encode(&mut self, segment: &Segment, out: &mut Vec<u8>) {
        varint::put(out, segment.runs.len() as u64);
        let mut block = self.next_block;
        for run in &segment.runs {
            let kind = match run.kind {
                RunKind::Literal => 0,
                RunKind::Base(_) => 1,
                RunKind::Output(_) => 2,
                RunKind::Zero => 3,
            };
            varint::put(out, u64::from(run.blocks) << 2 | kind);
            match run.kind {
                RunKind::Base(from) => {
                    let displacement = from.cast_signed() - block.cast_signed();
                    varint::put(out, varint::zigzag(displacement - self.displacement));
                    self.displacement = displacement;
                }
                RunKind::Output(from) => varint::put(out, block - from),
                RunKind::Literal | RunKind::Zero => {}
            }
            block += u64::from(run.blocks);
        }
        self.next_block = block;
        if let Some(coding) = &segment.coding {
            varint::put(out, coding.codec.number());
            varint::put(out, coding.blob_size.into());
            if coding.codec.takes_reference() {
                encode_reference(&coding.reference, out);
            }
        }
    }

    /// Takes the next segment off the front of `bytes` and checks all of it against `bounds` and the limits.
    pub(crate) fn decode(&mut self, bytes: &mut &[u8], bounds: &Bounds) -> Result<Segment, Wrong> {
        let first_block = self.next_block;
        let count = varint::take(bytes).ok_or(NUMBER)?;
        if count == 0 || count > u64::from(MAX_SEGMENT_BLOCKS) {
            return Err("no runs, or more than blocks in a segment");
        }
        let mut segment = Segment {
            first_block,
            ..Segment::default()
        };
        let mut total = 0;
        let mut has_literals = false;
        for _ in 0..count {
            let run = self.decode_run(bytes, first_block, bounds)?;
            total += run.blocks;
            if total > MAX_SEGMENT_BLOCKS {
                return Err("more output than the limit of a segment");
            }
            has_literals |= run.kind == RunKind::Literal;
            segment.runs.push(run);
        }
        let ends = self.next_block == bounds.output;
        if ends && bounds.output_is_cut && segment.runs.last().is_some_and(|run| run.kind != RunKind::Literal) {
            return Err("the cut last block is not a literal");
        }
        if has_literals {
            segment.coding = Some(decode_coding(bytes, first_block, bounds)?);
        }
        Ok(segment)
    }

    fn decode_run(&mut self, bytes: &mut &[u8], segment_start: u64, bounds: &Bounds) -> Result<Run, Wrong> {
        let word = varint::take(bytes).ok_or(NUMBER)?;
        let blocks = u32::try_from(word >> 2).map_err(|_| "a run longer than a segment")?;
        if blocks == 0 || blocks > MAX_SEGMENT_BLOCKS {
            return Err("an empty run, or one longer than a segment");
        }
        let block = self.next_block;
        let kind = match word & 3 {
            0 => RunKind::Literal,
            1 => {
                let change = varint::unzigzag(varint::take(bytes).ok_or(NUMBER)?);
                let outside = "a copy from outside the base";
                let displacement = self.displacement.checked_add(change).ok_or(outside)?;
                let from = block.checked_add_signed(displacement).ok_or(outside)?;
                if !within(from, blocks, bounds.base_whole) {
                    return Err(outside);
                }
                self.displacement = displacement;
                RunKind::Base(from)
            }
            2 => {
                let distance = varint::take(bytes).ok_or(NUMBER)?;
                let outside = "a copy from output that is not there yet";
                let from = block.checked_sub(distance).ok_or(outside)?;
                if !within(from, blocks, segment_start) {
                    return Err(outside);
                }
                RunKind::Output(from)
            }
            _ => RunKind::Zero,
        };
        self.next_block += u64::from(blocks);
        if self.next_block > bounds.output {
            return Err("a run past the end of the output");
        }
        Ok(Run { kind, blocks })
    }

    /// First block after the segments so far.
    pub(crate) fn next_block(&self) -> u64 {
        self.next_block
    }
}

fn encode_reference(reference: &[Range], out: &mut Vec<u8>) {
    varint::put(out, reference.len() as u64);
    let mut ends = [0; 2];
    for range in reference {
        let end = &mut ends[range.origin as usize];
        varint::put(out, u64::from(range.blocks) << 1 | range.origin as u64);
        varint::put(out, range.first - *end);
        *end = range.first + u64::from(range.blocks);
    }
}

fn decode_coding(bytes: &mut &[u8], segment_start: u64, bounds: &Bounds) -> Result<Coding, Wrong> {
    let codec = Codec::from_number(varint::take(bytes).ok_or(NUMBER)?).ok_or("an unknown codec")?;
    let blob_size = varint::take(bytes).ok_or(NUMBER)?;
    let blob_size = u32::try_from(blob_size).map_err(|_| "a blob larger than its literals")?;
    let mut coding = Coding {
        codec,
        blob_size,
        reference: Vec::new(),
    };
    if !codec.takes_reference() {
        return Ok(coding);
    }
    let count = varint::take(bytes).ok_or(NUMBER)?;
    if count == 0 || count > u64::from(MAX_REFERENCE_BLOCKS) {
        return Err("no reference ranges, or more than the limit");
    }
    let mut ends = [0_u64; 2];
    let mut total = 0;
    for _ in 0..count {
        let word = varint::take(bytes).ok_or(NUMBER)?;
        let gap = varint::take(bytes).ok_or(NUMBER)?;
        let (origin, limit) = if word & 1 == 0 {
            (Origin::Base, bounds.base)
        } else {
            (Origin::Output, segment_start)
        };
        let blocks = u32::try_from(word >> 1)
            .ok()
            .filter(|blocks| (1..=MAX_REFERENCE_BLOCKS).contains(blocks));
        let blocks = blocks.ok_or("an empty reference range, or one above the limit")?;
        total += blocks;
        if total > MAX_REFERENCE_BLOCKS {
            return Err("a reference above the limit");
        }
        if coding
            .reference
            .last()
            .is_some_and(|range: &Range| range.origin > origin)
        {
            return Err("reference ranges out of order");
        }
        let end = &mut ends[origin as usize];
        let outside = "a reference range outside its image";
        let first = end
            .checked_add(gap)
            .filter(|first| within(*first, blocks, limit))
            .ok_or(outside)?;
        *end = first + u64::from(blocks);
        coding.reference.push(Range { origin, first, blocks });
    }
    Ok(coding)
}

/// Whether `blocks` blocks from `first` lie below `limit`.
fn within(first: u64, blocks: u32, limit: u64) -> bool {
    first.checked_add(blocks.into()).is_some_and(|end| end <= limit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds {
        output: 5000,
        output_is_cut: false,
        base_whole: 1000,
        base: 1001,
    };

    /// Decodes one segment that begins at block 100, from numbers.
    fn decode(numbers: &[u64]) -> Result<Segment, Wrong> {
        let mut bytes = Vec::new();
        for number in numbers {
            varint::put(&mut bytes, *number);
        }
        let mut rest = &bytes[..];
        let segment = Cursor {
            next_block: 100,
            displacement: 0,
        }
        .decode(&mut rest, &BOUNDS)?;
        if rest.is_empty() {
            Ok(segment)
        } else {
            Err("numbers left over")
        }
    }

    const fn run(kind: u64, blocks: u64) -> u64 {
        blocks << 2 | kind
    }

    const LITERAL: u64 = 0;
    const BASE: u64 = 1;
    const OUTPUT: u64 = 2;
    const ZERO: u64 = 3;

    #[test]
    fn what_keeps_the_bounds_to_the_last_block_is_accepted() {
        let cases: [&[u64]; 6] = [
            &[1, run(BASE, 10), varint::zigzag(890)],
            &[1, run(BASE, 10), varint::zigzag(-100)],
            &[1, run(OUTPUT, 10), 10],
            &[1, run(OUTPUT, 10), 100],
            &[2, run(ZERO, 1023), run(LITERAL, 1), 0, 4096],
            // References: base 1..1001 (the cut last block included), output 99..100.
            &[1, run(LITERAL, 1), 2, 9, 3, 512 << 1, 1, 488 << 1, 0, 1 << 1 | 1, 99],
        ];
        for case in cases {
            decode(case).unwrap_or_else(|wrong| panic!("{case:?}: {wrong}"));
        }
    }

    #[test]
    fn what_passes_a_bound_by_one_is_refused() {
        let cases: [(&str, &[u64]); 17] = [
            ("no runs", &[0]),
            ("an empty run", &[1, run(ZERO, 0)]),
            ("a run above the limit", &[1, run(ZERO, 1025)]),
            ("runs above the limit", &[2, run(ZERO, 1024), run(ZERO, 1)]),
            ("past the end of the base", &[1, run(BASE, 10), varint::zigzag(891)]),
            ("before the base", &[1, run(BASE, 10), varint::zigzag(-101)]),
            ("the cut block of the base", &[1, run(BASE, 1), varint::zigzag(900)]),
            ("far outside the base", &[1, run(BASE, 1), u64::MAX]),
            ("output of this segment", &[1, run(OUTPUT, 10), 9]),
            ("before the output", &[1, run(OUTPUT, 10), 101]),
            ("an unknown codec", &[1, run(LITERAL, 1), 4, 9]),
            ("no ranges", &[1, run(LITERAL, 1), 2, 9, 0]),
            ("an empty range", &[1, run(LITERAL, 1), 2, 9, 1, 0, 5]),
            ("a range past the base", &[1, run(LITERAL, 1), 2, 9, 1, 2 << 1, 1000]),
            (
                "a range of output not there yet",
                &[1, run(LITERAL, 1), 2, 9, 1, 2 << 1 | 1, 99],
            ),
            (
                "a reference above the limit",
                &[1, run(LITERAL, 1), 2, 9, 2, 1000 << 1, 0, 25 << 1 | 1, 0],
            ),
            (
                "base after output",
                &[1, run(LITERAL, 1), 2, 9, 2, 1 << 1 | 1, 0, 1 << 1, 0],
            ),
        ];
        for (name, case) in cases {
            assert!(decode(case).is_err(), "{name}");
            assert!(decode(&case[..case.len() - 1]).is_err(), "{name}, cut short");
        }
    }

    #[test]
    fn output_ends_where_announced_with_a_literal_if_cut() {
        let whole = Bounds { output: 10, ..BOUNDS };
        let cut = Bounds {
            output_is_cut: true,
            ..whole
        };
        let decode = |numbers: &[u64], bounds| {
            let mut bytes = Vec::new();
            for number in numbers {
                varint::put(&mut bytes, *number);
            }
            Cursor::default().decode(&mut &bytes[..], bounds)
        };
        assert!(decode(&[1, run(ZERO, 10)], &whole).is_ok());
        assert!(decode(&[1, run(ZERO, 11)], &whole).is_err());
        assert!(decode(&[1, run(ZERO, 10)], &cut).is_err());
        let ends_literally = decode(&[2, run(ZERO, 9), run(LITERAL, 1), 0, 1], &cut).unwrap();
        assert_eq!(ends_literally.literal_size(10 * 4096 - 4000), 96);
    }

    fn segments() -> impl Strategy<Value = Vec<Segment>> {
        let run = (0..4_u8, 1..200_u32, any::<prop::sample::Index>());
        let reference = prop::collection::vec((any::<bool>(), 0..30_u64, 1..30_u32), 1..20);
        let segment = (prop::collection::vec(run, 1..5), 0..4_u64, 1..1000_u32, reference);
        prop::collection::vec(segment, 1..6).prop_map(|parts| {
            let mut first_block = 0;
            parts
                .into_iter()
                .map(|(runs, codec, blob_size, reference)| build(&mut first_block, &runs, codec, blob_size, reference))
                .collect()
        })
    }

    fn build(
        next_block: &mut u64,
        runs: &[(u8, u32, prop::sample::Index)],
        codec: u64,
        blob_size: u32,
        mut reference: Vec<(bool, u64, u32)>,
    ) -> Segment {
        let first_block = *next_block;
        let place = |index: &prop::sample::Index, limit: u64| index.index(usize::try_from(limit).unwrap()) as u64;
        let mut segment = Segment {
            first_block,
            ..Segment::default()
        };
        for (kind, blocks, from) in runs {
            let kind = match kind {
                1 => RunKind::Base(place(from, BOUNDS.base_whole - u64::from(*blocks) + 1)),
                2 if first_block >= u64::from(*blocks) => {
                    RunKind::Output(place(from, first_block - u64::from(*blocks) + 1))
                }
                3 => RunKind::Zero,
                _ => RunKind::Literal,
            };
            segment.runs.push(Run { kind, blocks: *blocks });
            *next_block += u64::from(*blocks);
        }
        if segment.runs.iter().any(|run| run.kind == RunKind::Literal) {
            let codec = Codec::from_number(codec).unwrap();
            let mut ends = [0, 0];
            reference.sort_by_key(|(output, ..)| *output);
            let ranges = reference
                .iter()
                .filter(|(output, ..)| codec.takes_reference() && (!output || first_block >= 1200));
            let reference = ranges.map(|(output, gap, blocks)| {
                let end = &mut ends[usize::from(*output)];
                let first = *end + gap;
                *end = first + u64::from(*blocks);
                Range {
                    origin: if *output { Origin::Output } else { Origin::Base },
                    first,
                    blocks: *blocks,
                }
            });
            let reference: Vec<_> = reference.collect();
            let codec = if reference.is_empty() { Codec::Raw } else { codec };
            segment.coding = Some(Coding {
                codec,
                blob_size,
                reference,
            });
        }
        segment
    }

    proptest! {
        #[test]
        fn segments_go_both_ways(segments in segments()) {
            let (mut cursor, mut bytes) = (Cursor::default(), Vec::new());
            for segment in &segments {
                cursor.encode(segment, &mut bytes);
            }
            let (mut cursor, mut rest) = (Cursor::default(), &bytes[..]);
            for segment in &segments {
                prop_assert_eq!(&cursor.decode(&mut rest, &BOUNDS).unwrap(), segment);
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let (mut cursor, mut rest) = (Cursor::default(), &bytes[..]);
            while cursor.decode(&mut rest, &BOUNDS).is_ok() {}
        }
    }
}
