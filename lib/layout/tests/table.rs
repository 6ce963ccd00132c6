//! The partition table on an image file: read back, repaired, and cut at every point of a change.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Command;

use twinhull_layout::table::{Partition, SlotContent, TableError};
use twinhull_layout::{Arch, RootHash, Slot, Table, Version, partition};
use uuid::Uuid;

const MIB: u64 = 1024 * 1024;
const DISK: u64 = 64 * MIB;
const ARCH: Arch = Arch::X86_64;

fn layout() -> Vec<Partition> {
    let kinds = [
        (partition::ESP, partition::ESP_LABEL),
        (partition::root(ARCH), partition::EMPTY_LABEL),
        (partition::root_verity(ARCH), partition::EMPTY_LABEL),
        (partition::root_verity_signature(ARCH), partition::EMPTY_LABEL),
        (partition::root(ARCH), partition::EMPTY_LABEL),
        (partition::root_verity(ARCH), partition::EMPTY_LABEL),
        (partition::root_verity_signature(ARCH), partition::EMPTY_LABEL),
        (partition::STATE, partition::STATE_LABEL),
    ];
    (1..)
        .zip(kinds)
        .map(|(number, (kind, label))| Partition {
            number,
            kind,
            id: Uuid::from_u128(u128::from(number)),
            start: u64::from(number) * 4 * MIB,
            size: 4 * MIB,
            attributes: if number == 8 { partition::GROW_FILE_SYSTEM } else { 0 },
            label: label.to_owned(),
        })
        .collect()
}

fn disk(sector: u64) -> File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(DISK).unwrap();
    Table::create(DISK, sector, Uuid::from_u128(99), layout())
        .unwrap()
        .write(&file)
        .unwrap();
    file
}

fn version() -> Version {
    "1.10.0".parse().unwrap()
}

fn hash() -> RootHash {
    RootHash::from([0xa5; 32])
}

fn slot_b(disk: &File, sector: u64) -> SlotContent {
    Table::read(disk, sector)
        .unwrap()
        .slot(Slot::B, ARCH)
        .unwrap()
        .content()
}

#[test]
fn what_was_written_is_read_back_at_both_sector_sizes() {
    for sector in [512, 4096] {
        let disk = disk(sector);
        let table = Table::read(&disk, sector).unwrap();
        assert_eq!(table.partitions().cloned().collect::<Vec<_>>(), layout());
        assert_eq!(table.disk_id(), Uuid::from_u128(99));
        assert_eq!(table.slot(Slot::A, ARCH).unwrap().content(), SlotContent::Empty);
    }
}

#[test]
fn other_tools_find_the_table_valid() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(DISK).unwrap();
    Table::create(DISK, 512, Uuid::from_u128(99), layout())
        .unwrap()
        .write(file.as_file())
        .unwrap();
    let output = Command::new("sfdisk")
        .arg("--verify")
        .arg(file.path())
        .output()
        .expect("sfdisk, of package fdisk");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("No errors detected"), "{said}");
}

#[test]
fn assigned_slot_is_found_by_its_root_hash() {
    let disk = disk(512);
    let mut table = Table::read(&disk, 512).unwrap();
    table.assign(Slot::B, &version(), &hash());
    table.write(&disk).unwrap();

    let table = Table::read(&disk, 512).unwrap();
    assert_eq!(table.slot_holding(&hash(), ARCH).unwrap(), Some(Slot::B));
    assert_eq!(slot_b(&disk, 512), SlotContent::Release(version()));

    let mut table = table;
    table.invalidate(Slot::B, [Uuid::from_u128(7), Uuid::from_u128(8), Uuid::from_u128(9)]);
    table.write(&disk).unwrap();
    assert_eq!(slot_b(&disk, 512), SlotContent::Empty);
    assert_eq!(
        Table::read(&disk, 512).unwrap().slot_holding(&hash(), ARCH).unwrap(),
        None
    );
}

#[test]
fn cut_anywhere_in_a_change_leaves_the_table_of_before_or_after() {
    for damaged_primary in [false, true] {
        let original = disk(512);
        if damaged_primary {
            // Torn entries under a good header: the case a header checksum alone does not see.
            original.write_all_at(&[0xff; 512], 2 * 512 + 128).unwrap();
        }
        let mut changed = Table::read(&original, 512).unwrap();
        assert_eq!(changed.primary_was_valid(), !damaged_primary);
        let before = changed.slot(Slot::B, ARCH).unwrap();
        changed.assign(Slot::B, &version(), &hash());
        let after = changed.slot(Slot::B, ARCH).unwrap();

        let mut bytes = vec![0; usize::try_from(DISK).unwrap()];
        original.read_exact_at(&mut bytes, 0).unwrap();
        let state = tempfile::tempfile().unwrap();
        state.write_all_at(&bytes, 0).unwrap();
        for stage in changed.write_stages().unwrap() {
            for write in &stage.writes {
                for (index, sector) in write.bytes.chunks(512).enumerate() {
                    // Garbage in the sector under way, as a disk may leave it when power goes.
                    let offset = write.offset + index as u64 * 512;
                    state.write_all_at(&[0x5a; 512], offset).unwrap();
                    let seen = Table::read(&state, 512).unwrap().slot(Slot::B, ARCH).unwrap();
                    assert!(seen == before || seen == after, "{} at {offset}", stage.purpose);
                    state.write_all_at(sector, offset).unwrap();
                    let seen = Table::read(&state, 512).unwrap().slot(Slot::B, ARCH).unwrap();
                    assert!(seen == before || seen == after, "{} after {offset}", stage.purpose);
                }
            }
        }
        let last = Table::read(&state, 512).unwrap();
        assert!(last.primary_was_valid());
        assert_eq!(last.slot(Slot::B, ARCH).unwrap(), after);
    }
}

#[test]
fn enlarged_disk_keeps_its_backup_where_it_was() {
    let disk = disk(512);
    disk.set_len(DISK * 2).unwrap();
    let mut table = Table::read(&disk, 512).unwrap();
    table.assign(Slot::B, &version(), &hash());
    table.write(&disk).unwrap();
    assert_eq!(slot_b(&disk, 512), SlotContent::Release(version()));
    // The backup at the old end was written too: with the primary gone and the disk cut back, it is found.
    disk.write_all_at(&[0; 512], 512).unwrap();
    disk.set_len(DISK).unwrap();
    assert_eq!(slot_b(&disk, 512), SlotContent::Release(version()));
}

#[test]
fn disk_without_a_table_is_an_error_that_names_both_copies() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(DISK).unwrap();
    let error = Table::read(&file, 512).unwrap_err();
    assert!(matches!(error, TableError::NoValidCopy { .. }), "{error}");
}

#[test]
fn hostile_entry_counts_are_refused_without_reading_them() {
    let disk = disk(512);
    for header in [512, DISK - 512] {
        disk.write_all_at(&u32::MAX.to_le_bytes(), header + 80).unwrap();
    }
    assert!(matches!(
        Table::read(&disk, 512).unwrap_err(),
        TableError::NoValidCopy { .. }
    ));
}

#[test]
fn image_of_another_architecture_is_refused() {
    let table = Table::read(&disk(512), 512).unwrap();
    let error = table.slot(Slot::A, Arch::Aarch64).unwrap_err();
    assert!(matches!(error, TableError::Layout { number: 2, .. }), "{error}");
}

#[test]
fn overlapping_partitions_are_refused() {
    let mut partitions = layout();
    partitions[3].start -= 512;
    assert!(Table::create(DISK, 512, Uuid::from_u128(99), partitions).is_err());
}
