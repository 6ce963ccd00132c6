//! The GUID partition table of one disk: read, understood as slots, edited, written in an order that no power cut breaks.
//!
//! Format: UEFI specification 2.10, chapter 5. The crate `gpt` encodes and decodes. The order of writes is ours, because
//! that crate changes the entries of both copies before either header: cut there, a disk has no valid table at all.

mod ends;
mod slots;
mod write;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;
use gpt::{GptConfig, GptDisk};
use uuid::Uuid;

use ends::Ends;
pub use slots::{SlotContent, SlotPartitions};
pub use write::{Write, WriteStage};

/// Entries a table may have. Every tool in use writes exactly this many.
const MAX_ENTRIES: u32 = 128;
const ENTRY_SIZE: u32 = 128;

/// Where a table is read from: a disk, an image file, or a recording of one.
pub trait Medium {
    /// Fills `buffer` from byte `offset` on, or fails.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Size in bytes.
    fn size(&self) -> io::Result<u64>;
}

impl Medium for File {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        // The metadata of a block device says 0; seeking works for both. Nothing else here uses the position.
        let mut file = self;
        file.seek(SeekFrom::End(0))
    }
}

/// A table that could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The medium failed.
    #[error("cannot {action} the partition table: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// The operating system's reason.
        #[source]
        source: io::Error,
    },
    /// Neither copy is valid.
    #[error("the disk has no valid partition table: primary: {primary}; backup: {backup}")]
    NoValidCopy {
        /// What is wrong with the copy at the start.
        primary: String,
        /// What is wrong with the copy at the end.
        backup: String,
    },
    /// The sector size is none that a disk has.
    #[error("a sector size of {0} bytes is not supported: it is 512 or 4096")]
    SectorSize(u64),
    /// A partition is not where or what the layout says.
    #[error("partition {number} {problem}: this disk was not made by twinhull, or for another architecture")]
    Layout {
        /// Its number.
        number: u32,
        /// What is wrong with it.
        problem: String,
    },
    /// The crate `gpt` refused an edit.
    #[error("cannot encode the partition table: {0}")]
    Encode(String),
}

/// One partition, in bytes rather than sectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its number, from 1.
    pub number: u32,
    /// Its type.
    pub kind: Uuid,
    /// Its PARTUUID.
    pub id: Uuid,
    /// Its first byte on the disk.
    pub start: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Its attribute bits.
    pub attributes: u64,
    /// Its label, at most 36 UTF-16 units.
    pub label: String,
}

/// What is wrong with a partition table that can be read all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// The copy at the beginning is not valid.
    Primary,
    /// The copy at the end is not valid.
    Backup,
    /// Both are, and the disk has grown: firmware does not find the second one.
    NotAtTheEnd,
}

/// The partition table of one disk.
#[derive(Debug, Clone)]
pub struct Table {
    sector: LogicalBlockSize,
    disk_id: Uuid,
    partitions: BTreeMap<u32, Partition>,
    /// Both copies as they are on the medium; the invalid one is replaced by the valid one.
    ends: Ends,
    /// The ends of a disk that has grown since the table was written: its backup is not where firmware looks for it.
    grown: Option<Ends>,
    /// Whether the copy at the start was valid when the table was read.
    primary_valid: bool,
    /// The same of the one at the end.
    backup_valid: bool,
    /// Whether there is no table on the medium yet, so that the protective MBR is to be written too.
    new: bool,
}

