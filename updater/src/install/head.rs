//! The first sector of a kernel image, which decides whether the loader sees a boot entry at all.
//!
//! FAT has no journal, and its driver no order: after a power cut a rename can show the old name, the new one, both with one
//! content, the short form of a long name, or a name without content; a removal can leave the short name alone, without the boot
//! counter that was in the long one. So no name decides what boots. A kernel image is a PE file, and the loader passes over
//! files that do not begin as one: an entry is made by writing its first sector last, and unmade by zeroing it first. Both are
//! one sector of a file whose place on the medium does not change.

use std::io as std_io;
use std::sync::{Mutex, PoisonError};

use twinhull_payload::{ReadAt, Target};

use super::InstallError;
use crate::io::Io;

/// Bytes of a first sector. The smallest a disk has; larger ones are written whole with what is behind it unchanged.
pub(crate) const HEAD: usize = 512;

/// What a PE file begins with.
const MAGIC: &[u8; 2] = b"MZ";

/// A file of boot entries that is written with zeroes for its first sector; the sector itself is kept here.
pub(super) struct Headless<'a> {
    io: &'a dyn Io,
    name: &'a str,
    head: Mutex<[u8; HEAD]>,
}

impl<'a> Headless<'a> {
    pub(super) fn new(io: &'a dyn Io, name: &'a str) -> Self {
        Self {
            io,
            name,
            head: Mutex::new([0; HEAD]),
        }
    }

    /// The first sector of a file of `size` bytes.
    pub(super) fn head(&self, size: u64) -> Vec<u8> {
        let head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        head[..within(0, size)].to_vec()
    }
}

/// How many of `length` bytes from `offset` on are in the first sector.
fn within(offset: u64, length: u64) -> usize {
    usize::try_from((HEAD as u64).saturating_sub(offset).min(length)).unwrap_or(0)
}

impl Target for Headless<'_> {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> std_io::Result<()> {
        let count = within(offset, bytes.len() as u64);
        if count == 0 {
            return self.io.write_entry(self.name, offset, bytes);
        }
        let from = HEAD - within(offset, HEAD as u64);
        let mut head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        head[from..from + count].copy_from_slice(&bytes[..count]);
        let mut bytes = bytes.to_vec();
        bytes[..count].fill(0);
        self.io.write_entry(self.name, offset, &bytes)
    }
}

impl ReadAt for Headless<'_> {
    /// As if the first sector were there.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std_io::Result<()> {
        self.io.read_entry(self.name, offset, buffer)?;
        let count = within(offset, buffer.len() as u64);
        if count > 0 {
            let from = HEAD - within(offset, HEAD as u64);
            let head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
            buffer[..count].copy_from_slice(&head[from..from + count]);
        }
        Ok(())
    }
}

/// Whether the loader would see the file as an entry. One that cannot be read might be one.
pub(super) fn is_there(io: &dyn Io, name: &str) -> bool {
    let mut magic = [0; MAGIC.len()];
    match io.entry_size(name) {
        Ok(size) if size < HEAD as u64 => false,
        Ok(_) => io.read_entry(name, 0, &mut magic).is_err() || magic == *MAGIC,
        Err(_) => true,
    }
}

/// Makes the file one that the loader passes over, durably, so that whatever its removal leaves boots nothing.
pub(super) fn take(io: &dyn Io, name: &str) -> Result<(), InstallError> {
    let size = io
        .entry_size(name)
        .map_err(InstallError::esp(format!("measure {name}")))?;
    if size == 0 {
        return Ok(());
    }
    io.write_entry(name, 0, &[0; HEAD][..within(0, size)])
        .map_err(InstallError::esp(format!("take the first sector of {name} away")))?;
    io.flush_entry(name)
        .map_err(InstallError::esp(format!("flush the first sector of {name}")))
}

/// Writes the first sector, durably: from here on the file is an entry.
pub(super) fn put(io: &dyn Io, name: &str, head: &[u8]) -> Result<(), InstallError> {
    io.write_entry(name, 0, head)
        .map_err(InstallError::esp(format!("write the first sector of {name}")))?;
    io.flush_entry(name)
        .map_err(InstallError::esp(format!("flush the first sector of {name}")))
}
