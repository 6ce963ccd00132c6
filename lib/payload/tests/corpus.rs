//! Every file of the fuzzers' corpus, and a few changes of each: no panic, and no promise broken.
#![allow(clippy::unwrap_used)]

#[path = "../fuzz/harness.rs"]
mod harness;
mod support;

use std::fs;
use std::path::PathBuf;

use support::make_with;
use twinhull_payload::{Codec, Header, Made, MakeOptions};

type Try = fn(&[u8]);
const TARGETS: [(&str, Try); 4] = [
    ("header", harness::header),
    ("decoder", harness::decoder),
    ("applier", harness::applier),
    ("map", harness::map),
];

/// Changes of each file that are tried.
const CHANGES: usize = 60;

fn corpus(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target)
}

#[test]
fn corpus_and_its_neighbours_do_no_harm() {
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(state >> 33).unwrap() % below
    };
    for (name, attempt) in TARGETS {
        let mut files = 0;
        for entry in fs::read_dir(corpus(name)).unwrap() {
            let input = fs::read(entry.unwrap().path()).unwrap();
            attempt(&input);
            files += 1;
            if input.is_empty() {
                continue;
            }
            for _ in 0..CHANGES {
                let mut changed = input.clone();
                // What is near the start decides most.
                let near = changed.len().min(200);
                let span = if random(2) == 0 { near } else { changed.len() };
                let at = random(span);
                match random(3) {
                    0 => changed[at] ^= 1 << random(8),
                    1 => changed.truncate(at),
                    _ => changed.insert(at, u8::try_from(random(256)).unwrap()),
                }
                attempt(&changed);
            }
        }
        assert!(files >= 4, "{name}: {files} files");
    }
}

/// A small pair with every kind of run, and its delta.
fn sample(level: i32) -> (Vec<u8>, Made) {
    let base = harness::content(200_000);
    let mut new = base.clone();
    new[20_000..40_000].fill(0);
    new.splice(70_001..70_001, support::content(7, 3000));
    new.extend_from_within(4096..20_000);
    new[100_000..110_000].iter_mut().step_by(7).for_each(|byte| *byte ^= 5);
    make_with(
        &new,
        Some(&base),
        &MakeOptions {
            level,
            ..support::options()
        },
    )
}

#[test]
#[ignore = "writes the first files of the corpus; run it when the format changes"]
fn write_the_corpus() {
    let write = |target: &str, name: &str, bytes: &[u8]| {
        fs::create_dir_all(corpus(target)).unwrap();
        fs::write(corpus(target).join(name), bytes).unwrap();
    };
    let full = make_with(&support::content(3, 30_000), None, &support::options());
    let copies = harness::content(40_960);
    let nothing = make_with(&copies, Some(&copies), &support::options());
    for (name, (payload, made)) in [
        ("delta", sample(3)),
        ("best", sample(19)),
        ("full", full),
        ("copies", nothing),
    ] {
        let header = usize::try_from(made.header_size).unwrap();
        write("applier", name, &payload);
        write("applier", &format!("{name}-cut"), &payload[..payload.len() - 1]);
        write("header", name, &payload[..header]);
        let parsed = Header::read(&mut &payload[..header], &made.header_sha256, made.header_size).unwrap();
        let mut at = header;
        for (number, segment) in parsed.segments().enumerate() {
            let end = at + usize::try_from(segment.blob_size()).unwrap();
            if let Some(coding) = &segment.coding {
                let codec = [Codec::Raw, Codec::Zstd, Codec::ZstdPrefix, Codec::Bsdiff]
                    .iter()
                    .position(|codec| *codec == coding.codec)
                    .unwrap();
                let blocks = segment.literal_size(made.output_size).div_ceil(4096).max(1);
                let reference: u32 = coding.reference.iter().map(|range| range.blocks).sum();
                let small = |blocks: u32| u8::try_from(blocks.saturating_sub(1).min(255)).unwrap();
                let head = [u8::try_from(codec).unwrap(), small(blocks), small(reference)];
                write(
                    "decoder",
                    &format!("{name}-{number}"),
                    &[&head[..], &payload[at..end]].concat(),
                );
            }
            at = end;
        }
    }
    for (name, change) in [
        ("right", &[0; 8][..]),
        ("one-block", &[0, 0, 0, 0, 0, 0, 0, 1]),
        ("all-wrong", &[0xff; 160]),
        ("longer", &[0; 161]),
    ] {
        write("map", name, change);
    }
    write("decoder", "raw", &[&[0, 0, 0][..], &[7; 4096]].concat());
    write("decoder", "no-frame", &[&[3, 0, 0][..], &[0; 40]].concat());
}
