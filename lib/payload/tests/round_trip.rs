//! Whatever the images: what is applied is what was made.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{self, Write};

use proptest::prelude::*;
use support::{Memory, apply_all, content, header, make_small, make_with, options, pair};
use twinhull_payload::limits::{MAX_REFERENCE, MAX_SEGMENT};
use twinhull_payload::{Codec, MakeOptions, Part, RunKind, apply};
use twinhull_verity::{Salt, TreeBuilder, TreeWriter};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn full_and_delta_give_the_new_image((base, new) in pair()) {
        let (full, made) = make_small(&new, None);
        prop_assert!(apply_all(&full, &made, None).unwrap() == new);
        let (delta, made) = make_small(&new, Some(&base));
        prop_assert!(apply_all(&delta, &made, Some(&base)).unwrap() == new);
    }

    #[test]
    fn all_codecs_give_the_new_image((base, new) in pair(), shift: u32) {
        let new = relinked(&new, shift & 0xfff);
        let (delta, made) = make_with(&new, Some(&base), &MakeOptions { level: 10, ..options() });
        prop_assert!(apply_all(&delta, &made, Some(&base)).unwrap() == new);
    }

    #[test]
    fn the_payload_does_not_depend_on_the_number_of_threads((base, new) in pair(), threads in 1_usize..9) {
        let many = make_with(&new, Some(&base), &MakeOptions { threads, ..options() });
        let one = make_with(&new, Some(&base), &MakeOptions { threads: 1, ..options() });
        prop_assert!(many == one);
    }

    #[test]
    fn a_base_in_a_longer_partition_serves((base, new) in pair(), rest in 1_usize..9000) {
        let (delta, made) = make_small(&new, Some(&base));
        let mut partition = base;
        partition.extend(content(99, rest));
        prop_assert!(apply_all(&delta, &made, Some(&partition)).unwrap() == new);
    }

    #[test]
    fn segments_keep_the_limits((base, new) in pair()) {
        let (delta, made) = make_small(&new, Some(&base));
        for segment in header(&delta, &made).segments() {
            prop_assert!(segment.size(new.len() as u64) <= MAX_SEGMENT);
            let reference: u32 = segment.coding.iter().flat_map(|coding| &coding.reference).map(|range| range.blocks).sum();
            prop_assert!(reference * 4096 <= MAX_REFERENCE);
        }
    }
}

/// What a compiler and linker make of the same source after something before it grew: addresses differ, the rest stays.
fn relinked(image: &[u8], shift: u32) -> Vec<u8> {
    let mut relinked = image.to_vec();
    for address in relinked.chunks_exact_mut(4).step_by(5) {
        let value = u32::from_le_bytes(address.try_into().unwrap()).wrapping_add(shift);
        address.copy_from_slice(&value.to_le_bytes());
    }
    relinked
}

#[test]
fn relinked_programs_travel_as_differences() {
    let mut base = content(1, 300_000);
    base.extend(content(5, 2_000_000));
    // Enough is unchanged for anchors to find the place.
    let mut new = relinked(&base, 0x40);
    new[..300_000].copy_from_slice(&base[..300_000]);
    for at in (300_000..new.len() - 2000).step_by(4000) {
        new[at..at + 700].copy_from_slice(&base[at..at + 700]);
    }
    let (quick, _) = make_with(&new, Some(&base), &MakeOptions { level: 9, ..options() });
    let (best, made) = make_with(&new, Some(&base), &MakeOptions { level: 10, ..options() });
    let codecs: Vec<_> = header(&best, &made)
        .segments()
        .filter_map(|segment| Some(segment.coding?.codec))
        .collect();
    assert!(codecs.contains(&Codec::Bsdiff), "{codecs:?}");
    assert!(best.len() < quick.len() / 2, "{} {}", best.len(), quick.len());
    assert!(apply_all(&best, &made, Some(&base)).unwrap() == new);
}

