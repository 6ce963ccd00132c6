//! The partition table on an image file: read back, repaired, and cut at every point of a change.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Command;

use twinhull_layout::table::{Flaw, Medium, Partition, SlotContent, TableError};
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

/// What firmware finds (UEFI 2.10, 5.3.2): the primary copy, or else a backup in the last sector of the disk and nowhere else.
fn firmware(disk: &File, sector: u64) -> Table {
    struct WithoutPrimary<'a>(&'a File, u64);
    impl Medium for WithoutPrimary<'_> {
        fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
            Medium::read_exact_at(self.0, buffer, offset)?;
            let header = usize::try_from(self.1).unwrap();
            if offset == 0 && buffer.len() >= 2 * header {
                buffer[header..2 * header].fill(0);
            }
            Ok(())
        }
        fn size(&self) -> std::io::Result<u64> {
            Medium::size(self.0)
        }
    }
    match Table::read(disk, sector) {
        Ok(table) if table.primary_was_valid() => table,
        _ => Table::read(&WithoutPrimary(disk, sector), sector).expect("a copy for the firmware"),
    }
}

#[test]
fn cut_anywhere_in_a_change_leaves_firmware_the_table_of_before_or_after() {
    // Grown: the disk has become larger since the table was written.
    for (sector, damaged_primary, grown) in [
        (512, false, false),
        (512, true, false),
        (512, false, true),
        (512, true, true),
        (4096, false, false),
        (4096, false, true),
    ] {
        let state = disk(sector);
        if grown {
            state.set_len(DISK + 3 * MIB + sector).unwrap();
        }
        if damaged_primary {
            // Torn entries under a good header: the case a header checksum alone does not see.
            state.write_all_at(&[0xff; 512], 2 * sector + 128).unwrap();
        }
        let mut changed = Table::read(&state, sector).unwrap();
        assert_eq!(changed.primary_was_valid(), !damaged_primary);
        let before = changed.slot(Slot::B, ARCH).unwrap();
        changed.assign(Slot::B, &version(), &hash());
        let after = changed.slot(Slot::B, ARCH).unwrap();

        // Already without a copy for the firmware, this host only gets one.
        let mut blind = damaged_primary && grown;
        for stage in changed.write_stages().unwrap() {
            for write in &stage.writes {
                for (index, bytes) in write.bytes.chunks(usize::try_from(sector).unwrap()).enumerate() {
                    // Garbage in the sector under way, as a disk may leave it when power goes.
                    let offset = write.offset + index as u64 * sector;
                    for landed in [&vec![0x5a; bytes.len()], bytes] {
                        state.write_all_at(landed, offset).unwrap();
                        let seen = Table::read(&state, sector).unwrap().slot(Slot::B, ARCH).unwrap();
                        assert!(seen == before || seen == after, "{} at {offset}", stage.purpose);
                        if !blind {
                            let seen = firmware(&state, sector).slot(Slot::B, ARCH).unwrap();
                            assert!(seen == before || seen == after, "{} at {offset}", stage.purpose);
                        }
                    }
                }
            }
            blind = false;
        }
        let last = Table::read(&state, sector).unwrap();
        assert!(last.primary_was_valid());
        assert_eq!(last.slot(Slot::B, ARCH).unwrap(), after);
        state.write_all_at(&vec![0; 4096], sector).unwrap();
        assert_eq!(
            firmware(&state, sector).slot(Slot::B, ARCH).unwrap(),
            after,
            "the backup is at the end"
        );
    }
}

#[test]
fn flaw_of_either_copy_is_seen_and_writing_repairs_it() {
    for sector in [512, 4096] {
        // Eight bytes at a place that is counted from the end if negative; or else the disk grows.
        let back = -i64::try_from(sector).unwrap() + 16;
        let entries = i64::try_from(2 * sector + 128).unwrap();
        for (flaw, place) in [
            (Flaw::Primary, Some(-back + 32)),
            (Flaw::Primary, Some(entries)),
            (Flaw::Backup, Some(back)),
            (Flaw::NotAtTheEnd, None),
        ] {
            let disk = disk(sector);
            let whole = Table::read(&disk, sector).unwrap();
            assert_eq!(whole.flaw(), None);
            match place {
                Some(place) => {
                    let at = DISK.checked_add_signed(place).filter(|_| place < 0);
                    let at = at.unwrap_or(place.unsigned_abs());
                    disk.write_all_at(&[0xa5; 8], at).unwrap();
                }
                None => disk.set_len(DISK + 3 * MIB).unwrap(),
            }
            let flawed = Table::read(&disk, sector).unwrap();
            assert_eq!(flawed.flaw(), Some(flaw));
            flawed.write(&disk).unwrap();
            let mended = Table::read(&disk, sector).unwrap();
            assert_eq!(mended.flaw(), None, "{flaw:?}");
            assert!(mended.partitions().eq(whole.partitions()), "{flaw:?}");
        }
    }
}

#[test]
fn table_of_a_disk_beyond_what_32_bits_count_is_read_and_written() {
    // 3 TiB are more than 2^32 sectors of 512 bytes; slot B begins beyond 4 GiB.
    const TIB: u64 = 1024 * 1024 * MIB;
    for (sector, size) in [(512, 3 * TIB), (4096, 3 * TIB)] {
        let file = tempfile::tempfile().unwrap();
        file.set_len(size).unwrap();
        let mut partitions = layout();
        let mut start = MIB;
        for partition in &mut partitions {
            partition.start = start;
            partition.size = if partition.number == 8 { 2 * TIB } else { 5120 * MIB };
            start += partition.size;
        }
        let table = Table::create(size, sector, Uuid::from_u128(99), partitions.clone()).unwrap();
        table.write(&file).unwrap();
        let mut table = firmware(&file, sector);
        assert!(table.partitions().eq(&partitions));
        table.assign(Slot::B, &version(), &hash());
        table.write(&file).unwrap();
        let place = firmware(&file, sector).slot(Slot::B, ARCH).unwrap();
        assert!(place.holds(&hash()) && place.root.start > 4096 * MIB, "{place:?}");
    }
}

#[test]
fn last_partition_may_reach_the_table_behind_it() {
    // As systemd-repart leaves it when it has grown the state.
    for sector in [512, 4096] {
        let copy = sector + 128 * 128;
        let mut partitions = layout();
        partitions[7].size = DISK - copy - partitions[7].start;
        let table = Table::create(DISK, sector, Uuid::from_u128(99), partitions.clone()).unwrap();
        let file = tempfile::tempfile().unwrap();
        file.set_len(DISK).unwrap();
        table.write(&file).unwrap();
        assert!(Table::read(&file, sector).unwrap().partitions().eq(&partitions));
        partitions[7].size += sector;
        assert!(Table::create(DISK, sector, Uuid::from_u128(99), partitions).is_err());
    }
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
