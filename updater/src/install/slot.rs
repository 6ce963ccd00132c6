//! The two slots in the partition table.

use std::io as std_io;

use twinhull_layout::table::{Flaw, Medium, SlotContent, SlotPartitions};
use twinhull_layout::{Slot, Table};
use twinhull_trust::ReleaseDocument;

use super::entries::our_entries;
use super::{InstallError, head};
use crate::host::Running;
use crate::io::Io;

/// Both slots of the boot disk.
#[derive(Debug, Clone)]
pub struct Slots {
    /// The one that runs.
    pub active: Slot,
    /// The partitions of the one that runs.
    pub active_partitions: SlotPartitions,
    /// The partitions of the other.
    pub inactive_partitions: SlotPartitions,
}

impl Slots {
    /// Reads the partition table and finds the slot that holds the running content.
    ///
    /// # Errors
    /// The disk cannot be read, its table is not ours, or neither slot holds what runs.
    pub fn read(io: &dyn Io, running: &Running) -> Result<Self, InstallError> {
        let table = table(io)?;
        let active = table
            .slot_holding(&running.root_hash, running.arch)?
            .ok_or(InstallError::NoActiveSlot {
                hash: running.root_hash,
            })?;
        Ok(Self {
            active,
            active_partitions: table.slot(active, running.arch)?,
            inactive_partitions: table.slot(active.other(), running.arch)?,
        })
    }

    /// The slot that does not run.
    pub fn inactive(&self) -> Slot {
        self.active.other()
    }
}

/// The partition table of the boot disk, as it is on the medium.
///
/// # Errors
/// The disk cannot be read or has no valid table.
pub fn table(io: &dyn Io) -> Result<Table, InstallError> {
    Ok(Table::read(&Disk(io), io.sector_size())?)
}

struct Disk<'a>(&'a dyn Io);

impl Medium for Disk<'_> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std_io::Result<()> {
        self.0.read_disk(offset, buffer)
    }

    fn size(&self) -> std_io::Result<u64> {
        self.0.disk_size()
    }
}

/// Makes sure that nothing boots `slot`: first its entry goes, so that the loader does not offer what is about to be overwritten,
/// then its name in the partition table. A slot that is empty already is not touched.
pub(super) fn invalidate(io: &dyn Io, running: &Running, slot: Slot) -> Result<(), InstallError> {
    let entries = our_entries(io, running)?;
    // Never take the last thing that boots.
    entries.way_back()?;
    let mut names: Vec<String> = entries.others.iter().map(ToString::to_string).collect();
    for name in &names {
        head::take(io, name)?;
    }
    names.extend(entries.unfinished);
    // Not flushed: whatever a power cut leaves of the names boots nothing.
    for name in &names {
        io.remove_entry(name)
            .map_err(InstallError::esp(format!("remove {name}")))?;
    }

    let mut table = table(io)?;
    let partitions = table.slot(slot, running.arch)?;
    let is_empty = [&partitions.root, &partitions.verity, &partitions.signature]
        .iter()
        .all(|partition| partition.label == twinhull_layout::partition::EMPTY_LABEL);
    if is_empty && partitions.content() == SlotContent::Empty && table.primary_was_valid() {
        return Ok(());
    }
    table.invalidate(slot, io.new_ids());
    write(io, &table)
}

/// Gives `slot` the name of what it holds.
pub(super) fn assign(
    io: &dyn Io,
    running: &Running,
    slot: Slot,
    release: &ReleaseDocument,
) -> Result<(), InstallError> {
    let mut table = table(io)?;
    // The table may have been changed by another tool while we wrote: never rename what runs.
    if table.slot(slot, running.arch)?.holds(&running.root_hash) {
        return Err(InstallError::NoActiveSlot {
            hash: running.root_hash,
        });
    }
    table.assign(slot, &release.version, &release.root.root_hash);
    if release.root.signature.is_some() {
        table.assign_signature(slot, &release.version);
    }
    write(io, &table)
}

/// Writes the partition table anew where one of its copies is damaged, or not where firmware looks for it: without the other one the
/// host would not start. Gives what was wrong.
///
/// # Errors
/// The disk cannot be read or written, neither copy is valid, or the medium did not take what was written.
pub fn mend_table(io: &dyn Io) -> Result<Option<Flaw>, InstallError> {
    let table = table_from_medium(io)?;
    let Some(flaw) = table.flaw() else {
        return Ok(None);
    };
    write(io, &table)?;
    match table_from_medium(io)?.flaw() {
        None => Ok(Some(flaw)),
        Some(_) => Err(InstallError::disk("keep the partition table on the disk")(
            std_io::Error::other("it is damaged again right after it was written"),
        )),
    }
}

/// As [`table`], with nothing of what is in memory: that is what was there at the start.
fn table_from_medium(io: &dyn Io) -> Result<Table, InstallError> {
    let failed = InstallError::disk("read the partition table from the medium");
    io.disk_size()
        .and_then(|size| io.forget_disk(0, size))
        .map_err(failed)?;
    table(io)
}

/// Writes a table so that at each instant one copy of it is whole.
fn write(io: &dyn Io, table: &Table) -> Result<(), InstallError> {
    for stage in table.write_stages()? {
        for write in &stage.writes {
            io.write_disk(write.offset, &write.bytes)
                .map_err(InstallError::disk(stage.purpose))?;
        }
        io.flush_disk().map_err(InstallError::disk(stage.purpose))?;
    }
    Ok(())
}
