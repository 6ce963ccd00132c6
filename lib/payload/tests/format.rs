//! Hosts meet payloads made by other versions of this program: what version 2 of the format is must not drift.
//!
//! `fixtures/version-2.thp` was written by [`write_the_fixture`].
#![allow(clippy::unwrap_used)]

mod support;

use std::path::PathBuf;

use support::{apply_all, content, make_with, options};
use twinhull_payload::{Codec, Header, Made, MakeOptions, RunKind, Sha256Hash};

fn fixture() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/version-2.thp")
}

/// A pair whose delta has every kind of run and every codec.
fn pair() -> (Vec<u8>, Vec<u8>) {
    let base = content(1, 3_000_000);
    // Two segments that are full of zeros but for a little that nothing resembles: raw and zstd.
    let mut new = noise(20_480);
    new.resize(4 << 20, 0);
    new.extend(content(7, 12_288));
    new.resize(8 << 20, 0);
    // From the base, on and off the grid of blocks, and from the output.
    new.extend_from_slice(&base[409_600..819_200]);
    new.extend_from_within(4096..20_480);
    new.extend_from_slice(&base[1000..401_001]);
    // As a program linked again.
    let relinked = new.len();
    new.extend_from_slice(&base[1_000_000..1_900_000]);
    for word in (relinked..new.len() - 5000).step_by(5000) {
        new[word..word + 4200]
            .iter_mut()
            .step_by(6)
            .for_each(|byte| *byte = byte.wrapping_add(32));
    }
    // Closed by the limit of a segment; the last is of another kind.
    new.resize(16 << 20, 0);
    new.extend_from_slice(&base[2_000_001..2_100_000]);
    (base, new)
}

fn noise(size: usize) -> Vec<u8> {
    let mut state = 5_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(size).collect()
}

#[test]
#[ignore = "writes the fixture; run it only for a new version of the format"]
fn write_the_fixture() {
    let (base, new) = pair();
    let (payload, made) = make_with(&new, Some(&base), &MakeOptions { level: 19, ..options() });
    std::fs::write(fixture(), payload).unwrap();
    println!("{made:?}");
}

#[test]
fn a_payload_of_version_2_still_applies() {
    let (base, new) = pair();
    let payload = std::fs::read(fixture()).unwrap();
    let header_size = u32::from_le_bytes(payload[12..16].try_into().unwrap());
    let header_sha256 = Sha256Hash::of(&payload[..header_size as usize]);
    let header = Header::read(&mut &payload[..], &header_sha256, header_size.into()).unwrap();
    let segments: Vec<_> = header.segments().collect();
    let kinds = segments
        .iter()
        .flat_map(|segment| &segment.runs)
        .map(|run| match run.kind {
            RunKind::Literal => 0,
            RunKind::Base(_) => 1,
            RunKind::Output(_) => 2,
            RunKind::Zero => 3,
        });
    let mut kinds: Vec<_> = kinds.collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, [0, 1, 2, 3], "the fixture has every kind of run");
    let codecs: Vec<_> = segments
        .iter()
        .filter_map(|segment| Some(segment.coding.as_ref()?.codec))
        .collect();
    for codec in [Codec::Raw, Codec::Zstd, Codec::ZstdPrefix, Codec::Bsdiff] {
        assert!(codecs.contains(&codec), "the fixture has {codec:?}: {codecs:?}");
    }

    let made = Made {
        size: payload.len() as u64,
        header_size: header_size.into(),
        header_sha256,
        output_size: new.len() as u64,
        output_sha256: Sha256Hash::of(&new),
        base_size: base.len() as u64,
    };
    assert!(apply_all(&payload, &made, Some(&base)).unwrap() == new);
}
