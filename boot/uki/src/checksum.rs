//! The checksum in the optional header of a PE image.

/// The sum over `bytes`, of which the four at `field` (the checksum's own place, even) count as zero: 16-bit
/// little-endian words added with end-around carry, plus the length of the file. `None` from 4 GiB on.
pub(crate) fn checksum(bytes: &[u8], field: usize) -> Option<u32> {
    let length = u32::try_from(bytes.len()).ok()?;
    let mut sum: u32 = 0;
    for (index, pair) in bytes.chunks(2).enumerate() {
        let at = index * 2;
        if at == field || at == field + 2 {
            continue;
        }
        sum += u32::from(u16::from_le_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // The format lets the last addition wrap.
    Some(sum.wrapping_add(length))
}

#[cfg(test)]
mod tests {
    use super::checksum;

    #[test]
    fn own_field_does_not_count() {
        let mut bytes = *b"abcdefgh";
        let before = checksum(&bytes, 4);
        bytes[4..8].copy_from_slice(&[9, 9, 9, 9]);
        assert_eq!(checksum(&bytes, 4), before);
    }

    #[test]
    fn carry_comes_back_in_at_the_low_end() {
        assert_eq!(checksum(&[0xff, 0xff, 0x02, 0x00], 100), Some(0x0002 + 4));
    }

    #[test]
    fn odd_byte_counts_as_low_half() {
        assert_eq!(checksum(&[0x01, 0x00, 0x05], 100), Some(0x0006 + 3));
    }
}
