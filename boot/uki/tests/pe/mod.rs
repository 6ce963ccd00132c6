//! A generator of small PE images: just enough header for a loader, and the sections asked for.

/// `IMAGE_FILE_MACHINE_AMD64`.
pub(crate) const AMD64: u16 = 0x8664;
/// `IMAGE_FILE_MACHINE_ARM64`.
pub(crate) const ARM64: u16 = 0xaa64;

/// Bytes between the start of the file and the first section.
pub(crate) const HEADERS: usize = 0x400;

const SECTION_ALIGNMENT: usize = 0x1000;
const FILE_ALIGNMENT: usize = 0x200;
const NT_AT: usize = 0x40;
const OPTIONAL_SIZE: usize = 112 + 16 * 8;

/// An image for `machine` with `sections`, each mapped right behind its predecessor. `size_of_image` is what
/// the header claims, at least what the sections need.
pub(crate) fn image(machine: u16, sections: &[(&str, &[u8])], size_of_image: usize) -> Vec<u8> {
    let mut out = vec![0; HEADERS];
    let mut table = Vec::new();
    let mut address = SECTION_ALIGNMENT;
    for (name, data) in sections {
        let at = out.len();
        let raw = data.len().next_multiple_of(FILE_ALIGNMENT);
        let mut padded = [0_u8; 8];
        padded[..name.len()].copy_from_slice(name.as_bytes());
        table.extend_from_slice(&padded);
        for value in [data.len(), address, raw, at, 0, 0, 0, 0x4000_0040] {
            table.extend_from_slice(&u32::try_from(value).unwrap().to_le_bytes());
        }
        out.extend_from_slice(data);
        out.resize(at + raw, 0);
        address += raw.next_multiple_of(SECTION_ALIGNMENT);
    }
    let size_of_image = address.max(size_of_image);

    out[..2].copy_from_slice(b"MZ");
    word(&mut out, 0x3c, NT_AT);
    out[NT_AT..NT_AT + 4].copy_from_slice(b"PE\0\0");
    half(&mut out, NT_AT + 4, machine);
    half(&mut out, NT_AT + 6, u16::try_from(sections.len()).unwrap());
    half(&mut out, NT_AT + 20, u16::try_from(OPTIONAL_SIZE).unwrap());
    half(&mut out, NT_AT + 22, 0x22e);
    let optional = NT_AT + 24;
    half(&mut out, optional, 0x20b);
    word(&mut out, optional + 16, SECTION_ALIGNMENT);
    word(&mut out, optional + 32, SECTION_ALIGNMENT);
    word(&mut out, optional + 36, FILE_ALIGNMENT);
    word(&mut out, optional + 56, size_of_image);
    word(&mut out, optional + 60, HEADERS);
    half(&mut out, optional + 68, 10);
    word(&mut out, optional + 108, 16);
    let table_at = optional + OPTIONAL_SIZE;
    out[table_at..table_at + table.len()].copy_from_slice(&table);
    out
}

/// Offset of data directory `index` of an image made by [`image`].
pub(crate) const fn directory_at(index: usize) -> usize {
    NT_AT + 24 + 112 + index * 8
}

/// Offset of the header of section `index`, likewise.
pub(crate) const fn section_header_at(index: usize) -> usize {
    NT_AT + 24 + OPTIONAL_SIZE + index * 40
}

/// Writes a little-endian 32-bit field.
pub(crate) fn word(out: &mut [u8], at: usize, value: usize) {
    out[at..at + 4].copy_from_slice(&u32::try_from(value).unwrap().to_le_bytes());
}

/// Reads a little-endian 32-bit field.
pub(crate) fn read_word(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

fn half(out: &mut [u8], at: usize, value: u16) {
    out[at..at + 2].copy_from_slice(&value.to_le_bytes());
}
