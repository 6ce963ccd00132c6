//! What is tried with an input: the fuzz targets call it, and `tests/corpus.rs` with every file of the corpus.
//!
//! An input is never signed, so each function first does what a signature stands for: it names the hashes that the input has.

use std::io;
use std::sync::{Mutex, OnceLock};

use sha2::{Digest, Sha256};
use twinhull_payload::limits::{BLOCK, MAX_REFERENCE_BLOCKS, MAX_SEGMENT_BLOCKS};
use twinhull_payload::{
    Applier, BlockIndex, Header, MakeOptions, Reached, ReadAt, Reuse, RunKind, Sha256Hash, Target, make, make_block_map,
};

/// Bytes before the structure of a header.
const FIXED: usize = 120;
/// Where its fields are.
const HEADER_SIZE: usize = 12;
const BASE_SIZE: usize = 24;
const FINGERPRINT: usize = 56;
const HASH: usize = 32;

/// The largest base and output that are tried, in bytes: what goes wrong does so in small ones.
const SMALL: u64 = 16 << 20;

/// Any header: it is read or refused, and one that is read keeps the limits.
pub(crate) fn header(input: &[u8]) {
    let Some(header) = read(input) else { return };
    let mut blocks = 0;
    let mut blobs = 0;
    for segment in header.segments() {
        assert_eq!(segment.first_block, blocks);
        assert!((1..=MAX_SEGMENT_BLOCKS).contains(&segment.blocks()));
        for run in &segment.runs {
            match run.kind {
                RunKind::Base(first) => {
                    assert!((first + u64::from(run.blocks)) * u64::from(BLOCK) <= header.base_size());
                }
                RunKind::Output(first) => assert!(first + u64::from(run.blocks) <= segment.first_block),
                RunKind::Literal | RunKind::Zero => {}
            }
        }
        if let Some(coding) = &segment.coding {
            let reference: u32 = coding.reference.iter().map(|range| range.blocks).sum();
            assert!(reference <= MAX_REFERENCE_BLOCKS);
            assert!(coding.blob_size <= segment.literal_size(header.output_size()));
        }
        blocks += u64::from(segment.blocks());
        blobs += segment.blob_size();
    }
    assert_eq!(blocks, header.output_size().div_ceil(u64::from(BLOCK)));
    assert_eq!(header.payload_size(), u64::from(header.header_size()) + blobs);
}

/// One segment of literals and its blob: bytes for the codec, the blocks of literals, the blocks of reference, then the blob.
pub(crate) fn decoder(input: &[u8]) {
    let [codec, literals, reference, blob @ ..] = input else {
        return;
    };
    let (codec, literals, reference) = (codec % 4, u32::from(*literals) + 1, u32::from(*reference) + 1);
    let mut structure = Vec::new();
    for number in [
        1,
        literals << 2,
        u32::from(codec),
        u32::try_from(blob.len()).unwrap_or(0),
    ] {
        varint(&mut structure, number);
    }
    if codec >= 2 {
        for number in [1, reference << 1, 0] {
            varint(&mut structure, number);
        }
    }
    let base = content(u64::from(reference * BLOCK));
    let mut bytes = vec![0; FIXED];
    bytes[..8].copy_from_slice(b"\x89THP\r\n\x1a\n");
    let size = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    let whole = size(FIXED + structure.len() + 2 * HASH);
    for (at, number) in [
        (8, 2),
        (HEADER_SIZE, whole),
        (16, literals * BLOCK),
        (BASE_SIZE, reference * BLOCK),
        (32, size(blob.len())),
        (40, 1),
        (44, 1),
        (48, size(structure.len())),
        (52, size(structure.len())),
    ] {
        bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&structure);
    // The output may be any: the decoder has run when its hash is compared.
    bytes.extend_from_slice(&[0; HASH]);
    bytes.extend_from_slice(&Sha256::digest(blob));
    bytes[FINGERPRINT..FINGERPRINT + HASH].copy_from_slice(&fingerprint(&base));
    bytes.extend_from_slice(blob);
    apply(&bytes, &base);
}

/// A header and blobs. The hashes of base and blobs are put right, so that decoding goes as far as it can.
pub(crate) fn applier(input: &[u8]) {
    let Some(header) = read(input) else { return };
    if header.base_size() > SMALL || header.output_size() > SMALL {
        return;
    }
    let base = content(header.base_size());
    let mut bytes = input.to_vec();
    if !base.is_empty() {
        bytes[FINGERPRINT..FINGERPRINT + HASH].copy_from_slice(&fingerprint(&base));
    }
    let mut blob_at = header.header_size() as usize;
    let blobs = header.segments().filter(|segment| segment.coding.is_some()).count();
    let mut hash_at = blob_at - HASH * blobs;
    for segment in header.segments().filter(|segment| segment.coding.is_some()) {
        let end = blob_at.saturating_add(usize::try_from(segment.blob_size()).unwrap_or(usize::MAX));
        let Some(blob) = input.get(blob_at..end) else { break };
        bytes[hash_at..hash_at + HASH].copy_from_slice(&Sha256::digest(blob));
        (blob_at, hash_at) = (end, hash_at + HASH);
    }
    apply(&bytes, &base);
}

