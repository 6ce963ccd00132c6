//! A host that no delta was made for fetches only the segments whose blocks it has not got.
#![allow(clippy::unwrap_used)]

mod support;

use std::io;

use proptest::prelude::*;
use support::{Memory, content, header, make_small, pair};
use twinhull_payload::{
    Applied, Applier, BlockIndex, Header, MapError, Part, Reached, ReadAt, Reuse, Sha256Hash, block_map_size,
    make_block_map,
};

const BLOCK: usize = 4096;
/// Blocks of a segment of a full payload.
const SEGMENT: usize = 1024;

#[allow(clippy::ptr_arg, reason = "a source is a sized type")]
fn map(image: &Vec<u8>) -> (Vec<u8>, Sha256Hash) {
    let mut map = Vec::new();
    let hash = make_block_map(image, &mut map).unwrap();
    assert_eq!(map.len() as u64, block_map_size(image.len() as u64));
    (map, hash)
}

#[allow(clippy::ptr_arg, reason = "a source is a sized type")]
fn find(header: &Header, held: &Vec<u8>, new: &Vec<u8>) -> Reuse {
    let (map, hash) = map(new);
    let index = BlockIndex::of(held, held.len() as u64);
    Reuse::find(header, &index, &mut &map[..], &hash).unwrap()
}

/// Applies the full `payload`, asking for a new part of it wherever a blob is not needed. Gives what was done and the output.
fn apply(header: &Header, payload: &[u8], held: &dyn ReadAt, reuse: Reuse) -> (Applied, Vec<u8>) {
    let target = Memory::default();
    let mut end = 0;
    let mut take = |part: Part<'_>| {
        assert_eq!(part.offset, end, "segments come in order");
        end = part.end();
        Ok(())
    };
    let mut applier = Applier::new(header, None, &target).unwrap();
    applier.reuse(held, reuse);
    loop {
        applier.resume(&mut take).unwrap();
        let mut reader = &payload[usize::try_from(applier.position()).unwrap()..];
        match applier.apply_while_needed(&mut reader, 0, &mut take).unwrap() {
            Reached::End(done) => return (done, target.bytes()),
            Reached::Held => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn whatever_a_host_holds_the_output_is_right((held, new) in pair()) {
        let (full, made) = make_small(&new, None);
        let header = header(&full, &made);
        let reuse = find(&header, &held, &new);
        let saved = reuse.saved();
        let (done, output) = apply(&header, &full, &held, reuse);
        prop_assert!(output == new);
        prop_assert_eq!(done.fetched + saved, made.size - made.header_size);
    }
}

/// An image of four segments; and one that holds the blocks of all but the third, in other places.
fn moved() -> (Vec<u8>, Vec<u8>) {
    let held = content(1, 4 * SEGMENT * BLOCK);
    let mut new = held.clone();
    new.rotate_left(5 * BLOCK);
    new[(2 * SEGMENT + 7) * BLOCK] ^= 1;
    new[2 * BLOCK..4 * BLOCK].fill(0);
    (held, new)
}

#[test]
fn blocks_that_moved_are_found_and_only_what_differs_is_fetched() {
    let (held, new) = moved();
    let (full, made) = make_small(&new, None);
    let header = header(&full, &made);
    let blobs: Vec<u64> = header.segments().map(|segment| segment.blob_size()).collect();
    assert_eq!(blobs.len(), 4);
    let (done, output) = apply(&header, &full, &held, find(&header, &held, &new));
    assert!(output == new);
    assert_eq!(done.fetched, blobs[2]);
}

/// Gives other bytes than those that were indexed.
struct Changed(Vec<u8>);

impl ReadAt for Changed {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, buffer)?;
        let at = 9 * BLOCK as u64;
        if offset <= at && at < offset + buffer.len() as u64 {
            buffer[usize::try_from(at - offset).unwrap()] ^= 1;
        }
        Ok(())
    }
}

#[test]
fn what_turns_out_to_be_something_else_is_fetched() {
    let (held, new) = moved();
    let (full, made) = make_small(&new, None);
    let header = header(&full, &made);
    let reuse = find(&header, &held, &new);
    let blobs: Vec<u64> = header.segments().map(|segment| segment.blob_size()).collect();
    let (done, output) = apply(&header, &full, &Changed(held), reuse);
    assert!(output == new);
    assert_eq!(done.fetched, blobs[0] + blobs[2]);
}

#[test]
fn in_one_request_what_is_not_needed_goes_by() {
    let (held, new) = moved();
    let (full, made) = make_small(&new, None);
    let header = header(&full, &made);
    let target = Memory::default();
    let mut applier = Applier::new(&header, None, &target).unwrap();
    applier.reuse(&held, find(&header, &held, &new));
    let mut reader = &full[usize::try_from(applier.position()).unwrap()..];
    let done = applier.apply(&mut reader, &mut |_| Ok(())).unwrap();
    assert!(target.bytes() == new);
    assert_eq!(done.fetched, made.size - made.header_size);
}

#[test]
fn a_map_that_is_not_the_released_one_is_refused() {
    let (held, new) = moved();
    let (full, made) = make_small(&new, None);
    let header = header(&full, &made);
    let index = BlockIndex::of(&held, held.len() as u64);
    let (mut map, hash) = map(&new);
    let cut = Reuse::find(&header, &index, &mut &map[..map.len() - 1], &hash);
    assert!(matches!(cut, Err(MapError::Read(_))), "{cut:?}");
    map[4000] ^= 1;
    let flipped = Reuse::find(&header, &index, &mut &map[..], &hash);
    assert!(matches!(flipped, Err(MapError::Hash { .. })), "{flipped:?}");
}

#[test]
fn a_delta_keeps_to_its_base() {
    let (held, new) = moved();
    let (full, made) = make_small(&new, None);
    let reuse = find(&header(&full, &made), &held, &new);
    let (delta, made) = make_small(&new, Some(&held));
    let header = header(&delta, &made);
    let target = Memory::default();
    let mut applier = Applier::new(&header, Some(&held), &target).unwrap();
    applier.reuse(&new, reuse);
    let mut reader = &delta[usize::try_from(applier.position()).unwrap()..];
    applier.apply(&mut reader, &mut |_| Ok(())).unwrap();
    assert!(target.bytes() == new);
}
