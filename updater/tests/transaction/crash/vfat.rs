//! A machine's disk below the page cache, with the EFI system partition written as the kernel's vfat driver writes it.
//!
//! Modelled (Linux, `fs/fat`): folder and table sectors are buffers that reach the medium in any order and in any of their
//! versions; start and size of a file get into its folder record only when the inode is written back, which may be at any time
//! after it changed; a rename adds the new name *without content*, moves the inode there, and deletes the old name's records; a
//! removal deletes the records, and frees the clusters afterwards; fsync of a file writes its data, the tables and the sector of
//! its short record, and not those of its long name; fsync of the folder writes its sectors as they are; syncfs writes all.
//! A cluster that is freed twice makes the volume read-only.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::image::{Image, Volume};
use crate::recorder::{Machine, Op};
use crate::world::ESP;

const SECTOR: u64 = 512;
const RECORD: u64 = 32;
const MIB: u64 = 1024 * 1024;
/// The partition begins here.
const START: u64 = MIB;

/// A write that the medium may or may not have seen.
#[derive(Clone)]
pub(super) struct Pending {
    pub(super) offset: u64,
    pub(super) bytes: Rc<[u8]>,
}

#[derive(Clone, Default)]
struct File {
    start: u16,
    size: u32,
    /// Its records in the folder, the short one last.
    records: Vec<u64>,
    dirty: bool,
}

#[derive(Clone)]
pub(super) struct Medium {
    /// What a power cut leaves for certain.
    pub(super) durable: Image,
    /// What programs see.
    now: Image,
    pub(super) pending: Vec<Pending>,
    files: BTreeMap<String, File>,
    folder: Vec<u64>,
    tables: [u64; 2],
    table_size: u64,
    data: u64,
    cluster: u64,
    /// The driver has given up on the volume.
    broken: bool,
    touched: BTreeSet<u64>,
}

fn number(image: &Image, at: u64) -> u16 {
    u16::from_le_bytes(image.bytes(at, 2).try_into().unwrap())
}

impl Medium {
    /// `machine`, with its boot entries on a fresh volume.
    pub(super) fn new(machine: &Machine) -> Self {
        let mut made = Volume {
            image: Image::new(&machine.disk),
            start: START,
            size: ESP,
            position: 0,
        };
        let options = fatfs::FormatVolumeOptions::new()
            .fat_type(fatfs::FatType::Fat16)
            .bytes_per_cluster(2048);
        fatfs::format_volume(&mut made, options).unwrap();
        made.position = 0;
        {
            let volume = fatfs::FileSystem::new(&mut made, fatfs::FsOptions::new()).unwrap();
            let folder = volume
                .root_dir()
                .create_dir("EFI")
                .unwrap()
                .create_dir("Linux")
                .unwrap();
            for (name, content) in &machine.entries {
                let mut file = folder.create_file(name).unwrap();
                std::io::Write::write_all(&mut file, content).unwrap();
            }
        }
        Self::mount(made.image)
    }

    /// What a power cut left, mounted again.
    pub(super) fn mount(image: Image) -> Self {
        let byte = |at: u64| u64::from(image.bytes(START + at, 1)[0]);
        let table_size = u64::from(number(&image, START + 22)) * SECTOR;
        let first = START + u64::from(number(&image, START + 14)) * SECTOR;
        let root = first + 2 * table_size;
        let data = root + u64::from(number(&image, START + 17)) * RECORD;
        let cluster = byte(13) * SECTOR;
        let mut medium = Self {
            durable: image.clone(),
            now: image,
            pending: Vec::new(),
            files: BTreeMap::new(),
            folder: Vec::new(),
            tables: [first, first + table_size],
            table_size,
            data,
            cluster,
            broken: false,
            touched: BTreeSet::new(),
        };
        let find = |medium: &Self, mut records: Box<dyn Iterator<Item = u64>>, name: &[u8; 11]| {
            let record = records.find(|at| medium.now.bytes(*at, 11) == name).unwrap();
            number(&medium.now, record + 26)
        };
        let efi = find(&medium, Box::new((root..data).step_by(32)), b"EFI        ");
        let efi = medium.place(efi);
        let linux = find(&medium, Box::new((efi..efi + cluster).step_by(32)), b"LINUX      ");
        let chain = medium.chain(linux);
        medium.folder = chain
            .into_iter()
            .flat_map(|number| {
                let at = medium.place(number);
                (at..at + cluster).step_by(32)
            })
            .collect();
        medium.read_folder();
        medium
    }

