//! Cut off anywhere, an application goes on and fetches nothing twice.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{self, Read};

use proptest::prelude::*;
use support::{Memory, content, header, make_small, pair};
use twinhull_payload::{Applied, Applier, ApplyError, Part, Reached, ReadAt, Target};

/// Gives `left` bytes and then fails, as a connection does.
struct Cut<'a> {
    bytes: &'a [u8],
    left: usize,
}

impl Read for Cut<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let size = buffer.len().min(self.left);
        let read = self.bytes.read(&mut buffer[..size])?;
        self.left -= read;
        Ok(read)
    }
}

fn from(payload: &[u8], position: u64) -> &[u8] {
    &payload[usize::try_from(position).unwrap()..]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_killed_application_resumes_from_what_the_target_holds((base, new) in pair(), cut: prop::sample::Index) {
        let (delta, made) = make_small(&new, Some(&base));
        let header = header(&delta, &made);
        let target = Memory::default();
        let blobs = usize::try_from(made.size - made.header_size).unwrap();
        let left = if blobs == 0 { 0 } else { cut.index(blobs) };
        let first = Applier::new(&header, Some(&base), &target)
            .unwrap()
            .apply(&mut Cut { bytes: from(&delta, made.header_size), left }, &mut |_| Ok(()));
        let is_read_error = matches!(first, Err(ApplyError::ReadPayload { .. }));
        prop_assert!(is_read_error, "{:?}", first);

        // A new process knows nothing but the header and the target.
        let mut seen = Vec::new();
        let mut take = |part: Part<'_>| { seen.extend_from_slice(part.bytes); Ok(()) };
        let mut applier = Applier::new(&header, Some(&base), &target).unwrap();
        applier.resume(&mut take).unwrap();
        let position = applier.position();
        let done = applier.apply(&mut from(&delta, position), &mut take).unwrap();
        prop_assert!(target.bytes() == new);
        prop_assert!(seen == new, "the consumer sees every byte once, found or written");
        prop_assert_eq!(done.found + done.written, new.len() as u64);
        prop_assert_eq!(done.fetched, made.size - position);
    }

    #[test]
    fn one_applier_goes_on_after_lost_connections((base, new) in pair(), cuts in prop::collection::vec(1_usize..2_000_000, 1..4)) {
        let (delta, made) = make_small(&new, Some(&base));
        let header = header(&delta, &made);
        let target = Memory::default();
        let mut seen = Vec::new();
        let mut take = |part: Part<'_>| { seen.extend_from_slice(part.bytes); Ok(()) };
        let mut applier = Applier::new(&header, Some(&base), &target).unwrap();
        for left in cuts {
            let position = applier.position();
            match applier.apply(&mut Cut { bytes: from(&delta, position), left }, &mut take) {
                Ok(_) => break,
                Err(ApplyError::ReadPayload { position: at, .. }) => {
                    prop_assert_eq!(at, applier.position());
                    prop_assert_eq!(at, position + left as u64, "not one byte comes twice");
                }
                Err(error) => panic!("{error}"),
            }
        }
        let position = applier.position();
        let done = applier.apply(&mut from(&delta, position), &mut take).unwrap();
        prop_assert_eq!(done, Applied { found: 0, written: new.len() as u64, kept: 0, fetched: made.size - made.header_size });
        prop_assert!(target.bytes() == new && seen == new);
    }
}

#[test]
fn a_finished_target_needs_nothing() {
    let new = content(3, 5_000_000);
    let (full, made) = make_small(&new, None);
    let header = header(&full, &made);
    let target = Memory::default();
    target.write_at(0, &new).unwrap();
    let mut applier = Applier::new(&header, None, &target).unwrap();
    applier.resume(&mut |_| Ok(())).unwrap();
    assert_eq!(applier.position(), made.size);
    let done = applier.apply(&mut io::empty(), &mut |_| Ok(())).unwrap();
    assert_eq!(
        done,
        Applied {
            found: 5_000_000,
            written: 0,
            kept: 0,
            fetched: 0
        }
    );
}

