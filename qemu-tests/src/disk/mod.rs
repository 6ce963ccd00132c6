//! A switched-off machine's disk, seen from outside: what is in its slots, what would boot, and whether it is intact.

mod bootable;
mod content;
mod esp;

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use twinhull_layout::{Arch, BootEntry, RootHash, Slot, Table};

pub use bootable::Judge;
pub use twinhull_layout::table::SlotContent;

use crate::error::{Error, Result};

/// Sector size of the disks we give to machines.
const SECTOR: u64 = 512;

/// A raw disk image.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    file: File,
    table: Table,
    arch: Arch,
}

impl Disk {
    /// Opens an image for reading and reads its partition table.
    pub fn open(path: &Path, arch: Arch) -> Result<Self> {
        let file = File::open(path).map_err(|source| Error::file("open the disk", path, source))?;
        let table = Table::read(&file, SECTOR).map_err(|error| unfit(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            table,
            arch,
        })
    }

    /// The architecture that the partitions of the image at `path` are typed for.
    pub fn architecture(path: &Path) -> Result<Arch> {
        let all = [Arch::X86_64, Arch::Aarch64];
        for arch in all {
            let disk = Self::open(path, arch)?;
            if disk.table.slot(Slot::A, arch).is_ok() {
                return Ok(arch);
            }
        }
        Err(unfit(
            path,
            "it has no root partition of an architecture that is known here",
        ))
    }

    /// What the labels of `slot` say.
    pub fn content(&self, slot: Slot) -> Result<SlotContent> {
        Ok(self
            .table
            .slot(slot, self.arch)
            .map_err(|error| unfit(&self.path, error))?
            .content())
    }

    /// Whether the partition table's copy at the beginning of the disk is valid.
    pub fn primary_table_is_valid(&self) -> bool {
        self.table.primary_was_valid()
    }

    /// The boot entries on the ESP, in the order in which systemd-boot would try them.
    pub fn boot_entries(&self) -> Result<Vec<BootEntry>> {
        let esp = self.table.esp().map_err(|error| unfit(&self.path, error))?;
        esp::boot_entries(&self.file, esp.start, esp.size).map_err(|error| unfit(&self.path, error))
    }

    /// What is in the kernel image of a boot entry.
    pub fn kernel_image(&self, entry: &BootEntry) -> Result<Vec<u8>> {
        let esp = self.table.esp().map_err(|error| unfit(&self.path, error))?;
        esp::kernel_image(&self.file, esp.start, esp.size, entry)
            .map_err(|error| unfit(&self.path, format_args!("{entry}: {error}")))
    }

    /// The slot whose partition ids are those of `root_hash`.
    pub fn slot_holding(&self, root_hash: &RootHash) -> Result<Option<Slot>> {
        self.table
            .slot_holding(root_hash, self.arch)
            .map_err(|error| unfit(&self.path, error))
    }

    /// The bytes of the disk that `slot` occupies, its tree and signature included.
    pub fn extent(&self, slot: Slot) -> Result<Range<u64>> {
        let parts = self
            .table
            .slot(slot, self.arch)
            .map_err(|error| unfit(&self.path, error))?;
        let all = [&parts.root, &parts.verity, &parts.signature];
        let start = all.iter().map(|part| part.start).min().unwrap_or_default();
        let end = all.iter().map(|part| part.start + part.size).max().unwrap_or_default();
        Ok(start..end)
    }

    /// The bytes of the disk from which the firmware and the loader learn what there is: both partition tables and the ESP.
    pub fn boot_extents(&self) -> Result<[Range<u64>; 2]> {
        let failed = |error| unfit(&self.path, error);
        let esp = self.table.esp().map_err(failed)?;
        let state = self.table.state().map_err(failed)?;
        let size = self
            .file
            .metadata()
            .map_err(|source| Error::file("look at", &self.path, source))?
            .len();
        // The ESP is the first partition, the state the last: what lies before and behind them is the tables.
        Ok([0..esp.start + esp.size, state.start + state.size..size])
    }

    /// The root hash that the partition ids of `slot` name.
    pub fn named_root_hash(&self, slot: Slot) -> Result<RootHash> {
        let parts = self
            .table
            .slot(slot, self.arch)
            .map_err(|error| unfit(&self.path, error))?;
        let mut hash = [0; 32];
        hash[..16].copy_from_slice(parts.root.id.as_bytes());
        hash[16..].copy_from_slice(parts.verity.id.as_bytes());
        Ok(RootHash::from(hash))
    }

