//! Every parser on its corpus, and on what a few thousand careless hands make of it. `cargo fuzz run NAME` looks further.

#![allow(clippy::unwrap_used, reason = "a test ends where its set-up fails")]

use std::fs;
use std::path::Path;

use twinhull_trust::parsers;

/// Damaged copies of each file.
const COPIES: u64 = 4000;

/// A sequence that looks random and is always the same (Marsaglia's xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).unwrap()
    }
}

fn damage(bytes: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let at = dice.below(bytes.len());
    match dice.below(6) {
        0 if !bytes.is_empty() => bytes[at] ^= 1 << dice.below(8),
        1 => bytes.truncate(at),
        2 => bytes.insert(at, b"{}[]\",:0-9\\u\x00\xff"[dice.below(14)]),
        3 => {
            let to = (at + dice.below(64)).min(bytes.len());
            bytes.drain(at..to);
        }
        4 => {
            let from = dice.below(other.len());
            let to = (from + dice.below(64)).min(other.len());
            bytes.splice(at..at, other[from..to].iter().copied());
        }
        _ => {
            // Numbers at the edges of their types.
            let edge = ["0", "-1", "4294967296", "18446744073709551615", "9223372036854775808"][dice.below(5)];
            bytes.splice(at..(at + 1).min(bytes.len()), edge.bytes());
        }
    }
}

#[test]
fn every_parser_takes_its_corpus_and_all_that_is_near_it() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for name in parsers::NAMES {
        assert!(
            fuzz.join(format!("fuzz_targets/{name}.rs")).exists(),
            "no fuzz target for {name}"
        );
        let mut seeds: Vec<Vec<u8>> = vec![Vec::new()];
        let mut paths: Vec<_> = fs::read_dir(fuzz.join("corpus").join(name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        seeds.extend(paths.iter().map(|path| fs::read(path).unwrap()));
        assert!(seeds.len() > 1, "no corpus for {name}");
        assert!(
            seeds.iter().any(|seed| parsers::run(name, seed)),
            "{name} takes none of its corpus"
        );
        for (number, seed) in (1_u64..).zip(&seeds) {
            let mut dice = Dice(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            for copy in 0..COPIES {
                let mut bytes = seed.clone();
                for _ in 0..=copy % 5 {
                    let other = &seeds[dice.below(seeds.len())];
                    damage(&mut bytes, other, &mut dice);
                }
                parsers::run(name, &bytes);
            }
        }
    }
}