    /// What is on the medium once the volume is no longer in use. A driver that has given up takes no new changes; the buffers
    /// it had changed are still written.
    pub(super) fn unmounted(self) -> Image {
        self.now
    }

    fn place(&self, cluster: u16) -> u64 {
        self.data + (u64::from(cluster) - 2) * self.cluster
    }

    fn next(&self, cluster: u16) -> u16 {
        number(&self.now, self.tables[0] + u64::from(cluster) * 2)
    }

    fn chain(&self, start: u16) -> Vec<u16> {
        let mut chain = Vec::new();
        let mut cluster = start;
        while (2..0xfff0).contains(&cluster) && chain.len() < 10_000 {
            chain.push(cluster);
            cluster = self.next(cluster);
        }
        chain
    }

    fn read_folder(&mut self) {
        let mut long: Vec<(u64, [u8; 32])> = Vec::new();
        for at in self.folder.clone() {
            let record: [u8; 32] = self.now.bytes(at, 32).try_into().unwrap();
            match (record[0], record[11]) {
                (0, _) => break,
                (0xe5, _) => long.clear(),
                (_, 0x0f) => long.push((at, record)),
                (b'.', _) | (_, 0x10) => long.clear(),
                _ => {
                    let sum = checksum(&record[..11]);
                    let count = long.len();
                    let whole = count > 0
                        && long.iter().enumerate().all(|(index, (_, part))| {
                            let last = if index == 0 { 0x40 } else { 0 };
                            part[13] == sum && usize::from(part[0]) == (count - index) | last
                        });
                    let name = if whole { long_name(&long) } else { short_name(&record) };
                    let mut records: Vec<u64> = long.iter().filter(|_| whole).map(|(at, _)| *at).collect();
                    records.push(at);
                    let file = File {
                        start: u16::from_le_bytes([record[26], record[27]]),
                        size: u32::from_le_bytes(record[28..32].try_into().unwrap()),
                        records,
                        dirty: false,
                    };
                    self.files.insert(name, file);
                    long.clear();
                }
            }
        }
    }

    /// The machine as programs see it after a restart.
    pub(super) fn machine(&self) -> Machine {
        let content = |file: &File| {
            let mut bytes = Vec::new();
            for cluster in self.chain(file.start) {
                bytes.extend(
                    self.now
                        .bytes(self.place(cluster), usize::try_from(self.cluster).unwrap()),
                );
            }
            bytes.truncate(file.size as usize);
            bytes
        };
        Machine {
            disk: self.now.bytes(0, usize::try_from(self.now.size()).unwrap()),
            entries: self
                .files
                .iter()
                .map(|(name, file)| (name.clone(), content(file)))
                .collect(),
        }
    }

    /// Changes a buffer; it is on its way to the medium with the next [`Medium::emit`].
    fn poke(&mut self, at: u64, bytes: &[u8]) {
        self.now.write(at, bytes);
        self.touched.insert(at - at % SECTOR);
    }

    fn emit(&mut self, see: &mut dyn FnMut(&Self)) {
        for sector in std::mem::take(&mut self.touched) {
            self.push(sector, self.now.bytes(sector, 512).into(), see);
        }
    }

    fn push(&mut self, offset: u64, bytes: Rc<[u8]>, see: &mut dyn FnMut(&Self)) {
        self.pending.push(Pending { offset, bytes });
        see(self);
    }

    fn flush(&mut self, wanted: impl Fn(u64) -> bool) {
        for write in std::mem::take(&mut self.pending) {
            if wanted(write.offset) {
                let current = self.now.bytes(write.offset, write.bytes.len());
                self.durable.write(write.offset, &current);
            } else {
                self.pending.push(write);
            }
        }
    }

    fn on_volume(at: u64) -> bool {
        (START..START + ESP).contains(&at)
    }

    fn in_tables(&self, at: u64) -> bool {
        (self.tables[0]..self.tables[0] + 2 * self.table_size).contains(&at)
    }

    /// Start and size of a file into its short record.
    fn write_back(&mut self, name: &str) {
        let file = self.files.get_mut(name).unwrap();
        file.dirty = false;
        let (at, start, size) = (*file.records.last().unwrap(), file.start, file.size);
        self.poke(at + 26, &start.to_le_bytes());
        self.poke(at + 28, &size.to_le_bytes());
    }