    /// The bytes of the disk that partition `number` has.
    pub fn range_of(&self, number: u32) -> Result<Range<u64>> {
        let partition = self.table.partition(number);
        let partition = partition.ok_or_else(|| unfit(&self.path, format_args!("there is no partition {number}")))?;
        Ok(partition.start..partition.start + partition.size)
    }

    /// Where the byte at `offset` of the file `name` on the ESP is on the disk.
    pub fn place_in_esp_file(&self, name: &str, offset: u64) -> Result<u64> {
        let esp = self.table.esp().map_err(|error| unfit(&self.path, error))?;
        esp::place(&self.file, esp.start, esp.size, name, offset)
            .map_err(|error| unfit(&self.path, format_args!("byte {offset} of {name}: {error}")))
    }

    /// Every file on the ESP with its size, so that two states can be compared.
    pub fn esp_files(&self) -> Result<Vec<(String, u64)>> {
        let esp = self.table.esp().map_err(|error| unfit(&self.path, error))?;
        esp::files(&self.file, esp.start, esp.size).map_err(|error| unfit(&self.path, error))
    }

    /// Reads all of `slot` and compares it with `root_hash`, data and verity tree; and that its identity says so too.
    pub fn check_intact(&self, slot: Slot, root_hash: &RootHash) -> Result<()> {
        let parts = self
            .table
            .slot(slot, self.arch)
            .map_err(|error| unfit(&self.path, error))?;
        if !parts.holds(root_hash) {
            return Err(Error::Expectation(format!(
                "slot {slot} of {} does not have the partition ids of root hash {root_hash}",
                self.path.display()
            )));
        }
        content::verify(&self.file, &parts, root_hash)
            .map_err(|reason| Error::Expectation(format!("slot {slot} of {}: {reason}", self.path.display())))
    }

    /// The places on the ESP, in bytes from the beginning of the disk, where `block` stands on its own.
    pub fn find_on_esp(&self, block: &[u8]) -> Result<Vec<u64>> {
        let esp = self.table.esp().map_err(|error| unfit(&self.path, error))?;
        content::find(&self.file, &esp, block).map_err(|source| Error::file("search", &self.path, source))
    }

    /// The places in the root of `slot`, in bytes from the beginning of the disk, where `block` stands on its own.
    pub fn find_block(&self, slot: Slot, block: &[u8]) -> Result<Vec<u64>> {
        let parts = self
            .table
            .slot(slot, self.arch)
            .map_err(|error| unfit(&self.path, error))?;
        content::find(&self.file, &parts.root, block).map_err(|source| Error::file("search", &self.path, source))
    }
}

/// Flips all bits of one byte of the file at `path`, behind the back of whoever uses it.
pub fn flip_byte(path: &Path, offset: u64) -> Result<()> {
    use std::os::unix::fs::FileExt as _;
    let failed = |source| Error::file("flip a byte of", path, source);
    let file = File::options().read(true).write(true).open(path).map_err(failed)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).map_err(failed)?;
    file.write_all_at(&[!byte[0]], offset).map_err(failed)
}

/// Writes `content` as the kernel image of `entry` onto the ESP of the raw image at `path`, in place of one that is there.
///
/// Not while a machine runs with the disk.
pub fn put_on_esp(path: &Path, arch: Arch, entry: &BootEntry, content: &[u8]) -> Result<()> {
    let disk = Disk::open(path, arch)?;
    let esp = disk.table.esp().map_err(|error| unfit(path, error))?;
    let written = File::options().read(true).write(true).open(path);
    let written = written.and_then(|file| esp::put(&file, esp.start, esp.size, entry, content));
    written.map_err(|source| Error::file("write a kernel image to the ESP of", path, source))
}

fn unfit(path: &Path, reason: impl std::fmt::Display) -> Error {
    Error::Expectation(format!("disk {}: {reason}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::flip_byte;

    #[test]
    fn flipping_twice_restores_the_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        std::fs::write(&path, b"abc").unwrap();
        flip_byte(&path, 1).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [b'a', !b'b', b'c']);
        flip_byte(&path, 1).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"abc");
    }
}
