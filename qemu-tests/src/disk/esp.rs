//! The ESP's files, read without mounting it.

use std::fs::File;
use std::io;

use fatfs::{FileSystem, FsOptions, ReadWriteSeek};
use fscommon::{BufStream, StreamSlice};
use twinhull_layout::{BootEntry, boot_order, paths};

/// How deep folders are followed. Ours are at most three deep; a damaged file system may hold loops.
const DEEPEST: usize = 8;

/// The boot entries in the FAT file system at `start`, in the order in which systemd-boot would try them.
pub(super) fn boot_entries(disk: &File, start: u64, size: u64) -> io::Result<Vec<BootEntry>> {
    let esp = open(disk, start, size)?;
    let folder = esp.root_dir().open_dir(paths::ENTRIES)?;
    let mut entries = Vec::new();
    for file in folder.iter() {
        let name = file?.file_name();
        if name == "." || name == ".." {
            continue;
        }
        entries.push(
            name.parse::<BootEntry>()
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?,
        );
    }
    boot_order(&mut entries);
    Ok(entries)
}

/// Path and size of every file in the FAT file system at `start`, sorted.
pub(super) fn files(disk: &File, start: u64, size: u64) -> io::Result<Vec<(String, u64)>> {
    let esp = open(disk, start, size)?;
    let mut found = Vec::new();
    walk(&esp.root_dir(), "", DEEPEST, &mut found)?;
    found.sort();
    Ok(found)
}

fn walk<S: ReadWriteSeek>(
    folder: &fatfs::Dir<'_, S>,
    above: &str,
    depth: usize,
    found: &mut Vec<(String, u64)>,
) -> io::Result<()> {
    for entry in folder.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name == "." || name == ".." {
            continue;
        }
        let path = format!("{above}/{name}");
        if entry.is_file() {
            found.push((path, entry.len()));
        } else if depth > 0 {
            walk(&entry.to_dir(), &path, depth - 1, found)?;
        }
    }
    Ok(())
}

fn open(disk: &File, start: u64, size: u64) -> io::Result<FileSystem<BufStream<StreamSlice<File>>>> {
    let slice = StreamSlice::new(disk.try_clone()?, start, start + size)?;
    // Access times would be written otherwise, into a disk that was opened for reading.
    FileSystem::new(BufStream::new(slice), FsOptions::new().update_accessed_date(false))
}