#[test]
fn an_unchanged_image_costs_no_blob() {
    let image = content(1, 6 << 20);
    let (payload, made) = make_small(&image, Some(&image));
    assert_eq!(made.size, made.header_size);
    assert!(payload.len() < 250, "{}", payload.len());
    assert!(apply_all(&payload, &made, Some(&image)).unwrap() == image);
}

#[test]
fn shifted_content_is_found_in_the_base() {
    let base = content(1, 6 << 20);
    let mut new = content(2, 1001);
    new.extend_from_slice(&base);
    let (delta, made) = make_small(&new, Some(&base));
    assert!(delta.len() < 40_000, "{}", delta.len());
    let codecs: Vec<_> = header(&delta, &made)
        .segments()
        .filter_map(|segment| Some(segment.coding?.codec))
        .collect();
    assert!(codecs.contains(&Codec::ZstdPrefix));
}

#[test]
fn repeated_content_is_sent_once() {
    let once = content(7, 3 << 20);
    // The second time on the grid of blocks, the third time off it.
    let repeated = [&once[..], &once, b"shift", &once].concat();
    let (full, made) = make_small(&repeated, None);
    let (single, _) = make_small(&once, None);
    assert!(full.len() < single.len() + 60_000, "{} {}", full.len(), single.len());
    let copies = |kind: &RunKind| matches!(kind, RunKind::Output(_));
    assert!(
        header(&full, &made)
            .segments()
            .any(|segment| segment.runs.iter().any(|run| copies(&run.kind)))
    );
    assert!(apply_all(&full, &made, None).unwrap() == repeated);
}

#[test]
fn noise_travels_as_it_is() {
    let mut state = 5_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    })
    .take(3_000_001)
    .collect();
    let (full, made) = make_small(&noise, None);
    assert_eq!(made.size - made.header_size, 3_000_001);
    assert!(
        header(&full, &made)
            .segments()
            .all(|segment| segment.coding.unwrap().codec == Codec::Raw)
    );
}

#[test]
fn the_verity_tree_grows_on_the_way() {
    let base = content(1, 900 * 4096);
    let mut new = base.clone();
    new[1_000_000..1_200_000].fill(9);
    let salt = Salt::from([4; 32]);
    let (delta, made) = make_with(&new, Some(&base), &MakeOptions { salt, ..options() });
    let mut expected = TreeBuilder::new(900, salt).unwrap();
    expected.write_all(&new).unwrap();

    let header = header(&delta, &made);
    let mut tree = TreeWriter::new(900, *header.salt(), Vec::new()).unwrap();
    let mut blobs = &delta[usize::try_from(made.header_size).unwrap()..];
    apply(&header, &mut blobs, Some(&base), &Memory::default(), &mut |part| {
        assert_eq!(part.bytes.len().div_ceil(4096), part.leaves.len());
        let mut leaves = part.leaves.iter();
        leaves
            .try_for_each(|leaf| tree.push_leaf(*leaf))
            .map_err(io::Error::other)
    })
    .unwrap();
    assert_eq!(tree.finish().unwrap().0, *expected.finish().unwrap().root_hash());
}

#[test]
fn a_consumer_can_refuse() {
    let new = content(1, 5000);
    let (full, made) = make_small(&new, None);
    let header = header(&full, &made);
    let mut blobs = &full[usize::try_from(made.header_size).unwrap()..];
    let mut refuse = |_: Part<'_>| Err(io::Error::other("no"));
    assert!(apply(&header, &mut blobs, None, &Memory::default(), &mut refuse).is_err());
}

#[test]
fn progress_ends_at_its_total_and_never_goes_back() {
    let (base, new) = (content(1, 3 << 20), content(2, 5_000_000));
    let mut last = 0;
    let mut total = 0;
    let mut progress = |done, all| {
        assert!(done >= last && done <= all);
        (last, total) = (done, all);
    };
    twinhull_payload::make(&new, Some(&base), &options(), &mut io::sink(), &mut progress).unwrap();
    assert!(total > 0);
    assert_eq!(last, total);
}