impl Table {
    /// Reads the table of a disk with sectors of `sector_size` bytes: the primary copy, and if that is not valid, the backup.
    /// Changes nothing on the medium.
    ///
    /// # Errors
    /// The medium fails, or neither copy is valid.
    pub fn read(medium: &impl Medium, sector_size: u64) -> Result<Self, TableError> {
        let sector = sector_size_of(sector_size)?;
        let reading = |source| TableError::Io { action: "read", source };
        let disk_size = medium.size().map_err(reading)?;
        let size = disk_size - disk_size % sector_size;

        // A disk that was enlarged after imaging has its backup where the disk used to end.
        let whole = Ends::read(medium, size).map_err(reading)?;
        let (ends, grown) = match backup_end(whole.head(), sector_size).filter(|end| *end < size) {
            Some(end) => (Ends::read(medium, end).map_err(reading)?, Some(whole)),
            None => (whole, None),
        };

        let (primary, backup) = (
            decode(&ends, sector, Copy::Primary),
            decode(&ends, sector, Copy::Backup),
        );
        let (primary_valid, backup_valid) = (primary.is_ok(), backup.is_ok());
        let disk = match (primary, backup) {
            (Ok(one), _) | (Err(_), Ok(one)) => one,
            (Err(primary), Err(backup)) => return Err(TableError::NoValidCopy { primary, backup }),
        };
        let partitions = partitions_of(&disk, sector)?;
        Ok(Self {
            sector,
            disk_id: *disk.guid(),
            partitions,
            ends,
            grown,
            primary_valid,
            backup_valid,
            new: false,
        })
    }

    /// Makes the table of a new disk of `disk_size` bytes, with a protective MBR.
    ///
    /// # Errors
    /// The partitions do not lie on sectors within the usable part of the disk, overlap, or do not fit an entry.
    pub fn create(
        disk_size: u64,
        sector_size: u64,
        disk_id: Uuid,
        partitions: Vec<Partition>,
    ) -> Result<Self, TableError> {
        let sector = sector_size_of(sector_size)?;
        let making = |source| TableError::Io { action: "make", source };
        let mut ends = Ends::blank(disk_size - disk_size % sector_size).map_err(making)?;
        let sectors = u32::try_from(disk_size / sector_size - 1).unwrap_or(u32::MAX);
        ProtectiveMBR::with_lb_size(sectors)
            .overwrite_lba0(&mut ends)
            .map_err(|error| TableError::Encode(error.to_string()))?;
        let partitions = partitions
            .into_iter()
            .map(|partition| (partition.number, partition))
            .collect();
        let table = Self {
            sector,
            disk_id,
            partitions,
            ends,
            grown: None,
            primary_valid: true,
            backup_valid: true,
            new: true,
        };
        table.check_extents(&table.ends)?;
        Ok(table)
    }

    /// The GUID of the disk.
    #[must_use]
    pub fn disk_id(&self) -> Uuid {
        self.disk_id
    }

    /// Whether the copy at the start of the disk was valid when the table was read. If not, writing repairs it.
    #[must_use]
    pub fn primary_was_valid(&self) -> bool {
        self.primary_valid
    }

    /// What was wrong with one of the two copies when the table was read. If something was, writing repairs it.
    #[must_use]
    pub fn flaw(&self) -> Option<Flaw> {
        if !self.primary_valid {
            Some(Flaw::Primary)
        } else if !self.backup_valid {
            Some(Flaw::Backup)
        } else {
            self.grown.as_ref().map(|_| Flaw::NotAtTheEnd)
        }
    }

