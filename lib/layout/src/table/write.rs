//! From an edited table to bytes on the medium, in stages.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use gpt::GptConfig;
use gpt::partition::Partition as Entry;
use gpt::partition_types::{OperatingSystem, Type};

use super::ends::Ends;
use super::{Table, TableError};

/// One write to the medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// First byte on the disk.
    pub offset: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Writes that may reach the medium in any order, before a flush.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteStage {
    /// What the stage brings about, for messages ("write the backup partition table").
    pub purpose: &'static str,
    /// The writes.
    pub writes: Vec<Write>,
}

impl Table {
    /// What has to be written so that the medium holds this table. Every stage must be flushed before the next begins:
    /// then at each instant at least one copy on the medium is whole, and is the table of before or of after.
    ///
    /// The order is: if the primary copy was not valid, the primary with what the backup says, so that there are two again;
    /// then the backup with the change; then the primary with the change.
    ///
    /// Firmware looks for the backup at the end of the disk. On a disk that has grown it is not there, so that is where this one
    /// goes: there it stands in for the primary while that is under way.
    ///
    /// # Errors
    /// The table cannot be encoded, for example because a partition was put out of bounds.
    pub fn write_stages(&self) -> Result<Vec<WriteStage>, TableError> {
        let mut stages = Vec::new();
        let target = self.grown.as_ref().unwrap_or(&self.ends);
        if !self.primary_valid {
            let unchanged = Self::read(&InMemory(&self.ends), self.sector.as_u64())?;
            let repaired = unchanged.encode(target)?;
            if self.grown.is_some() {
                stages.push(self.backup_stage(&repaired, "put a backup partition table at the end of the grown disk"));
            }
            stages.push(self.primary_stage(&repaired, "repair the primary partition table"));
        }
        let changed = self.encode(target)?;
        stages.push(self.backup_stage(&changed, "write the backup partition table"));
        stages.push(self.primary_stage(&changed, "write the primary partition table"));
        Ok(stages)
    }

    /// Writes the table to `disk`, each stage flushed before the next begins.
    ///
    /// # Errors
    /// The table cannot be encoded, or a write or flush fails; then one of the two copies is still valid.
    pub fn write(&self, disk: &File) -> Result<(), TableError> {
        for stage in self.write_stages()? {
            let failed = |source| TableError::Io {
                action: "write",
                source,
            };
            for write in &stage.writes {
                disk.write_all_at(&write.bytes, write.offset).map_err(failed)?;
            }
            disk.sync_all().map_err(failed)?;
        }
        Ok(())
    }

    /// For a disk with these `ends`.
    fn encode(&self, ends: &Ends) -> Result<Ends, TableError> {
        self.check_extents(ends)?;
        let refused = |error: gpt::GptError| TableError::Encode(error.to_string());
        let mut disk = GptConfig::new()
            .writable(true)
            .logical_block_size(self.sector)
            .create_from_device(ends.clone(), Some(self.disk_id))
            .map_err(refused)?;
        // The crate numbers entries by their order, so gaps in the numbers cannot be kept. The layout has none.
        if !self
            .partitions
            .keys()
            .copied()
            .eq(1..=u32::try_from(self.partitions.len()).unwrap_or(u32::MAX))
        {
            return Err(TableError::Encode(
                "partition numbers are not 1, 2, 3 and so on".to_owned(),
            ));
        }
        disk.update_partitions(self.entries()).map_err(refused)?;
        disk.write().map_err(refused)
    }

    fn entries(&self) -> BTreeMap<u32, Entry> {
        let sector = self.sector.as_u64();
        let entry = |partition: &super::Partition| Entry {
            part_type_guid: Type {
                guid: partition.kind,
                os: OperatingSystem::None,
            },
            part_guid: partition.id,
            first_lba: partition.start / sector,
            last_lba: (partition.start + partition.size) / sector - 1,
            flags: partition.attributes,
            name: partition.label.clone(),
        };
        self.partitions
            .iter()
            .map(|(number, partition)| (*number, entry(partition)))
            .collect()
    }

    /// Header and entries at the start; for a new disk also the MBR before them, which nothing touches afterwards.
    fn primary_stage(&self, encoded: &Ends, purpose: &'static str) -> WriteStage {
        let sector = self.sector.as_usize();
        let from = if self.new { 0 } else { sector };
        WriteStage {
            purpose,
            writes: vec![Write {
                offset: from as u64,
                bytes: encoded.head()[from..sector + self.table_length()].to_vec(),
            }],
        }
    }

    /// Entries and header at the end.
    fn backup_stage(&self, encoded: &Ends, purpose: &'static str) -> WriteStage {
        let tail = encoded.tail();
        let from = tail.len() - self.table_length();
        WriteStage {
            purpose,
            writes: vec![Write {
                offset: encoded.tail_start() + from as u64,
                bytes: tail[from..].to_vec(),
            }],
        }
    }

    /// Bytes of one copy: its header's sector and its entries.
    fn table_length(&self) -> usize {
        self.sector.as_usize() + (super::MAX_ENTRIES * super::ENTRY_SIZE) as usize
    }
}

/// The ends as read, seen as a medium again.
struct InMemory<'a>(&'a Ends);

impl super::Medium for InMemory<'_> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        use std::io::{Read, Seek, SeekFrom};
        let mut ends = self.0.clone();
        ends.seek(SeekFrom::Start(offset))?;
        ends.read_exact(buffer)
    }

    fn size(&self) -> std::io::Result<u64> {
        Ok(self.0.size())
    }
}
