//! What a machine does with a disk when it is switched on: firmware, boot loader and init, from their specifications and not
//! from the code under test.
//!
//! UEFI 2.10 chapter 5 (partition table: primary, then backup), FAT by the crate `fatfs`, and the entries as systemd-boot 257
//! sees and sorts them (`config_load_type2_entries`, `boot_entry_compare`): files `*.efi` in `EFI/Linux` that begin as PE files;
//! those without tries left last, then the newer release, then no counter or more tries left.

use std::cmp::Reverse;
use std::io::Read;

use uuid::Uuid;

use super::image::{Image, Volume};
use crate::world::Image as Release;

const SECTOR: u64 = 512;

/// What boots, and whether under a counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Boot {
    /// Index of the release.
    pub(super) release: usize,
    /// Tries left.
    pub(super) counter: Option<u32>,
    /// All that the boot menu offers: release and tries left, the best first.
    pub(super) offered: Vec<(usize, Option<u32>)>,
}

struct Entry {
    name: String,
    release: usize,
    counter: Option<u32>,
}

/// First byte and size of a partition, by PARTUUID.
struct Table(Vec<(Uuid, u64, u64)>);

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

fn table(disk: &Image, lba: u64) -> Option<Table> {
    let mut header = disk.bytes(lba * SECTOR, 512);
    let four = |header: &[u8], at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
    let eight = |header: &[u8], at: usize| u64::from_le_bytes(header[at..at + 8].try_into().unwrap());
    let (size, crc) = (four(&header, 12) as usize, four(&header, 16));
    if &header[..8] != b"EFI PART" || !(92..=512).contains(&size) || eight(&header, 24) != lba {
        return None;
    }
    header[16..20].fill(0);
    let (count, length) = (four(&header, 80) as usize, four(&header, 84) as usize);
    if crc32(&header[..size]) != crc || count > 128 || length != 128 {
        return None;
    }
    let entries = disk.bytes(eight(&header, 72) * SECTOR, count * length);
    if crc32(&entries) != four(&header, 88) {
        return None;
    }
    let used = entries.chunks_exact(length).filter(|entry| entry[..16] != [0; 16]);
    let one = |entry: &[u8]| {
        let start = eight(entry, 32) * SECTOR;
        let id = Uuid::from_bytes_le(entry[16..32].try_into().unwrap());
        (id, start, (eight(entry, 40) + 1) * SECTOR - start)
    };
    Some(Table(used.map(one).collect()))
}

fn entries(disk: &Image, start: u64, size: u64, releases: &[Release]) -> Result<Vec<Entry>, String> {
    let volume = Volume {
        image: disk.clone(),
        start,
        size,
        position: 0,
    };
    let failed = |error: std::io::Error| format!("the firmware cannot read the EFI system partition: {error}");
    let volume = fatfs::FileSystem::new(volume, fatfs::FsOptions::new()).map_err(failed)?;
    let folder = volume.root_dir().open_dir("EFI/Linux").map_err(failed)?;
    let mut found = Vec::new();
    for file in folder.iter() {
        let file = file.map_err(failed)?;
        let name = file.file_name().to_lowercase();
        let Some(stem) = name.strip_suffix(".efi").filter(|_| !file.is_dir()) else {
            continue;
        };
        let mut content = Vec::new();
        // What cannot be read to its end is no PE file, or not a whole one.
        let read = file.to_file().read_to_end(&mut content);
        if !content.starts_with(b"MZ") {
            continue;
        }
        let release = releases.iter().position(|release| release.kernel == content);
        let release = release
            .filter(|_| read.is_ok())
            .ok_or_else(|| format!("{name} is offered and not whole"))?;
        let counter = stem.rsplit_once('+').map(|(_, counter)| counter);
        let counter = counter.map(|counter| counter.split('-').next().unwrap().parse().unwrap());
        found.push(Entry { name, release, counter });
    }
    Ok(found)
}

/// What boots. Releases are in ascending order. The error says why nothing does, or why what does is not a release to the last bit.
pub(super) fn boots(disk: &Image, releases: &[Release]) -> Result<Boot, String> {
    let last = disk.size() / SECTOR - 1;
    let Table(partitions) = table(disk, 1)
        .or_else(|| table(disk, last))
        .ok_or("no valid partition table")?;
    let (_, start, size) = *partitions.first().ok_or("no partitions")?;
    let mut found = entries(disk, start, size, releases)?;
    found.sort_by_key(|entry| {
        (
            entry.counter == Some(0),
            Reverse(entry.release),
            Reverse(entry.counter.unwrap_or(u32::MAX)),
        )
    });
    let first = found.first().ok_or("no entry at all")?;
    let holds = |id: Uuid, content: &[u8]| {
        let place = partitions.iter().filter(|(there, ..)| *there == id).collect::<Vec<_>>();
        matches!(place[..], [(_, start, size)] if content.len() as u64 <= *size && disk.holds(*start, content))
    };
    let half = |release: &Release, from: usize| {
        let hash = release.hash.as_bytes();
        Uuid::from_bytes(hash[from..from + 16].try_into().unwrap())
    };
    let whole = |release: &Release| holds(half(release, 0), &release.root) && holds(half(release, 16), &release.tree);
    // Also those that are not picked: they are what is fallen back to.
    for entry in found.iter().filter(|entry| entry.counter != Some(0)) {
        if !whole(&releases[entry.release]) {
            return Err(format!("{} is offered, and its slot does not hold it", entry.name));
        }
    }
    let named = |release: &&Release| partitions.iter().any(|(id, ..)| *id == half(release, 0));
    if let Some(release) = releases.iter().filter(named).find(|release| !whole(release)) {
        return Err(format!("a slot is named {} and does not hold it", release.version));
    }
    Ok(Boot {
        release: first.release,
        counter: first.counter,
        offered: found.iter().map(|entry| (entry.release, entry.counter)).collect(),
    })
}