/// The block map of a full payload, changed by the input: whatever it says, and whatever is fetched for it, the output is right.
pub(crate) fn map(input: &[u8]) {
    let Sample { new, held, payload } = SAMPLE.get_or_init(Sample::new);
    let Some(header) = read(payload) else {
        panic!("the sample is a payload");
    };
    let mut map = Vec::new();
    make_block_map(new, &mut map).unwrap();
    for (byte, change) in map.iter_mut().zip(input) {
        *byte ^= change;
    }
    map.extend(input.iter().skip(map.len()));
    let index = BlockIndex::of(held, held.len() as u64);
    let Ok(reuse) = Reuse::find(&header, &index, &mut &map[..], &Sha256Hash::of(&map)) else {
        return;
    };
    let target = Memory(Mutex::new(Vec::new()), header.output_size());
    let mut applier = Applier::new(&header, None, &target).unwrap();
    applier.reuse(held, reuse);
    loop {
        applier.resume(&mut |_| Ok(())).unwrap();
        let mut rest = &payload[usize::try_from(applier.position()).unwrap()..];
        match applier.apply_while_needed(&mut rest, 0, &mut |_| Ok(())).unwrap() {
            Reached::End(_) => break,
            Reached::Held => {}
        }
    }
    assert!(*target.0.lock().unwrap() == *new);
}

static SAMPLE: OnceLock<Sample> = OnceLock::new();

/// An image, one with the same blocks in another order, and the full payload of the first.
struct Sample {
    new: Vec<u8>,
    held: Vec<u8>,
    payload: Vec<u8>,
}

impl Sample {
    fn new() -> Self {
        let new = content(20 * u64::from(BLOCK));
        let held = new.chunks(BLOCK as usize).rev().flatten().copied().collect();
        let mut payload = Vec::new();
        let options = MakeOptions {
            level: 1,
            threads: 1,
            ..MakeOptions::default()
        };
        make(&new, None, &options, &mut payload, &mut |_, _| ()).unwrap();
        Self { new, held, payload }
    }
}

/// The header at the start of `bytes`, if it is one.
fn read(bytes: &[u8]) -> Option<Header> {
    let size = u32::from_le_bytes(bytes.get(HEADER_SIZE..HEADER_SIZE + 4)?.try_into().ok()?);
    let head = bytes.get(..size as usize)?;
    Header::read(&mut &head[..], &Sha256Hash::of(head), u64::from(size)).ok()
}

/// Applies `payload`; errors are welcome. What was put out came in order, and is what its hashes say.
fn apply(payload: &[u8], base: &[u8]) {
    let Some(header) = read(payload) else { return };
    let target = Memory(Mutex::new(Vec::new()), header.output_size());
    let base: &dyn ReadAt = &base.to_vec();
    let Ok(mut applier) = Applier::new(&header, Some(base), &target) else {
        return;
    };
    let mut end = 0;
    let blobs = &payload[header.header_size() as usize..];
    let done = applier.apply(&mut &blobs[..], &mut |part| {
        assert_eq!(part.offset, end);
        end = part.end();
        Ok(())
    });
    if done.is_ok() {
        assert_eq!(end, header.output_size());
    }
}

/// A target that takes no byte after the output.
struct Memory(Mutex<Vec<u8>>, u64);

impl ReadAt for Memory {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.lock().unwrap().read_at(offset, buffer)
    }
}

impl Target for Memory {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        assert!(end <= self.1, "{end} bytes of {}", self.1);
        let (offset, end) = (usize::try_from(offset).unwrap(), usize::try_from(end).unwrap());
        let mut memory = self.0.lock().unwrap();
        if memory.len() < end {
            memory.resize(end, 0);
        }
        memory[offset..end].copy_from_slice(bytes);
        Ok(())
    }
}

/// A base of `size` bytes: words that recur, and some that do not.
pub(crate) fn content(size: u64) -> Vec<u8> {
    let words = (0_u64..size.div_ceil(8)).flat_map(|word| (word / 3).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    words.take(usize::try_from(size).unwrap()).collect()
}

/// The fingerprint of a base, as the specification has it.
fn fingerprint(base: &[u8]) -> [u8; HASH] {
    let block = BLOCK as usize;
    let count = base.len().div_ceil(block);
    let samples = count.min(64);
    let mut hash = Sha256::new();
    hash.update((base.len() as u64).to_le_bytes());
    for sample in 0..samples {
        let number = if samples == 1 {
            0
        } else {
            sample * (count - 1) / (samples - 1)
        };
        hash.update(&base[number * block..base.len().min((number + 1) * block)]);
    }
    hash.finalize().into()
}

fn varint(bytes: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        bytes.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap());
}
