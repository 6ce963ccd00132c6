//! Finds, for literals, places in the reference that they are like without being equal, and gives the streams of a
//! bsdiff.
//!
//! An *alignment* lays the literals from some place on over the reference from some place on. A new one is taken where an
//! exact match beats the bytes that agree under the present one; its edges are then moved so that most bytes agree.

use crate::codec::bsdiff::Streams;

/// Bytes of the shortest match that is looked for.
const SEED: usize = 8;

/// Bytes that a match must agree in beyond the present alignment: a new alignment costs about as much.
const GAIN: usize = 8;

/// Matches are measured to this length; longer ones differ in nothing that decides.
const ENOUGH: usize = 256;

/// Places in the reference that are tried for one seed.
const TRIES: usize = 32;

/// Literals from `new` on lie over the reference from `old` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Alignment {
    new: usize,
    old: usize,
}

/// The differences of `literals` to `reference`.
pub(super) fn align(reference: &[u8], literals: &[u8]) -> Streams {
    let seeds = Seeds::new(reference);
    let mut streams = Streams::default();
    let mut present = Alignment { new: 0, old: 0 };
    let mut scan = 0;
    while scan + SEED <= literals.len() {
        let found = seeds.longest(reference, literals, scan);
        let (old, length) = found.unwrap_or_default();
        let agreeing = agreeing(reference, literals, present, scan, length.max(SEED));
        if length <= agreeing + GAIN {
            // Where nearly all agrees anyway, look again only past most of it.
            scan += if agreeing > GAIN { agreeing - GAIN } else { 1 };
            continue;
        }
        let next = Alignment { new: scan, old };
        present = close(reference, literals, present, next, &mut streams);
        scan += length;
    }
    let keep = forward(reference, literals, present, literals.len() - present.new);
    emit(reference, literals, present, keep, literals.len(), 0, &mut streams);
    streams
}

/// Ends `present` where `next` begins; gives `next`, moved back over what still agrees.
fn close(reference: &[u8], literals: &[u8], present: Alignment, next: Alignment, streams: &mut Streams) -> Alignment {
    let between = next.new - present.new;
    let mut keep = forward(reference, literals, present, between);
    let mut back = backward(reference, literals, next, between);
    if keep + back > between {
        (keep, back) = split(reference, literals, present, next, keep, back);
    }
    let moved = Alignment {
        new: next.new - back,
        old: next.old - back,
    };
    let seek = moved.old.cast_signed() - (present.old + keep).cast_signed();
    emit(reference, literals, present, keep, moved.new, seek as i64, streams);
    moved
}

/// One step: `keep` bytes of `present`, then literals as they are up to `end`.
fn emit(
    reference: &[u8],
    literals: &[u8],
    present: Alignment,
    keep: usize,
    end: usize,
    seek: i64,
    streams: &mut Streams,
) {
    let old = &reference[present.old..present.old + keep];
    let new = &literals[present.new..present.new + keep];
    let difference = new.iter().zip(old).map(|(new, old)| new.wrapping_sub(*old));
    streams.push(difference, &literals[present.new + keep..end], seek);
}

/// How many of the `length` bytes from `scan` agree under `present`.
fn agreeing(reference: &[u8], literals: &[u8], present: Alignment, scan: usize, length: usize) -> usize {
    let old = reference.get(present.old + (scan - present.new)..).unwrap_or_default();
    literals[scan..]
        .iter()
        .zip(old)
        .take(length)
        .filter(|(new, old)| new == old)
        .count()
}

/// The length from the start of `present`, at most `limit`, at which agreeing bytes most outnumber the others.
fn forward(reference: &[u8], literals: &[u8], present: Alignment, limit: usize) -> usize {
    let pairs = literals[present.new..].iter().zip(&reference[present.old..]);
    best_length(pairs.take(limit))
}

