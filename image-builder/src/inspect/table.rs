//! Both copies of the partition table.

use std::fs::File;
use std::io;
use std::path::Path;

use twinhull_layout::table::Medium;
use twinhull_layout::{Arch, Slot, Table, partition};

use super::{Report, SECTOR, unfit};
use crate::error::Result;

/// Bytes of the protective MBR, the header and 128 entries, in sectors of 512 bytes.
const PRIMARY_COPY: u64 = 34 * SECTOR;

/// A disk whose first copy of the table is blank, so that only the other can be read.
struct WithoutPrimary<'a>(&'a File);

impl Medium for WithoutPrimary<'_> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        Medium::read_exact_at(self.0, buffer, offset)?;
        let blank = usize::try_from(PRIMARY_COPY.saturating_sub(offset)).unwrap_or(usize::MAX);
        let blank = blank.min(buffer.len());
        buffer[..blank].fill(0);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
}

/// Reads both copies and compares them; returns the table and the architecture that its types speak of.
pub(super) fn inspect(file: &File, path: &Path, report: &mut Report) -> Result<(Table, Arch)> {
    let table = Table::read(file, SECTOR).map_err(|error| unfit(path, &error))?;
    let count = table.partitions().count();
    if table.primary_was_valid() {
        report.good("table", format!("{count} partitions, disk {}", table.disk_id()));
    } else {
        report.bad("table", "damaged", "the copy at the beginning of the disk is not valid");
    }
    match Table::read(&WithoutPrimary(file), SECTOR) {
        Ok(other) if other.partitions().eq(table.partitions()) && other.disk_id() == table.disk_id() => {
            report.good("backup table", "the same");
        }
        Ok(_) => report.bad("backup table", "another", "the copies of the partition table differ"),
        Err(error) => report.bad("backup table", "damaged", error.to_string()),
    }
    let kind = table.partition(Slot::A.root_number()).map(|partition| partition.kind);
    let arch = [Arch::X86_64, Arch::Aarch64]
        .into_iter()
        .find(|arch| kind == Some(partition::root(*arch)))
        .ok_or_else(|| unfit(path, &"partition 2 is no root partition"))?;
    report.good("architecture", arch.to_string());
    Ok((table, arch))
}
