//! What must be refused, each with its own error, never with a panic.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::LazyLock;

use proptest::prelude::*;
use support::{Memory, apply_all, content, header, make_small};
use twinhull_payload::limits::MAX_HEADER;
use twinhull_payload::{Applier, ApplyError, Header, HeaderError, Made, Sha256Hash, apply};

struct Sample {
    base: Vec<u8>,
    new: Vec<u8>,
    payload: Vec<u8>,
    made: Made,
}

/// A delta with every kind of run and several codecs.
static SAMPLE: LazyLock<Sample> = LazyLock::new(|| {
    let base = content(1, 700 * 4096 + 100);
    let mut new = base.clone();
    new[50_000..90_000].fill(0);
    let moved = new[1_000_000..1_300_000].to_vec();
    new.splice(200_001..200_001, moved);
    new.splice(1_900_000..1_900_000, content(2, 1_500_000));
    new.extend_from_within(1_900_000..2_400_000);
    let (payload, made) = make_small(&new, Some(&base));
    Sample {
        base,
        new,
        payload,
        made,
    }
});

fn refused(payload: &[u8]) -> ApplyError {
    apply_all(payload, &SAMPLE.made, Some(&SAMPLE.base)).unwrap_err()
}

#[test]
fn the_sample_itself_is_accepted() {
    assert!(apply_all(&SAMPLE.payload, &SAMPLE.made, Some(&SAMPLE.base)).unwrap() == SAMPLE.new);
}

#[test]
fn truncation_at_every_boundary_is_refused() {
    let header = header(&SAMPLE.payload, &SAMPLE.made);
    let mut boundaries = vec![0, 1, SAMPLE.made.header_size - 1, SAMPLE.made.header_size];
    let mut end = SAMPLE.made.header_size;
    for coding in header.segments().filter_map(|segment| segment.coding) {
        end += u64::from(coding.blob_size);
        boundaries.extend([end - 1, end]);
    }
    assert_eq!(boundaries.pop(), Some(SAMPLE.made.size));
    assert!(boundaries.len() > 5);
    for cut in boundaries {
        let error = refused(&SAMPLE.payload[..usize::try_from(cut).unwrap()]);
        let expected = matches!(
            error,
            ApplyError::Truncated { .. } | ApplyError::Header(HeaderError::Truncated { .. })
        );
        assert!(expected, "cut at {cut}: {error}");
    }
}

#[test]
fn trailing_bytes_are_refused() {
    let longer = [&SAMPLE.payload[..], b"\0"].concat();
    assert!(matches!(refused(&longer), ApplyError::TrailingBytes));
}

#[test]
fn another_base_is_named_as_such_and_nothing_is_written() {
    let header = header(&SAMPLE.payload, &SAMPLE.made);
    let target = Memory::default();
    let mut changed = SAMPLE.base.clone();
    changed[0] ^= 1;
    let short = SAMPLE.base[..SAMPLE.base.len() - 1].to_vec();
    for wrong in [&changed, &short, &SAMPLE.new, &Vec::new()] {
        let result = Applier::new(&header, Some(wrong), &target);
        assert!(matches!(result.map(|_| ()), Err(ApplyError::WrongBase)));
    }
    assert!(matches!(
        Applier::new(&header, None, &target).map(|_| ()),
        Err(ApplyError::BaseMissing)
    ));
    assert!(target.bytes().is_empty());
}

#[test]
fn a_base_damaged_in_one_place_names_the_output_that_is_missing() {
    let header = header(&SAMPLE.payload, &SAMPLE.made);
    let mut damaged = SAMPLE.base.clone();
    // In no sampled block: 700 blocks, 64 samples.
    damaged[5 * 4096 + 1] ^= 1;
    let target = Memory::default();
    let mut blobs = &SAMPLE.payload[usize::try_from(SAMPLE.made.header_size).unwrap()..];
    let error = apply(&header, &mut blobs, Some(&damaged), &target, &mut |_| Ok(())).unwrap_err();
    assert!(
        matches!(
            error,
            ApplyError::Output {
                segment: 0,
                offset: 0,
                ..
            }
        ),
        "{error}"
    );
    assert!(target.bytes().is_empty(), "a wrong segment is not written");
}

#[test]
fn a_header_above_the_limit_is_not_read() {
    let size = u64::from(MAX_HEADER) + 1;
    let error = Header::read(&mut std::io::repeat(0), &Sha256Hash([0; 32]), size).unwrap_err();
    assert!(matches!(error, HeaderError::TooLarge { .. }));
}

/// The header with its announced hash adjusted to a change, as a maker gone wrong would sign it.
fn signed(bytes: &[u8]) -> Result<Header, HeaderError> {
    Header::read(&mut &bytes[..], &Sha256Hash::of(bytes), bytes.len() as u64)
}

fn header_bytes() -> Vec<u8> {
    SAMPLE.payload[..usize::try_from(SAMPLE.made.header_size).unwrap()].to_vec()
}

#[test]
fn a_later_version_asks_for_a_newer_updater() {
    let mut bytes = header_bytes();
    bytes[8] = 3;
    assert!(matches!(signed(&bytes), Err(HeaderError::Version(3))));
}

#[test]
fn sizes_that_do_not_add_up_are_refused() {
    // The fields: own size, output size, base size, blobs size, segments, blobs, structure stored, structure.
    for at in [0, 12, 18, 30, 32, 40, 44, 48, 52] {
        for change in [1, 0x80] {
            let mut bytes = header_bytes();
            bytes[at] ^= change;
            assert!(signed(&bytes).is_err(), "byte {at}");
        }
    }
    let longer = [&header_bytes()[..], &[0; 32]].concat();
    assert!(signed(&longer).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_flipped_bit_is_refused(at: prop::sample::Index, bit in 0_u8..8, in_header: bool) {
        let mut payload = SAMPLE.payload.clone();
        let header_size = usize::try_from(SAMPLE.made.header_size).unwrap();
        let at = if in_header { at.index(header_size) } else { header_size + at.index(payload.len() - header_size) };
        payload[at] ^= 1 << bit;
        let error = refused(&payload);
        if in_header {
            let by_hash = matches!(error, ApplyError::Header(HeaderError::Hash { .. }));
            prop_assert!(by_hash, "{}", error);
        } else {
            let by_hash = matches!(error, ApplyError::Blob { .. });
            prop_assert!(by_hash, "{}", error);
        }
    }

    #[test]
    fn a_changed_header_with_a_matching_hash_never_gives_another_output(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        structure_only: bool,
    ) {
        let mut bytes = header_bytes();
        for (at, value) in changes {
            // Most of a header is hashes: aim at the rest half of the time.
            let at = at.index(if structure_only { 200.min(bytes.len()) } else { bytes.len() });
            bytes[at] = value;
        }
        if let Ok(header) = signed(&bytes) {
            let target = Memory::default();
            let mut blobs = &SAMPLE.payload[usize::try_from(SAMPLE.made.header_size).unwrap()..];
            if apply(&header, &mut blobs, Some(&SAMPLE.base), &target, &mut |_| Ok(())).is_ok() {
                prop_assert!(target.bytes() == SAMPLE.new);
            }
        }
    }
}
