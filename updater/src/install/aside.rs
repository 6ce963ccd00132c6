//! The running release is set aside, so that the other slot boots.
//!
//! Its boot entry goes by the same single sector that an update comes by ([`super::head`] says why no rename does). So that the
//! release can still be chosen by hand in the boot menu, and is the last resort of the loader, a copy of the entry with a used-up
//! counter is made first: the loader sorts it after all others.

use twinhull_layout::{BootEntry, Tries};
use twinhull_payload::Target;

use super::InstallError;
use super::head::{self, Headless};
use super::stream::{self, Image};
use crate::io::Io;

/// Bytes that are copied at once.
const CHUNK: u64 = 1024 * 1024;

/// Free bytes that are left on the EFI system partition beside the copy.
const RESERVE: u64 = 64 * 1024;

/// Takes the boot entry `entry` of the running release away, durably, and leaves a copy of it that boots only when nothing else
/// does. Without room for the copy there is none.
///
/// # Errors
/// The EFI system partition. Unless only the last flush failed, the entry still boots.
pub(crate) fn set_aside(io: &dyn Io, entry: &BootEntry) -> Result<(), InstallError> {
    let name = entry.to_string();
    let size = io
        .entry_size(&name)
        .map_err(InstallError::esp(format!("measure {name}")))?;
    let copy = BootEntry {
        tries: Some(Tries::SET_ASIDE),
        ..entry.clone()
    }
    .to_string();
    clear(io, &copy)?;
    let free = io
        .free_for_entries()
        .map_err(InstallError::esp("measure the free space"))?;
    if free >= size.saturating_add(RESERVE) {
        copy_entry(io, &name, &copy, size).inspect_err(|_| {
            // Without its first sector it boots nothing; with it, only when nothing else does.
            let _ = io.remove_entry(&copy);
        })?;
    } else {
        tracing::warn!("no room on the EFI system partition to keep {name} in the boot menu");
    }
    // The commit: from here on the other slot boots.
    head::take(io, &name)?;
    // It boots nothing any more, and the next update removes what is left of it.
    if let Err(error) = io.remove_entry(&name) {
        tracing::warn!("cannot remove {name}: {error}");
    }
    Ok(())
}

/// What an attempt before this one has left of the copy: its name and its clusters are used anew.
fn clear(io: &dyn Io, copy: &str) -> Result<(), InstallError> {
    let names = io.entries().map_err(InstallError::esp("list the boot entries"))?;
    if !names.iter().any(|name| name == copy) {
        return Ok(());
    }
    head::take(io, copy)?;
    io.remove_entry(copy)
        .map_err(InstallError::esp(format!("remove {copy}")))
}

fn copy_entry(io: &dyn Io, name: &str, copy: &str, size: u64) -> Result<(), InstallError> {
    io.create_entry(copy)
        .map_err(InstallError::esp(format!("make the file {copy}")))?;
    // A long name is several records of a folder: all of them are there before there is any content.
    io.flush_entries()
        .map_err(InstallError::esp(format!("flush the name {copy}")))?;
    let target = Headless::new(io, copy);
    let mut buffer = vec![0; usize::try_from(CHUNK.min(size)).unwrap_or(0)];
    let mut done = 0;
    while done < size {
        let count = usize::try_from(CHUNK.min(size - done)).unwrap_or(0);
        let bytes = &mut buffer[..count];
        io.read_entry(name, done, bytes)
            .map_err(InstallError::esp(format!("read {name}")))?;
        target
            .write_at(done, bytes)
            .map_err(InstallError::esp(format!("write {copy}")))?;
        done += bytes.len() as u64;
    }
    io.flush_entry(copy)
        .map_err(InstallError::esp(format!("flush {copy}")))?;
    let expected = stream::hash(io, name, &Image::Entry(io, name))?;
    let found = stream::hash(io, copy, &target)?;
    if found != expected {
        return Err(InstallError::KernelHash {
            expected: expected.to_string(),
            found: found.to_string(),
        });
    }
    head::put(io, copy, &target.head(size))
}
