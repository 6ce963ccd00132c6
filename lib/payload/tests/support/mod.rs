//! Images and targets for the tests.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its part")]

use std::io;
use std::sync::Mutex;

use proptest::prelude::*;
use twinhull_payload::{ApplyError, Header, Made, MakeOptions, ReadAt, Source, Target, apply, make};

/// A target in memory that never grows past what is written.
#[derive(Default)]
pub(crate) struct Memory(Mutex<Vec<u8>>);

impl Memory {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl ReadAt for Memory {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.lock().unwrap().read_at(offset, buffer)
    }
}

impl Target for Memory {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut memory = self.0.lock().unwrap();
        let at = usize::try_from(offset).unwrap();
        if memory.len() < at + bytes.len() {
            memory.resize(at + bytes.len(), 0);
        }
        memory[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}

pub(crate) fn options() -> MakeOptions {
    MakeOptions {
        level: 1,
        threads: 2,
        ..MakeOptions::default()
    }
}

#[allow(clippy::ptr_arg, reason = "a source is a sized type")]
pub(crate) fn make_with(new: &Vec<u8>, base: Option<&Vec<u8>>, options: &MakeOptions) -> (Vec<u8>, Made) {
    let mut payload = Vec::new();
    let base = base.map(|base| base as &dyn Source);
    let made = make(new, base, options, &mut payload, &mut |_, _| ()).unwrap();
    assert_eq!(payload.len() as u64, made.size);
    (payload, made)
}

#[allow(clippy::ptr_arg, reason = "a source is a sized type")]
pub(crate) fn make_small(new: &Vec<u8>, base: Option<&Vec<u8>>) -> (Vec<u8>, Made) {
    make_with(new, base, &options())
}

pub(crate) fn header(payload: &[u8], made: &Made) -> Header {
    Header::read(&mut &payload[..], &made.header_sha256, made.header_size).unwrap()
}

/// Header and blobs in one go, into memory.
pub(crate) fn apply_all(payload: &[u8], made: &Made, base: Option<&Vec<u8>>) -> Result<Vec<u8>, ApplyError> {
    let mut reader = payload;
    let header = Header::read(&mut reader, &made.header_sha256, made.header_size)?;
    let target = Memory::default();
    let base = base.map(|base| base as &dyn ReadAt);
    let mut end = 0;
    apply(&header, &mut reader, base, &target, &mut |part| {
        assert_eq!(part.offset, end, "segments come in order");
        end = part.end();
        Ok(())
    })?;
    assert_eq!(end, made.output_size);
    Ok(target.bytes())
}

/// Bytes that compress about as well as programs do, different for each seed.
pub(crate) fn content(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size + 64);
    while bytes.len() < size {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let word = state.to_be_bytes();
        match word[0] % 3 {
            0 => bytes.extend_from_slice(&word[1..]),
            1 => bytes.extend(std::iter::repeat_n(word[1], usize::from(word[2] % 50))),
            _ => {
                let from = bytes.len().saturating_sub(usize::from(word[3]) * 16 + 1);
                bytes.extend_from_within(from..bytes.len().min(from + usize::from(word[4] % 64)));
                bytes.push(word[5]);
            }
        }
    }
    bytes.truncate(size);
    bytes
}

/// A change between a base and what follows it.
#[derive(Debug, Clone)]
pub(crate) enum Edit {
    Insert {
        at: prop::sample::Index,
        size: usize,
        seed: u64,
    },
    Delete {
        at: prop::sample::Index,
        size: usize,
    },
    Move {
        from: prop::sample::Index,
        to: prop::sample::Index,
        size: usize,
    },
    Hole {
        at: prop::sample::Index,
        size: usize,
    },
    Patch {
        at: prop::sample::Index,
        every: usize,
        count: usize,
    },
}

impl Edit {
    pub(crate) fn apply(&self, image: &mut Vec<u8>) {
        if image.is_empty() {
            return;
        }
        match self {
            Self::Insert { at, size, seed } => {
                let at = at.index(image.len());
                image.splice(at..at, content(*seed, *size));
            }
            Self::Delete { at, size } => {
                let at = at.index(image.len());
                let end = image.len().min(at + size);
                image.drain(at..end);
            }
            Self::Move { from, to, size } => {
                let from = from.index(image.len());
                let piece: Vec<u8> = image[from..image.len().min(from + size)].to_vec();
                let to = to.index(image.len());
                image.splice(to..to, piece);
            }
            Self::Hole { at, size } => {
                let at = at.index(image.len());
                let end = image.len().min(at + size);
                image[at..end].fill(0);
            }
            Self::Patch { at, every, count } => {
                let at = at.index(image.len());
                image[at..]
                    .iter_mut()
                    .step_by(*every)
                    .take(*count)
                    .for_each(|byte| *byte ^= 0x55);
            }
        }
    }
}

pub(crate) fn edit() -> impl Strategy<Value = Edit> {
    let at = || any::<prop::sample::Index>();
    // Both sizes that keep the grid of blocks and sizes that do not.
    let size = || {
        prop_oneof![
            1_usize..20_000,
            (1_usize..60).prop_map(|blocks| blocks * 4096),
            Just(1_500_000)
        ]
    };
    prop_oneof![
        (at(), size(), any::<u64>()).prop_map(|(at, size, seed)| Edit::Insert { at, size, seed }),
        (at(), size()).prop_map(|(at, size)| Edit::Delete { at, size }),
        (at(), at(), size()).prop_map(|(from, to, size)| Edit::Move { from, to, size }),
        (at(), size()).prop_map(|(at, size)| Edit::Hole { at, size }),
        (at(), 1_usize..9000, 1_usize..400).prop_map(|(at, every, count)| Edit::Patch { at, every, count }),
    ]
}

/// A base and what became of it by a few edits; never empty.
pub(crate) fn pair() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let size = prop_oneof![
        1_usize..5000,
        (1_usize..40).prop_map(|blocks| blocks * 4096),
        100_000_usize..4_000_000
    ];
    (any::<u64>(), size, prop::collection::vec(edit(), 0..6)).prop_map(|(seed, size, edits)| {
        let base = content(seed, size);
        let mut new = base.clone();
        for edit in edits {
            edit.apply(&mut new);
        }
        if new.is_empty() {
            new.push(1);
        }
        (base, new)
    })
}
