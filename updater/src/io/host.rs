//! The real thing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use twinhull_layout::paths::ENTRIES;
use twinhull_payload::{DirectFile, ReadAt as _, Target as _};
use uuid::Uuid;

use super::{Io, block_cache};
use crate::host::BootDisk;
use crate::paths::Paths;

/// The most files of a folder that are listed.
const MAX_ENTRIES: usize = 1000;

/// The machine this runs on.
#[derive(Debug)]
pub struct HostIo {
    disk: DirectFile,
    sector_size: u64,
    root: File,
    entries: PathBuf,
    boot_disk: BootDisk,
    paths: Paths,
}

/// A device cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {}: {source}", path.display())]
pub struct OpenError {
    /// The device.
    pub path: PathBuf,
    /// The reason.
    #[source]
    pub source: io::Error,
}

/// The names of what is in `folder`.
///
/// # Errors
/// It cannot be listed.
pub(crate) fn names(folder: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(folder)?
        .take(MAX_ENTRIES)
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect()
}

impl HostIo {
    /// Opens the boot disk for reading and writing.
    ///
    /// # Errors
    /// A device cannot be opened.
    pub fn open(disk: &BootDisk, paths: &Paths) -> Result<Self, OpenError> {
        Self::open_with(disk, paths, OpenOptions::new().read(true).write(true))
    }

    /// Opens the boot disk for reading; every write fails.
    ///
    /// # Errors
    /// A device cannot be opened.
    pub fn open_to_read(disk: &BootDisk, paths: &Paths) -> Result<Self, OpenError> {
        Self::open_with(disk, paths, OpenOptions::new().read(true))
    }

    fn open_with(disk: &BootDisk, paths: &Paths, options: &OpenOptions) -> Result<Self, OpenError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError { path, source }
        };
        Ok(Self {
            disk: DirectFile::open(&disk.device, options).map_err(failed(&disk.device))?,
            sector_size: disk.sector_size,
            root: File::open(&disk.root).map_err(failed(&disk.root))?,
            entries: paths.esp().join(ENTRIES),
            boot_disk: disk.clone(),
            paths: paths.clone(),
        })
    }

    fn entry(&self, name: &str) -> PathBuf {
        self.entries.join(name)
    }
}

impl Io for HostIo {
    fn disk_size(&self) -> io::Result<u64> {
        self.disk.file().seek(SeekFrom::End(0))
    }

    fn sector_size(&self) -> u64 {
        self.sector_size
    }

    fn read_disk(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.disk.read_at(offset, buffer)
    }

    fn write_disk(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.write_at(offset, bytes)
    }

    fn flush_disk(&self) -> io::Result<()> {
        self.disk.file().sync_all()
    }

    fn forget_disk(&self, offset: u64, length: u64) -> io::Result<()> {
        block_cache::forget(self.disk.file(), offset, length)
    }

    fn read_root(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.root.read_exact_at(buffer, offset)
    }

    fn entries(&self) -> io::Result<Vec<String>> {
        // The first thing that is asked of the EFI system partition, whatever is to be done to it.
        self.boot_disk.has(&self.entries, &self.paths)?;
        names(&self.entries)
    }

    fn free_for_entries(&self) -> io::Result<u64> {
        let space = nix::sys::statvfs::statvfs(&self.entries)?;
        Ok(space.blocks_available() * space.fragment_size())
    }

    fn entry_size(&self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.entry(name))?.len())
    }

    fn read_entry(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        File::open(self.entry(name))?.read_exact_at(buffer, offset)
    }

    fn create_entry(&self, name: &str) -> io::Result<()> {
        File::create(self.entry(name)).map(drop)
    }

    fn write_entry(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        OpenOptions::new()
            .write(true)
            .open(self.entry(name))?
            .write_all_at(bytes, offset)
    }

    fn flush_entry(&self, name: &str) -> io::Result<()> {
        let file = File::open(self.entry(name))?;
        file.sync_all()?;
        block_cache::forget(&file, 0, file.metadata()?.len())
    }

    fn remove_entry(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.entry(name))
    }

    fn flush_entries(&self) -> io::Result<()> {
        let folder = File::open(&self.entries)?;
        folder.sync_all()?;
        // FAT keeps its allocation table apart from the folder: only the whole file system is known to be there.
        nix::unistd::syncfs(folder)?;
        Ok(())
    }

    fn new_ids(&self) -> [Uuid; 3] {
        [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()]
    }
}
