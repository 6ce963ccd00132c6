//! A small EFI program, made by hand.

/// The EFI program itself.
pub(crate) fn program() -> Vec<u8> {
    let mut pe = vec![0; 0x600];
    let mut put = |at: usize, bytes: &[u8]| pe[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3c, &0x40_u32.to_le_bytes());
    put(0x40, b"PE\0\0");
    put(0x44, &0x8664_u16.to_le_bytes());
    put(0x46, &1_u16.to_le_bytes());
    put(0x54, &240_u16.to_le_bytes());
    put(0x56, &0x0206_u16.to_le_bytes());
    let optional = 0x58;
    put(optional, &0x20b_u16.to_le_bytes());
    put(optional + 16, &0x1000_u32.to_le_bytes());
    for (at, value) in [(32, 0x1000_u32), (36, 0x200), (56, 0x2000), (60, 0x400), (108, 16)] {
        put(optional + at, &value.to_le_bytes());
    }
    put(optional + 68, &10_u16.to_le_bytes());
    let section = optional + 240;
    put(section, b".text");
    for (at, value) in [
        (8, 0x200_u32),
        (12, 0x1000),
        (16, 0x200),
        (20, 0x400),
        (36, 0x6000_0020),
    ] {
        put(section + at, &value.to_le_bytes());
    }
    put(0x400, &[0x90; 0x200]);
    pe
}