    /// The inode has changed. If it is written back now, this is what the sector looks like; it may as well be later.
    fn soil(&mut self, name: &str, see: &mut dyn FnMut(&Self)) {
        let file = self.files.get_mut(name).unwrap();
        file.dirty = true;
        let at = *file.records.last().unwrap();
        let (start, size) = (file.start, file.size);
        let sector = at - at % SECTOR;
        let mut bytes = self.now.bytes(sector, 512);
        let within = usize::try_from(at - sector).unwrap();
        bytes[within + 26..within + 28].copy_from_slice(&start.to_le_bytes());
        bytes[within + 28..within + 32].copy_from_slice(&size.to_le_bytes());
        self.push(sector, bytes.into(), see);
    }

    fn add_records(&mut self, name: &str) -> Vec<u64> {
        let units: Vec<u16> = name.encode_utf16().collect();
        let count = units.len().div_ceil(13) + 1;
        let free = |at: &u64| matches!(self.now.bytes(*at, 1)[0], 0 | 0xe5);
        let places = self.folder.windows(count).find(|window| window.iter().all(free));
        let places = places.expect("the folder is large enough").to_vec();
        let taken: BTreeSet<Vec<u8>> = self.folder.iter().map(|at| self.now.bytes(*at, 11)).collect();
        let short = (1..10)
            .map(|number| format!("{}~{number}EFI", &name[..6].to_uppercase()).into_bytes())
            .find(|short| !taken.contains(short))
            .unwrap();
        let sum = checksum(&short);
        for (index, at) in places[..count - 1].iter().enumerate() {
            let ordinal = count - 1 - index;
            let mut record = [0xff; 32];
            let mut part: Vec<u16> = units[(ordinal - 1) * 13..].iter().copied().take(13).collect();
            if part.len() < 13 {
                part.push(0);
            }
            part.resize(13, 0xffff);
            for (unit, place) in part.iter().zip(UNITS) {
                record[place..place + 2].copy_from_slice(&unit.to_le_bytes());
            }
            let last = if index == 0 { 0x40 } else { 0 };
            record[0] = u8::try_from(ordinal).unwrap() | last;
            (record[11], record[12], record[13]) = (0x0f, 0, sum);
            record[26..28].fill(0);
            self.poke(*at, &record);
        }
        let mut record = [0; 32];
        record[..11].copy_from_slice(&short);
        record[11] = 0x20;
        self.poke(places[count - 1], &record);
        places
    }

    fn delete_records(&mut self, records: &[u64], see: &mut dyn FnMut(&Self)) {
        // Sector by sector, the one with the short name first.
        let sectors: BTreeSet<u64> = records.iter().map(|at| at - at % SECTOR).collect();
        for sector in sectors.into_iter().rev() {
            for at in records.iter().filter(|at| *at - *at % SECTOR == sector) {
                self.poke(*at, &[0xe5]);
            }
            self.emit(see);
        }
    }

    fn set_next(&mut self, cluster: u16, next: u16) {
        for table in self.tables {
            self.poke(table + u64::from(cluster) * 2, &next.to_le_bytes());
        }
    }

    fn free(&mut self, start: u16, see: &mut dyn FnMut(&Self)) {
        if start == 0 {
            return;
        }
        if self.next(start) == 0 {
            self.broken = true;
            return;
        }
        for cluster in self.chain(start) {
            self.set_next(cluster, 0);
        }
        self.emit(see);
    }

