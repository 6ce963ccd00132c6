//! Everything an update does to the machine, behind one narrow trait: what goes to the boot disk and to the EFI system partition.
//!
//! A test that puts its own disk behind it can record every write and flush, cut the power after any of them, and fail any.

mod block_cache;
mod hash;
mod host;

use std::io;

use uuid::Uuid;

pub(crate) use block_cache::forget;
pub(crate) use hash::sha256;
pub(crate) use host::names;
pub use host::{HostIo, OpenError};

/// The boot disk, the running root, and the folder of boot entries on the EFI system partition.
///
/// Writes reach the medium in any order, and perhaps never, until the next flush of the same thing returns.
pub trait Io: Sync {
    /// Size of the boot disk in bytes.
    fn disk_size(&self) -> io::Result<u64>;
    /// Bytes of its sectors.
    fn sector_size(&self) -> u64;
    /// Fills `buffer` from byte `offset` of the boot disk.
    fn read_disk(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Writes all of `bytes` at byte `offset` of the boot disk.
    fn write_disk(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Brings everything written to the boot disk to the medium.
    fn flush_disk(&self) -> io::Result<()>;
    /// Makes the next read of this part of the boot disk come from the medium, not from memory.
    fn forget_disk(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Fills `buffer` from byte `offset` of the running root file system, checked by dm-verity.
    fn read_root(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// The names of all files in the folder of boot entries.
    fn entries(&self) -> io::Result<Vec<String>>;
    /// Free bytes on the EFI system partition.
    fn free_for_entries(&self) -> io::Result<u64>;
    /// Size of a file in the folder of boot entries.
    fn entry_size(&self, name: &str) -> io::Result<u64>;
    /// Fills `buffer` from byte `offset` of a file there.
    fn read_entry(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Makes an empty file there, in place of one of the same name.
    fn create_entry(&self, name: &str) -> io::Result<()>;
    /// Writes all of `bytes` at byte `offset` of a file there.
    fn write_entry(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Brings the content of a file there to the medium, and makes the next read of it come from there.
    fn flush_entry(&self, name: &str) -> io::Result<()>;
    /// Removes a file there.
    fn remove_entry(&self, name: &str) -> io::Result<()>;
    /// Brings creations and removals there to the medium.
    fn flush_entries(&self) -> io::Result<()>;

    /// Three PARTUUIDs that nobody has yet.
    fn new_ids(&self) -> [Uuid; 3];
}
