//! The bsdiff codec: `docs/payload-format.md`, "bsdiff".
//!
//! Programs that were built again differ in little but the addresses in them. Taken as differences to the old bytes, most
//! become zero and the rest repeats: that compresses where exact matches are short.

use zstd::zstd_safe;

use super::{DecodeError, zstd_error};
use crate::limits::MAX_CONTROL;
use crate::varint;

/// The three streams of a blob, before compression.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    /// Triples of numbers: bytes to add, bytes to insert, how far to move in the reference.
    pub(crate) control: Vec<u8>,
    /// What to add to bytes of the reference, byte by byte.
    pub(crate) difference: Vec<u8>,
    /// What to insert.
    pub(crate) extra: Vec<u8>,
}

impl Streams {
    /// Adds one step.
    pub(crate) fn push(&mut self, difference: impl Iterator<Item = u8>, extra: &[u8], seek: i64) {
        let before = self.difference.len();
        self.difference.extend(difference);
        varint::put(&mut self.control, (self.difference.len() - before) as u64);
        varint::put(&mut self.control, extra.len() as u64);
        varint::put(&mut self.control, varint::zigzag(seek));
        self.extra.extend_from_slice(extra);
    }
}

/// Decodes `blob` into all of `literals`.
pub(super) fn decode(mut blob: &[u8], reference: &[u8], literals: &mut [u8]) -> Result<(), DecodeError> {
    let control = take_frame(&mut blob, MAX_CONTROL as usize)?;
    let difference = take_frame(&mut blob, literals.len())?;
    let extra = take_frame(&mut blob, literals.len() - difference.len())?;
    if !blob.is_empty() || difference.len() + extra.len() != literals.len() {
        return Err(DecodeError::Size);
    }
    apply(&control, &difference, &extra, reference, literals).ok_or(DecodeError::Control)
}

/// None when a number is malformed or leads outside a stream or the reference.
fn apply(
    mut control: &[u8],
    mut difference: &[u8],
    mut extra: &[u8],
    reference: &[u8],
    mut literals: &mut [u8],
) -> Option<()> {
    let mut position = 0_usize;
    while !control.is_empty() {
        let add = take_size(&mut control)?;
        let insert = take_size(&mut control)?;
        let seek = isize::try_from(varint::unzigzag(varint::take(&mut control)?)).ok()?;

        let changes = take(&mut difference, add)?;
        let old = reference.get(position..position.checked_add(add)?)?;
        let (sums, rest) = literals.split_at_mut_checked(add)?;
        for ((sum, old), change) in sums.iter_mut().zip(old).zip(changes) {
            *sum = old.wrapping_add(*change);
        }
        let (inserted, rest) = rest.split_at_mut_checked(insert)?;
        inserted.copy_from_slice(take(&mut extra, insert)?);
        literals = rest;
        position = (position + add).checked_add_signed(seek)?;
    }
    literals.is_empty().then_some(())
}

fn take_size(control: &mut &[u8]) -> Option<usize> {
    usize::try_from(varint::take(control)?).ok()
}

fn take<'a>(stream: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
    let (taken, rest) = stream.split_at_checked(size)?;
    *stream = rest;
    Some(taken)
}

/// Decodes the frame at the front of `blob`, which may hold at most `limit` bytes.
fn take_frame(blob: &mut &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
    let size = zstd_safe::find_frame_compressed_size(blob).map_err(zstd_error)?;
    let frame = take(blob, size).ok_or(DecodeError::Size)?;
    let announced = zstd_safe::get_frame_content_size(frame).map_err(|_| DecodeError::Size)?;
    let content = announced
        .and_then(|content| usize::try_from(content).ok())
        .filter(|content| *content <= limit);
    let mut bytes = vec![0; content.ok_or(DecodeError::Size)?];
    super::decode_zstd(frame, &[], &mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(parts: [&[u8]; 3]) -> Vec<u8> {
        let frame = |bytes: &[u8]| {
            let mut frame = Vec::with_capacity(zstd_safe::compress_bound(bytes.len()));
            zstd_safe::compress(&mut frame, bytes, 1).unwrap();
            frame
        };
        parts.map(frame).concat()
    }

    #[test]
    fn steps_add_insert_and_move() {
        let mut streams = Streams::default();
        streams.push([0, 1, 0xff].into_iter(), b"xy", 2);
        streams.push([0].into_iter(), b"", -6);
        streams.push([0, 0].into_iter(), b"", 0);
        let blob = frames([&streams.control, &streams.difference, &streams.extra]);
        let mut literals = [0; 8];
        decode(&blob, b"abcdef", &mut literals).unwrap();
        assert_eq!(&literals, b"acbxyfab");
        assert!(decode(&blob, b"abcde", &mut literals).is_err(), "outside the reference");
        assert!(decode(&blob, b"abcdef", &mut [0; 7]).is_err());
        assert!(decode(&blob, b"abcdef", &mut [0; 9]).is_err());
        assert!(decode(&[&blob[..], &blob].concat(), b"abcdef", &mut literals).is_err());
    }

    proptest! {
        #[test]
        fn no_control_leads_out_of_bounds(
            control: Vec<u8>, steps: Vec<(u16, u16, i32)>, difference: Vec<u8>, extra: Vec<u8>, reference: Vec<u8>,
        ) {
            let mut literals = vec![0; difference.len() + extra.len()];
            let _ = decode(&frames([&control, &difference, &extra]), &reference, &mut literals);
            let mut control = Vec::new();
            for (add, insert, seek) in steps {
                varint::put(&mut control, u64::from(add >> 6));
                varint::put(&mut control, u64::from(insert >> 6));
                varint::put(&mut control, varint::zigzag(seek.into()));
            }
            let _ = decode(&frames([&control, &difference, &extra]), &reference, &mut literals);
        }
    }
}