    fn write_file(&mut self, name: &str, offset: u64, bytes: &[u8], see: &mut dyn FnMut(&Self)) {
        let file = self.files[name].clone();
        let end = offset + bytes.len() as u64;
        let mut chain = self.chain(file.start);
        let needed = usize::try_from(end.div_ceil(self.cluster)).unwrap();
        let mut candidate = 2;
        let grown = chain.len() < needed || end > u64::from(file.size);
        while chain.len() < needed {
            while self.next(candidate) != 0 {
                candidate += 1;
            }
            self.set_next(candidate, 0xffff);
            if let Some(last) = chain.last() {
                self.set_next(*last, candidate);
            }
            chain.push(candidate);
        }
        self.emit(see);
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let (index, within) = (usize::try_from(at / self.cluster).unwrap(), at % self.cluster);
            let count = usize::try_from(self.cluster - within).unwrap().min(bytes.len() - done);
            let place = self.place(chain[index]) + within;
            self.now.write(place, &bytes[done..done + count]);
            self.push(place, bytes[done..done + count].into(), see);
            done += count;
        }
        if grown {
            let file = self.files.get_mut(name).unwrap();
            file.start = chain[0];
            file.size = file.size.max(u32::try_from(end).unwrap());
            self.soil(name, see);
        }
    }

    /// Whether a write is torn between sectors, or in one, without taking more than its own bytes with it: a copy of the partition
    /// table, or the content of a file. Tables and folders of FAT are single sectors, taken to be written whole.
    pub(super) fn may_tear(&self, at: u64) -> bool {
        let end = self.now.size() - MIB;
        let folder = self.folder.iter().any(|record| record - record % SECTOR == at);
        if Self::on_volume(at) {
            at >= self.data && !folder
        } else {
            at < MIB || at >= end
        }
    }

    /// One change, as the agent asks for it. `see` is shown the machine at every instant of it. Whether the driver could do it.
    pub(super) fn step(&mut self, op: &Op, see: &mut dyn FnMut(&Self)) -> Result<(), String> {
        if self.broken && matches!(op, Op::Create(_) | Op::WriteEntry(..) | Op::Rename(..) | Op::Remove(_)) {
            return Err("the volume is read-only since a cluster was freed twice".to_owned());
        }
        let missing = |name: &String| format!("no file {name}");
        match op {
            Op::WriteDisk(offset, bytes) => {
                self.now.write(*offset, bytes);
                self.push(*offset, bytes.as_slice().into(), see);
            }
            Op::FlushDisk => self.flush(|at| !Self::on_volume(at)),
            Op::Forget(offset, length) => {
                let within = |at: u64| (*offset..offset + length).contains(&at);
                if self.pending.iter().any(|write| within(write.offset)) {
                    return Err("what is read back was never flushed".to_owned());
                }
            }
            Op::Create(name) => {
                if let Some(file) = self.files.get_mut(name) {
                    let start = std::mem::take(&mut file.start);
                    file.size = 0;
                    self.soil(name, see);
                    self.free(start, see);
                    return Ok(());
                }
                let records = self.add_records(name);
                self.files.insert(
                    name.clone(),
                    File {
                        records,
                        ..File::default()
                    },
                );
                self.emit(see);
            }
            Op::WriteEntry(name, offset, bytes) => {
                self.files.get(name).ok_or_else(|| missing(name))?;
                self.write_file(name, *offset, bytes, see);
            }
            Op::FlushEntry(name) => {
                self.files.get(name).ok_or_else(|| missing(name))?;
                self.write_back(name);
                self.emit(see);
                let file = &self.files[name];
                let short = *file.records.last().unwrap();
                let places: Vec<u64> = self.chain(file.start).into_iter().map(|one| self.place(one)).collect();
                let (cluster, this) = (self.cluster, self.clone());
                self.flush(|at| {
                    this.in_tables(at)
                        || at == short - short % SECTOR
                        || places.iter().any(|place| (*place..place + cluster).contains(&at))
                });
            }
            Op::Rename(from, to) => {
                let old = self.files.remove(from).ok_or_else(|| missing(from))?;
                let records = self.add_records(to);
                self.emit(see);
                self.files.insert(to.clone(), File { records, ..old.clone() });
                self.soil(to, see);
                self.delete_records(&old.records, see);
                self.soil(to, see);
            }
            Op::Remove(name) => {
                let old = self.files.remove(name).ok_or_else(|| missing(name))?;
                self.delete_records(&old.records, see);
                self.free(old.start, see);
            }
            Op::FlushEntries => {
                let folder: BTreeSet<u64> = self.folder.iter().map(|at| at - at % SECTOR).collect();
                self.flush(|at| folder.contains(&at));
                see(self);
                let dirty: Vec<String> = self
                    .files
                    .iter()
                    .filter(|(_, file)| file.dirty)
                    .map(|(name, _)| name.clone())
                    .collect();
                for name in dirty {
                    self.write_back(&name);
                    self.emit(see);
                }
                self.flush(Self::on_volume);
            }
        }
        Ok(())
    }
}

/// Where the thirteen units of a long name are in its record.
const UNITS: [usize; 13] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

fn checksum(short: &[u8]) -> u8 {
    short
        .iter()
        .fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

fn long_name(records: &[(u64, [u8; 32])]) -> String {
    let units = records
        .iter()
        .rev()
        .flat_map(|(_, record)| UNITS.map(|at| u16::from_le_bytes([record[at], record[at + 1]])));
    let units: Vec<u16> = units.take_while(|unit| *unit != 0 && *unit != 0xffff).collect();
    String::from_utf16(&units).unwrap()
}

fn short_name(record: &[u8; 32]) -> String {
    let part = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_lowercase();
    format!("{}.{}", part(&record[..8]), part(&record[8..11]))
}