    /// All partitions, by number.
    pub fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.partitions.values()
    }

    /// The partition with this number.
    #[must_use]
    pub fn partition(&self, number: u32) -> Option<&Partition> {
        self.partitions.get(&number)
    }

    /// On a disk with these `ends`.
    fn check_extents(&self, ends: &Ends) -> Result<(), TableError> {
        let sector = self.sector.as_u64();
        // A header and the entries at either end, and the MBR at the start.
        let copy = sector + u64::from(MAX_ENTRIES * ENTRY_SIZE);
        let reserved = sector + copy;
        let usable_end = ends.size().saturating_sub(copy);
        let mut by_start: Vec<_> = self.partitions.values().collect();
        by_start.sort_by_key(|partition| partition.start);
        let mut free_from = reserved;
        for partition in by_start {
            let bad = |problem: &str| TableError::Layout {
                number: partition.number,
                problem: problem.to_owned(),
            };
            let end = partition
                .start
                .checked_add(partition.size)
                .ok_or_else(|| bad("ends beyond any disk"))?;
            if partition.start % sector != 0 || partition.size % sector != 0 || partition.size == 0 {
                return Err(bad("does not consist of whole sectors"));
            }
            if partition.start < free_from || end > usable_end {
                return Err(bad("overlaps another or the table, or lies beyond the end of the disk"));
            }
            if partition.label.encode_utf16().count() > 36 {
                return Err(bad("has a label of more than 36 characters"));
            }
            free_from = end;
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Copy {
    Primary,
    Backup,
}

fn sector_size_of(bytes: u64) -> Result<LogicalBlockSize, TableError> {
    match bytes {
        512 => Ok(LogicalBlockSize::Lb512),
        4096 => Ok(LogicalBlockSize::Lb4096),
        other => Err(TableError::SectorSize(other)),
    }
}

/// The byte after the backup header, as the primary header has it, if there is one at all.
fn backup_end(head: &[u8], sector: u64) -> Option<u64> {
    let header = head.get(usize::try_from(sector).ok()?..)?;
    if header.get(..8)? != b"EFI PART" {
        return None;
    }
    let lba = u64::from_le_bytes(header.get(32..40)?.try_into().ok()?);
    lba.checked_add(1)?.checked_mul(sector)
}

/// Decodes one copy, with the other taken out of sight.
fn decode(ends: &Ends, sector: LogicalBlockSize, copy: Copy) -> Result<GptDisk<Ends>, String> {
    let mut one = ends.clone();
    let size = sector.as_usize();
    let last = one.tail().len() - size;
    let header = match copy {
        Copy::Primary => {
            one.tail_mut()[last..].fill(0);
            &one.head()[size..2 * size]
        }
        Copy::Backup => {
            one.head_mut()[size..2 * size].fill(0);
            &one.tail()[last..]
        }
    };
    // The crate asserts on the size of an entry and believes any number of them.
    let field = |at: usize| {
        header
            .get(at..at + 4)
            .and_then(|four| four.try_into().ok())
            .map(u32::from_le_bytes)
    };
    if header.starts_with(b"EFI PART") && (field(80), field(84)) != (Some(MAX_ENTRIES), Some(ENTRY_SIZE)) {
        return Err(format!("it has other than {MAX_ENTRIES} entries of {ENTRY_SIZE} bytes"));
    }
    GptConfig::new()
        .writable(true)
        .logical_block_size(sector)
        .open_from_device(one)
        .map_err(|error| error.to_string())
}

fn partitions_of(disk: &GptDisk<Ends>, sector: LogicalBlockSize) -> Result<BTreeMap<u32, Partition>, TableError> {
    let sector = sector.as_u64();
    let one = |(number, entry): (&u32, &gpt::partition::Partition)| {
        let bad = || TableError::Layout {
            number: *number,
            problem: "ends before it begins or beyond any disk".to_owned(),
        };
        let start = entry.first_lba.checked_mul(sector).ok_or_else(bad)?;
        let sectors = entry
            .last_lba
            .checked_sub(entry.first_lba)
            .and_then(|difference| difference.checked_add(1));
        let size = sectors
            .and_then(|sectors| sectors.checked_mul(sector))
            .ok_or_else(bad)?;
        start.checked_add(size).ok_or_else(bad)?;
        let partition = Partition {
            number: *number,
            kind: entry.part_type_guid.guid,
            id: entry.part_guid,
            start,
            size,
            attributes: entry.flags,
            label: entry.name.clone(),
        };
        Ok((*number, partition))
    };
    disk.partitions()
        .iter()
        .filter(|(_, entry)| entry.is_used())
        .map(one)
        .collect()
}
