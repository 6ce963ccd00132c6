//! A fresh FAT32 volume with files in it, written in one go.
//!
//! Format: Microsoft, "FAT: General Overview of On-Disk Format", version 1.03. Written here because what exists either needs
//! a mount or a program whose versions differ between hosts, or writes folders that firmware forgives and fsck does not. A
//! volume that is only ever filled once needs little: every file is one run of clusters, and the same files give the same
//! bytes.

mod names;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use names::Entry;

const SECTOR: u64 = 512;
/// Sectors before the first table; the specification's usual number, and raised to align what follows.
const RESERVED: u64 = 32;
const FATS: u64 = 2;
/// Fewer clusters would make it FAT16 ("FAT Type Determination"), and a margin, since programs differ by some there.
const MIN_CLUSTERS: u64 = 65525 + 16;
const ROOT_CLUSTER: u32 = 2;
const END_OF_CHAIN: u32 = 0x0FFF_FFFF;
const FOLDER: u8 = 0x10;
const ARCHIVE: u8 = 0x20;
const VOLUME_LABEL: u8 = 0x08;

/// A file or a folder to be written, by name.
#[derive(Debug)]
enum Node<'a> {
    File(&'a [u8]),
    Folder(BTreeMap<&'a str, Node<'a>>),
}

/// Where things are in the volume.
#[derive(Debug, Clone, Copy)]
struct Geometry {
    sectors: u64,
    cluster_sectors: u64,
    reserved: u64,
    fat_sectors: u64,
    clusters: u64,
}

impl Geometry {
    fn new(size: u64) -> io::Result<Self> {
        let sectors = size / SECTOR;
        // Clusters of one page where that leaves enough of them, else smaller ones.
        for cluster_sectors in [8, 4, 2, 1] {
            let mut fat_sectors = 1;
            loop {
                // The clusters begin on a page of the partition, as those of flash storage do.
                let tables = FATS * fat_sectors;
                let reserved = (RESERVED + tables).next_multiple_of(8) - tables;
                let clusters = sectors.saturating_sub(reserved + tables) / cluster_sectors;
                if (clusters + 2) * 4 <= fat_sectors * SECTOR {
                    if clusters >= MIN_CLUSTERS {
                        return Ok(Self {
                            sectors,
                            cluster_sectors,
                            reserved,
                            fat_sectors,
                            clusters,
                        });
                    }
                    break;
                }
                fat_sectors += 1;
            }
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the partition is too small for FAT32",
        ))
    }

    fn cluster_size(&self) -> u64 {
        self.cluster_sectors * SECTOR
    }

    /// The byte of the volume at which a cluster begins.
    fn offset(&self, cluster: u32) -> u64 {
        let first = self.reserved + FATS * self.fat_sectors;
        first * SECTOR + u64::from(cluster - ROOT_CLUSTER) * self.cluster_size()
    }
}

/// Formats `size` bytes of `disk` at `start`, all zero so far, and writes `files`: their paths, with `/`, and contents.
///
/// # Errors
/// Those of the disk; `StorageFull` when the files do not fit; `InvalidInput` when the volume is too small to be FAT32, or a
/// path or a name cannot be written.
pub(super) fn write(
    disk: &File,
    start: u64,
    size: u64,
    serial: u32,
    label: [u8; 11],
    files: &[(String, &[u8])],
) -> io::Result<()> {
    let geometry = Geometry::new(size)?;
    let mut root = BTreeMap::new();
    for (path, content) in files {
        insert(&mut root, path, content)?;
    }
    let mut volume = Volume {
        disk,
        start,
        geometry,
        table: vec![0x0FFF_FFF8, END_OF_CHAIN],
    };
    let labelled = Entry::label(label, VOLUME_LABEL);
    volume.folder(&root, None, vec![labelled])?;
    volume.finish(serial, label)
}

fn insert<'a>(root: &mut BTreeMap<&'a str, Node<'a>>, path: &'a str, content: &'a [u8]) -> io::Result<()> {
    let clash = || {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{path} is named twice, or as file and as folder"),
        )
    };
    let mut folder = root;
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return if folder.insert(part, Node::File(content)).is_some() {
                Err(clash())
            } else {
                Ok(())
            };
        }
        folder = match folder.entry(part).or_insert_with(|| Node::Folder(BTreeMap::new())) {
            Node::Folder(inner) => inner,
            Node::File(_) => return Err(clash()),
        };
    }
    Ok(())
}