#[test]
fn a_damaged_segment_is_written_again() {
    let new = content(3, 9_000_000);
    let (full, made) = make_small(&new, None);
    let header = header(&full, &made);
    let target = Memory::default();
    let mut damaged = new.clone();
    damaged[5_000_000] ^= 1;
    target.write_at(0, &damaged).unwrap();
    let mut applier = Applier::new(&header, None, &target).unwrap();
    applier.resume(&mut |_| Ok(())).unwrap();
    assert_eq!(applier.output_position(), 4 << 20);
    let position = applier.position();
    let done = applier.apply(&mut from(&full, position), &mut |_| Ok(())).unwrap();
    assert!(target.bytes() == new);
    // The one damaged block is written; the segments after it were there.
    assert_eq!((done.found, done.written - done.kept), (9_000_000 - (4 << 20), 4096));
}

#[test]
fn what_the_target_holds_need_not_be_fetched() {
    let new = content(3, 13_000_000);
    let (full, made) = make_small(&new, None);
    let header = header(&full, &made);
    let target = Memory::default();
    let mut present = new.clone();
    present[100..200].fill(0);
    present[9_000_000..].fill(0);
    target.write_at(0, &present).unwrap();
    let mut seen = Vec::new();
    let mut take = |part: Part<'_>| {
        seen.extend_from_slice(part.bytes);
        Ok(())
    };
    let mut applier = Applier::new(&header, None, &target).unwrap();
    let mut requests = Vec::new();
    let done = loop {
        applier.resume(&mut take).unwrap();
        requests.push(applier.output_position());
        let position = applier.position();
        match applier
            .apply_while_needed(&mut from(&full, position), 1000, &mut take)
            .unwrap()
        {
            Reached::End(done) => break done,
            Reached::Held => {}
        }
    };
    assert_eq!(requests, [0, 8 << 20], "what lies between was there");
    assert_eq!(done.found, 4 << 20);
    assert!(done.fetched < made.size * 3 / 4);
    assert!(seen == new && target.bytes() == new);
}

#[test]
fn a_piece_of_the_full_payload_fills_what_a_damaged_base_cannot_give() {
    let base = content(1, 10_000_000);
    let mut new = base.clone();
    new[6_000_000..6_000_100].fill(7);
    let (delta, delta_made) = make_small(&new, Some(&base));
    let (full, full_made) = make_small(&new, None);
    let (delta_header, full_header) = (header(&delta, &delta_made), header(&full, &full_made));
    let mut damaged = base;
    damaged[5_000_001] ^= 1;
    let target = Memory::default();
    let mut seen = Vec::new();
    let mut take = |part: Part<'_>| {
        seen.extend_from_slice(part.bytes);
        Ok(())
    };
    let mut applier = Applier::new(&delta_header, Some(&damaged), &target).unwrap();
    let position = applier.position();
    let error = applier.apply(&mut from(&delta, position), &mut take).unwrap_err();
    let ApplyError::Output { offset, size, .. } = error else {
        panic!("{error}");
    };
    let (mut piece, end) = Applier::piece(&full_header, None, &target, offset, size).unwrap();
    let start = piece.position();
    assert!(start > full_made.header_size && end < full_made.size);
    let blobs = &from(&full, start)[..usize::try_from(end - start).unwrap()];
    piece.apply(&mut &blobs[..], &mut |_| Ok(())).unwrap();

    applier.resume(&mut take).unwrap();
    assert!(applier.output_position() >= offset + u64::from(size));
    let position = applier.position();
    applier.apply(&mut from(&delta, position), &mut take).unwrap();
    assert!(target.bytes() == new && seen == new);
}

/// A disk that fails from one byte on.
struct Failing(Memory, u64);

impl ReadAt for Failing {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, buffer)
    }
}

impl Target for Failing {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if offset + bytes.len() as u64 > self.1 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.write_at(offset, bytes)
    }
}

#[test]
fn a_failed_write_says_where() {
    let new = content(3, 5_000_000);
    let (full, made) = make_small(&new, None);
    let header = header(&full, &made);
    let target = Failing(Memory::default(), 4_500_000);
    let mut applier = Applier::new(&header, None, &target).unwrap();
    let error = applier
        .apply(&mut from(&full, made.header_size), &mut |_| Ok(()))
        .unwrap_err();
    assert!(
        matches!(error, ApplyError::WriteTarget { offset: 4_194_304, .. }),
        "{error}"
    );
    assert_eq!(applier.output_position(), 4 << 20);
}
