//! The ESP's files, read without mounting it.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};

use fatfs::{FileSystem, FsOptions, ReadWriteSeek};
use fscommon::{BufStream, StreamSlice};
use twinhull_layout::{BootEntry, boot_order, paths};

/// How deep folders are followed. Ours are at most three deep; a damaged file system may hold loops.
const DEEPEST: usize = 8;

/// What a PE file begins with. The loader passes over anything else, whatever its name is.
const PE: &[u8; 2] = b"MZ";

/// The boot entries in the FAT file system at `start`, in the order in which systemd-boot would try them.
pub(super) fn boot_entries(disk: &File, start: u64, size: u64) -> io::Result<Vec<BootEntry>> {
    let esp = open(disk, start, size)?;
    let folder = esp.root_dir().open_dir(paths::ENTRIES)?;
    let mut entries = Vec::new();
    for file in folder.iter() {
        let file = file?;
        let name = file.file_name();
        if !name.to_ascii_lowercase().ends_with(".efi") || file.is_dir() {
            continue;
        }
        let mut begins = [0; PE.len()];
        if file.len() < begins.len() as u64 || file.to_file().read_exact(&mut begins).is_err() || begins != *PE {
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

/// The largest kernel image that is read: the ESP is no larger.
const LARGEST_KERNEL_IMAGE: u64 = 512 << 20;

/// What is in the kernel image of `entry`.
pub(super) fn kernel_image(disk: &File, start: u64, size: u64, entry: &BootEntry) -> io::Result<Vec<u8>> {
    content(disk, start, size, &format!("{}/{entry}", paths::ENTRIES))
}

/// What is in the file `path`, which is no larger than a kernel image.
pub(super) fn content(disk: &File, start: u64, size: u64, path: &str) -> io::Result<Vec<u8>> {
    let esp = open_without_buffer(disk, start, size)?;
    let file = esp.root_dir().open_file(path)?;
    let mut bytes = Vec::new();
    file.take(LARGEST_KERNEL_IMAGE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Where on the disk byte `offset` of the file `path` is.
pub(super) fn place(disk: &File, start: u64, size: u64, path: &str, offset: u64) -> io::Result<u64> {
    let esp = open_without_buffer(disk, start, size)?;
    let mut file = esp.root_dir().open_file(path)?;
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(&mut [0])?;
    // The file system reads through a clone of `disk`, which shares its position: that is now behind the byte.
    Ok((&*disk).stream_position()? - 1)
}

/// Writes the kernel image of `entry`.
pub(super) fn put(disk: &File, start: u64, size: u64, entry: &BootEntry, content: &[u8]) -> io::Result<()> {
    let esp = open(disk, start, size)?;
    {
        let folder = esp.root_dir().open_dir(paths::ENTRIES)?;
        let mut file = folder.create_file(&entry.to_string())?;
        file.truncate()?;
        file.write_all(content)?;
    }
    esp.unmount()
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

/// For much that is read from front to back, or where it matters what is read: otherwise 512 bytes are read at once.
fn open_without_buffer(disk: &File, start: u64, size: u64) -> io::Result<FileSystem<StreamSlice<File>>> {
    let slice = StreamSlice::new(disk.try_clone()?, start, start + size)?;
    // Access times would be written otherwise, into a disk that was opened for reading.
    FileSystem::new(slice, FsOptions::new().update_accessed_date(false))
}

fn open(disk: &File, start: u64, size: u64) -> io::Result<FileSystem<BufStream<StreamSlice<File>>>> {
    let slice = StreamSlice::new(disk.try_clone()?, start, start + size)?;
    // Access times would be written otherwise, into a disk that was opened for reading.
    FileSystem::new(BufStream::new(slice), FsOptions::new().update_accessed_date(false))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[test]
    fn every_byte_of_a_file_is_where_it_is_said_to_be() {
        const START: u64 = 4096;
        const SIZE: u64 = 4 << 20;
        let disk = tempfile::tempfile().unwrap();
        disk.set_len(START + SIZE).unwrap();
        let slice = StreamSlice::new(disk.try_clone().unwrap(), START, START + SIZE).unwrap();
        fatfs::format_volume(slice, fatfs::FormatVolumeOptions::new()).unwrap();
        let entries: Vec<BootEntry> = ["p_1.0.0.efi", "p_1.1.0.efi"].map(|name| name.parse().unwrap()).into();
        {
            let esp = open(&disk, START, SIZE).unwrap();
            esp.root_dir().create_dir("EFI").unwrap();
            esp.root_dir().create_dir(paths::ENTRIES).unwrap();
            esp.unmount().unwrap();
        }
        // The same content twice, so that it does not tell where it is.
        let content: Vec<u8> = (0..100_000_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
        for entry in &entries {
            put(&disk, START, SIZE, entry, &content).unwrap();
        }
        for offset in [0, 511, 512, 5000, 99_999] {
            let path = format!("{}/{}", paths::ENTRIES, entries[1]);
            let at = place(&disk, START, SIZE, &path, offset).unwrap();
            disk.write_all_at(&[255], at).unwrap();
            let mut expected = content.clone();
            expected[usize::try_from(offset).unwrap()] = 255;
            assert_eq!(kernel_image(&disk, START, SIZE, &entries[1]).unwrap(), expected);
            assert_eq!(kernel_image(&disk, START, SIZE, &entries[0]).unwrap(), content);
            disk.write_all_at(&[content[usize::try_from(offset).unwrap()]], at)
                .unwrap();
        }
        assert!(place(&disk, START, SIZE, "EFI/Linux/p_1.0.0.efi", 100_000).is_err());
        assert!(place(&disk, START, SIZE, "EFI/Linux/absent.efi", 0).is_err());
    }
}