/// A volume being filled.
struct Volume<'a> {
    disk: &'a File,
    start: u64,
    geometry: Geometry,
    table: Vec<u32>,
}

impl Volume<'_> {
    /// Takes the next clusters for `bytes` bytes, chains them, and returns the first; 0 for nothing, as the format has it.
    fn allocate(&mut self, bytes: u64) -> io::Result<u32> {
        let count = bytes.div_ceil(self.geometry.cluster_size());
        let full = || io::Error::new(io::ErrorKind::StorageFull, "the files do not fit into the volume");
        let first = self.table.len() as u64;
        if first + count > self.geometry.clusters + 2 {
            return Err(full());
        }
        for next in 1..=count {
            self.table.push(if next == count {
                END_OF_CHAIN
            } else {
                u32::try_from(first + next).map_err(|_| full())?
            });
        }
        if count == 0 {
            Ok(0)
        } else {
            u32::try_from(first).map_err(|_| full())
        }
    }

    /// Writes a folder with all it holds and returns its first cluster. `special` are the entries it begins with beside its
    /// own two dots; `parent` is the first cluster of the folder above, 0 for the root, and nothing for the root itself.
    fn folder(
        &mut self,
        nodes: &BTreeMap<&str, Node<'_>>,
        parent: Option<u32>,
        special: Vec<Entry>,
    ) -> io::Result<u32> {
        let mut entries = special;
        let names = names::short(nodes.keys().copied())?;
        let dots = if parent.is_some() { 2 } else { 0 };
        let slots: usize = names.iter().map(names::Name::slots).sum::<usize>() + entries.len() + dots;
        let own = self.allocate((slots as u64 * 32).max(1))?;
        if let Some(parent) = parent {
            entries.push(Entry::dots(b".          ", FOLDER, own));
            entries.push(Entry::dots(b"..         ", FOLDER, parent));
        }
        let above = if parent.is_some() { own } else { 0 };
        for ((_, node), name) in nodes.iter().zip(names) {
            let (attributes, first, size) = match node {
                Node::Folder(inner) => (FOLDER, self.folder(inner, Some(above), Vec::new())?, 0),
                Node::File(content) => (ARCHIVE, self.file(content)?, content.len()),
            };
            let size = u32::try_from(size)
                .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a file on FAT ends at 4 GiB"))?;
            entries.extend(name.entries(attributes, first, size));
        }
        let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.0).collect();
        self.put(self.geometry.offset(own), &bytes)?;
        Ok(own)
    }

    fn file(&mut self, content: &[u8]) -> io::Result<u32> {
        let first = self.allocate(content.len() as u64)?;
        if first != 0 {
            self.put(self.geometry.offset(first), content)?;
        }
        Ok(first)
    }

    /// Writes what comes before the clusters.
    fn finish(&self, serial: u32, label: [u8; 11]) -> io::Result<()> {
        let geometry = &self.geometry;
        let table: Vec<u8> = self.table.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        for copy in 0..FATS {
            self.put((geometry.reserved + copy * geometry.fat_sectors) * SECTOR, &table)?;
        }
        let boot = self.boot_sector(serial, label)?;
        let info = self.info_sector()?;
        // A copy of both is six sectors behind ("Backup Boot Sector").
        for first in [0, 6] {
            self.put(first * SECTOR, &boot)?;
            self.put((first + 1) * SECTOR, &info)?;
        }
        Ok(())
    }

    /// "Boot Sector and BPB" and "FAT32 BPB".
    fn boot_sector(&self, serial: u32, label: [u8; 11]) -> io::Result<[u8; 512]> {
        let geometry = &self.geometry;
        let number = |value: u64| u32::try_from(value).map_err(io::Error::other);
        let mut sector = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &[0xEB, 0x58, 0x90]);
        put(3, b"TWINHULL");
        put(11, &512u16.to_le_bytes());
        put(13, &number(geometry.cluster_sectors)?.to_le_bytes()[..1]);
        put(14, &number(geometry.reserved)?.to_le_bytes()[..2]);
        put(16, &[2]);
        put(21, &[0xF8]);
        put(24, &63u16.to_le_bytes());
        put(26, &255u16.to_le_bytes());
        put(28, &number(self.start / SECTOR)?.to_le_bytes());
        put(32, &number(geometry.sectors)?.to_le_bytes());
        put(36, &number(geometry.fat_sectors)?.to_le_bytes());
        put(44, &ROOT_CLUSTER.to_le_bytes());
        put(48, &1u16.to_le_bytes());
        put(50, &6u16.to_le_bytes());
        put(64, &[0x80, 0, 0x29]);
        put(67, &serial.to_le_bytes());
        put(71, &label);
        put(82, b"FAT32   ");
        put(510, &[0x55, 0xAA]);
        Ok(sector)
    }

    /// "FAT32 `FSInfo` Sector Structure".
    fn info_sector(&self) -> io::Result<[u8; 512]> {
        let number = |value: u64| u32::try_from(value).map_err(io::Error::other);
        let used = self.table.len() as u64;
        let mut sector = [0; 512];
        let mut put = |at: usize, value: u32| sector[at..at + 4].copy_from_slice(&value.to_le_bytes());
        put(0, 0x4161_5252);
        put(484, 0x6141_7272);
        put(488, number(self.geometry.clusters + 2 - used)?);
        put(492, number(used)?);
        put(508, 0xAA55_0000);
        Ok(sector)
    }

    fn put(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.write_all_at(bytes, self.start + offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fatfs::{FatType, FileSystem, FsOptions};
    use std::io::Read;
    use std::process::Command;

    const MIB: u64 = 1 << 20;

    fn files() -> Vec<(String, &'static [u8])> {
        static LARGE: [u8; 300_001] = [7; 300_001];
        let mut files: Vec<(String, &[u8])> = vec![
            ("EFI/BOOT/BOOTX64.EFI".into(), b"loader"),
            ("EFI/Linux/twinhull-server_1.0.0.efi".into(), &LARGE),
            ("EFI/Linux/twinhull-server_1.1.0.efi".into(), b""),
            ("loader/loader.conf".into(), b"timeout 0\n"),
        ];
        // More than one cluster of folder entries.
        files.extend((0..200).map(|index| (format!("many/a rather long file name {index}"), b"x".as_slice())));
        files
    }

    fn volume(size: u64) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(size).unwrap();
        write(file.as_file(), 0, size, 0x1234_5678, *b"ESP        ", &files()).unwrap();
        file
    }

    #[test]
    fn another_implementation_reads_every_file_back() {
        let file = volume(64 * MIB);
        let volume = FileSystem::new(file.reopen().unwrap(), FsOptions::new()).unwrap();
        for (path, content) in files() {
            let mut read = Vec::new();
            volume
                .root_dir()
                .open_file(&path)
                .unwrap()
                .read_to_end(&mut read)
                .unwrap();
            assert!(read == content, "{path}");
        }
    }

    #[test]
    fn fsck_has_nothing_to_say_at_any_size() {
        for mib in [34, 64, 128, 260, 272, 512, 1024] {
            let file = volume(mib * MIB);
            let read = FileSystem::new(file.reopen().unwrap(), FsOptions::new()).unwrap();
            assert_eq!(read.fat_type(), FatType::Fat32, "{mib}");
            let Some(fsck) = crate::tools::find("fsck.vfat") else {
                crate::skip::skip("no fsck.vfat here");
                continue;
            };
            let output = Command::new(fsck).arg("-n").arg(file.path()).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.lines().count() == 2, "{mib}: {said}");
        }
    }

    #[test]
    fn same_files_give_same_bytes() {
        let read = |file: tempfile::NamedTempFile| std::fs::read(file.path()).unwrap();
        assert!(read(volume(34 * MIB)) == read(volume(34 * MIB)));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let file = tempfile::tempfile().unwrap();
        let large = vec![1; 34 * 1024 * 1024];
        let error = write(&file, 0, 34 * MIB, 1, *b"ESP        ", &[("x".into(), &large)]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(
            write(&file, 0, 16 * MIB, 1, *b"ESP        ", &[]).unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
    }

    #[test]
    fn file_in_place_of_a_folder_is_refused() {
        let file = tempfile::tempfile().unwrap();
        let twice: Vec<(String, &[u8])> = vec![("a".into(), b""), ("a/b".into(), b"")];
        assert_eq!(
            write(&file, 0, 64 * MIB, 1, *b"ESP        ", &twice)
                .unwrap_err()
                .kind(),
            io::ErrorKind::InvalidInput
        );
    }
}
