//! Whether a program is static and for the right processor, by its ELF header.
//!
//! Specification: Tool Interface Standard, Executable and Linking Format, 64-bit form; the numbers of processors are in `elf.h`.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use twinhull_layout::Arch;

/// Bytes of the header of a file, and of the header of a segment.
const HEADER: usize = 64;
const SEGMENT: usize = 56;

/// A segment that names the loader which the program needs to start.
const INTERPRETER: u32 = 3;

/// Fails, with what is wrong, unless the file `path` is a static program for `arch`.
pub(crate) fn check(path: &Path, arch: Arch) -> Result<(), String> {
    let mut file = File::open(path).map_err(|error| format!("it cannot be read: {error}"))?;
    let read = header(&mut file).map_err(|error| format!("it cannot be read: {error}"))?;
    let (machine, is_static) = read.ok_or("it is no program of Linux (ELF, 64 bits, little-endian)")?;
    if machine != number(arch) {
        let known = [Arch::X86_64, Arch::Aarch64]
            .into_iter()
            .find(|arch| number(*arch) == machine);
        let found = known.map_or_else(|| format!("processor number {machine}"), |arch| arch.to_string());
        return Err(format!("it is for {found}, and the image is for {arch}"));
    }
    if !is_static {
        return Err("it needs a dynamic loader, and at its time there is none: build it for a musl target".to_owned());
    }
    Ok(())
}

const fn number(arch: Arch) -> u16 {
    match arch {
        Arch::X86_64 => 62,
        Arch::Aarch64 => 183,
    }
}

/// The processor that a program is for, and whether it starts without a loader; nothing when it is no program.
fn header<R: Read + Seek>(file: &mut R) -> io::Result<Option<(u16, bool)>> {
    let mut head = [0; HEADER];
    if !filled(file, &mut head)? || !head.starts_with(b"\x7fELF\x02\x01") {
        return Ok(None);
    }
    let u16_at = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    let mut offset = [0; 8];
    offset.copy_from_slice(&head[32..40]);
    let (offset, size, count) = (u64::from_le_bytes(offset), u16_at(54), u16_at(56));
    // An object file has none, and 3 is what position-independent programs are, besides 2.
    if usize::from(size) != SEGMENT || count == 0 || !matches!(u16_at(16), 2 | 3) {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(offset))?;
    for _ in 0..count {
        let mut segment = [0; SEGMENT];
        if !filled(file, &mut segment)? {
            return Ok(None);
        }
        if segment.starts_with(&INTERPRETER.to_le_bytes()) {
            return Ok(Some((u16_at(18), false)));
        }
    }
    Ok(Some((u16_at(18), true)))
}

/// Fills `buffer`; no, when the file ends before that.
fn filled<R: Read>(file: &mut R, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::fs;

    /// The headers of a program for `machine` with one segment.
    pub(crate) fn program(machine: u16, segment: u32) -> Vec<u8> {
        let mut bytes = vec![0; HEADER + SEGMENT];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        for (at, value) in [(16, 2), (18, machine), (54, 56), (56, 1)] {
            bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
        bytes[32] = 64;
        bytes[64..68].copy_from_slice(&segment.to_le_bytes());
        bytes
    }

    #[test]
    fn only_a_static_program_of_the_architecture_will_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("init");
        let said = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            check(&path, Arch::Aarch64).err().unwrap_or_default()
        };
        assert_eq!(said(&program(183, 1)), "");
        assert_eq!(said(&program(62, 1)), "it is for x86_64, and the image is for aarch64");
        assert!(said(&program(40, 1)).contains("processor number 40"));
        assert!(said(&program(183, INTERPRETER)).contains("dynamic loader"));
        for other in [&b"#!/bin/sh\n"[..], b"", b"\x7fELF\x02\x01", &program(183, 1)[..100]] {
            assert!(said(other).contains("no program of Linux"), "{other:?}");
        }
        // This very test needs its loader, whatever it is for.
        let own = fs::read("/proc/self/exe").unwrap();
        assert_ne!(said(&own), "");
    }
}
