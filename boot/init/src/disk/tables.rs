//! PARTUUIDs, from the partition tables themselves.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use twinhull_layout::Table;

use super::Partition;
use crate::bounded;

/// The kernel counts in these, whatever the disk's own sectors are.
const SECTOR: u64 = 512;

/// A sector size is a short decimal number.
const NUMBER_LIMIT: u64 = 64;

/// Fills in the PARTUUID of every partition in `partitions`, reading each disk's table once through `table`.
///
/// The kernel and this program read the table at different times. A partition that is not where the table has it
/// gets no PARTUUID.
pub(super) fn identify(partitions: &mut [Partition], mut table: impl FnMut(&str) -> Option<Table>) {
    let mut tables: BTreeMap<String, Option<Table>> = BTreeMap::new();
    for partition in partitions {
        let table = tables
            .entry(partition.disk.clone())
            .or_insert_with(|| table(&partition.disk));
        let entry = table.as_ref().and_then(|table| table.partition(partition.number));
        partition.partuuid = entry
            .filter(|entry| Some(entry.start) == partition.start.checked_mul(SECTOR))
            .filter(|entry| Some(entry.size) == partition.sectors.checked_mul(SECTOR))
            .map(|entry| entry.id);
    }
}

/// The table of disk `name`; `None` when it has no valid GPT or cannot be read.
pub(super) fn read(name: &str) -> Option<Table> {
    let attribute = Path::new("/sys/class/block")
        .join(name)
        .join("queue/logical_block_size");
    let sector = bounded::read_text(&attribute, NUMBER_LIMIT).ok()?.trim().parse().ok()?;
    let disk = File::open(Path::new("/dev").join(name)).ok()?;
    Table::read(&disk, sector).ok()
}

#[cfg(test)]
mod tests {
    use twinhull_layout::table;
    use uuid::Uuid;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn id(byte: u8) -> Uuid {
        Uuid::from_bytes([byte; 16])
    }

    fn disk(first: u8) -> Table {
        let entry = |number, id| table::Partition {
            number,
            kind: twinhull_layout::partition::STATE,
            id,
            start: u64::from(number) * MIB,
            size: MIB,
            attributes: 0,
            label: String::new(),
        };
        Table::create(
            16 * MIB,
            512,
            id(0xff),
            vec![entry(1, id(first)), entry(2, id(first + 1))],
        )
        .unwrap()
    }

    fn partition(disk: &str, number: u32, start: u64, sectors: u64) -> Partition {
        let name = format!("{disk}{number}");
        Partition {
            name,
            disk: disk.to_owned(),
            device: (8, number),
            number,
            partuuid: None,
            start,
            sectors,
        }
    }

    #[test]
    fn every_partition_gets_the_id_of_its_own_disk() {
        let mut partitions = [
            partition("sda", 1, 2048, 2048),
            partition("sda", 2, 4096, 2048),
            partition("sdb", 1, 2048, 2048),
            partition("old", 1, 2048, 2048),
        ];
        let mut reads = Vec::new();
        identify(&mut partitions, |name| {
            reads.push(name.to_owned());
            match name {
                "sda" => Some(disk(0x10)),
                "sdb" => Some(disk(0x20)),
                _ => None,
            }
        });
        let ids: Vec<_> = partitions.iter().map(|partition| partition.partuuid).collect();
        assert_eq!(ids, [Some(id(0x10)), Some(id(0x11)), Some(id(0x20)), None]);
        assert_eq!(reads, ["sda", "sdb", "old"]);
    }

    #[test]
    fn partition_that_moved_has_no_id() {
        let mut partitions = [
            partition("sda", 1, 2049, 2048),
            partition("sda", 2, 4096, 2047),
            partition("sda", 3, 2048, 2048),
            partition("sda", 1, u64::MAX, u64::MAX),
        ];
        identify(&mut partitions, |_| Some(disk(0x10)));
        assert!(partitions.iter().all(|partition| partition.partuuid.is_none()));
    }
}