/// The same backwards from just before `next`.
fn backward(reference: &[u8], literals: &[u8], next: Alignment, limit: usize) -> usize {
    let pairs = literals[..next.new]
        .iter()
        .rev()
        .zip(reference[..next.old].iter().rev());
    best_length(pairs.take(limit))
}

fn best_length<'a>(pairs: impl Iterator<Item = (&'a u8, &'a u8)>) -> usize {
    let (mut score, mut best_score, mut best) = (0_i32, 0, 0);
    for (index, (new, old)) in pairs.enumerate() {
        score += if new == old { 1 } else { -1 };
        if score > best_score {
            (best_score, best) = (score, index + 1);
        }
    }
    best
}

/// Both alignments claim some bytes: the cut that leaves most of them agreeing.
fn split(
    reference: &[u8],
    literals: &[u8],
    present: Alignment,
    next: Alignment,
    keep: usize,
    back: usize,
) -> (usize, usize) {
    let between = next.new - present.new;
    // Bytes before `start`, counted from the start of `present`, are only the present's.
    let start = between - back;
    let (mut score, mut best_score, mut best) = (0_i32, 0, start);
    for index in start..keep {
        let new = literals[present.new + index];
        score += i32::from(new == reference[present.old + index]);
        score -= i32::from(new == reference[next.old - (between - index)]);
        if score > best_score {
            (best_score, best) = (score, index + 1);
        }
    }
    (best, between - best)
}

/// Every place of the reference by the hash of the bytes there: for each hash the last place, for each place the one before
/// with the same hash.
struct Seeds {
    last: Vec<u32>,
    before: Vec<u32>,
    shift: u32,
}

const NONE: u32 = u32::MAX;

impl Seeds {
    fn new(reference: &[u8]) -> Self {
        let bits = reference.len().next_power_of_two().trailing_zeros().clamp(8, 22);
        let shift = 64 - bits;
        let mut last = vec![NONE; 1 << bits];
        let before = (0_u32..)
            .zip(reference.windows(SEED))
            .map(|(place, seed)| std::mem::replace(&mut last[slot(seed, shift)], place))
            .collect();
        Self { last, before, shift }
    }

    /// The place in the reference that agrees longest with the literals at `scan`, and how long.
    fn longest(&self, reference: &[u8], literals: &[u8], scan: usize) -> Option<(usize, usize)> {
        let new = &literals[scan..literals.len().min(scan + ENOUGH)];
        let mut place = self.last[slot(&new[..SEED], self.shift)];
        let mut best = None;
        let mut best_length = SEED - 1;
        for _ in 0..TRIES {
            if place == NONE {
                break;
            }
            let old = &reference[place as usize..];
            let length = new.iter().zip(old).take_while(|(new, old)| new == old).count();
            if length > best_length {
                best_length = length;
                best = Some((place as usize, length));
            }
            place = self.before[place as usize];
        }
        best
    }
}

fn slot(seed: &[u8], shift: u32) -> usize {
    let word = seed.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    let slot = word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> shift;
    usize::try_from(slot).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(size: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        };
        std::iter::repeat_with(next).take(size).collect()
    }

    #[test]
    fn changed_addresses_do_not_end_an_alignment() {
        let old = noise(50_000);
        let mut new = old.clone();
        new.iter_mut().step_by(13).for_each(|byte| *byte = byte.wrapping_add(4));
        new.splice(20_000..20_000, *b"inserted bytes that are nowhere else");
        let streams = align(&old, &new);
        assert!(streams.extra.len() < 100, "{}", streams.extra.len());
        let changed = streams.difference.iter().filter(|byte| **byte != 0).count();
        assert!((3800..3900).contains(&changed), "{changed}");
    }

    #[test]
    fn unlike_literals_are_inserted() {
        let streams = align(&[1; 1000], &noise(1000)[..500]);
        assert!(streams.extra.len() > 450);
        assert_eq!(streams.extra.len() + streams.difference.len(), 500);
        assert_eq!(align(b"", b"abc").extra, b"abc");
    }
}
