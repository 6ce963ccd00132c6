//! Files that rot, are changed, come and go, on a folder that stands for the EFI system partition.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;

const KERNEL: &str = "EFI/Linux/twinhull-server_1.0.0.efi";
const LOADER: &str = "EFI/BOOT/BOOTX64.EFI";

struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    /// With one kernel image and one loader, seen for the first time.
    fn new() -> Self {
        let host = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        host.put(KERNEL, &content(3));
        host.put(LOADER, &content(5));
        let found = host.scrub();
        assert_eq!(
            found,
            [(KERNEL.to_owned(), Finding::New), (LOADER.to_owned(), Finding::New)]
        );
        host
    }

    fn esp(&self) -> PathBuf {
        self.folder.path().join("esp")
    }

    fn copies(&self) -> PathBuf {
        self.folder.path().join("copies")
    }

    /// Writes a file, which was changed in 2026 by all that can be told.
    fn put(&self, path: &str, bytes: &[u8]) {
        let at = self.esp().join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(&at, bytes).unwrap();
        set_time(&at, UNIX_EPOCH + Duration::from_secs(1_780_000_000));
    }

    fn get(&self, path: &str) -> Vec<u8> {
        fs::read(self.esp().join(path)).unwrap()
    }

    fn scrub(&self) -> Vec<(String, Finding)> {
        let found = scrub(&self.esp(), &self.copies());
        found.into_iter().map(|(path, found)| (path, found.unwrap())).collect()
    }

    /// What is found of the kernel image.
    fn kernel(&self) -> Finding {
        let found = self.scrub();
        found.into_iter().find(|(path, _)| path.starts_with(ENTRIES)).unwrap().1
    }
}

fn set_time(path: &Path, time: SystemTime) {
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(time)
        .unwrap();
}

/// Some blocks and a half, none like another.
fn content(seed: u8) -> Vec<u8> {
    let blocks = (1..=7_u8).flat_map(|block| [block.wrapping_mul(29) ^ seed; BLOCK]);
    blocks.take(BLOCK * 6 + 100).collect()
}

/// Changes a file without anybody's knowing: the time of the last change stays.
fn secretly(path: &Path, change: impl FnOnce(&File)) {
    let time = fs::metadata(path).unwrap().modified().unwrap();
    change(&File::options().read(true).write(true).open(path).unwrap());
    set_time(path, time);
}

/// Turns bytes over.
fn rot(path: &Path, offset: u64, bytes: usize) {
    secretly(path, |file| {
        let mut there = vec![0; bytes];
        file.read_exact_at(&mut there, offset).unwrap();
        for byte in &mut there {
            *byte ^= 0xff;
        }
        file.write_all_at(&there, offset).unwrap();
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_rots_is_put_right_and_nothing_else_is_touched(
        places in proptest::collection::vec((0..(BLOCK as u64) * 6, 1_usize..100), 1..5),
        path in prop_oneof![Just(KERNEL), Just(LOADER)],
    ) {
        let host = Host::new();
        let before = host.get(path);
        let time = fs::metadata(host.esp().join(path)).unwrap().modified().unwrap();
        for (offset, bytes) in &places {
            rot(&host.esp().join(path), *offset, *bytes);
        }
        let now = host.get(path);
        let differ = now.chunks(BLOCK).zip(before.chunks(BLOCK)).filter(|(a, b)| a != b).count() as u64;
        let found = host.scrub();
        let expected = if differ == 0 { Finding::Whole } else { Finding::Mended { blocks: differ } };
        prop_assert!(found.contains(&(path.to_owned(), expected)), "{found:?}");
        prop_assert_eq!(host.get(path), before);
        prop_assert_eq!(fs::metadata(host.esp().join(path)).unwrap().modified().unwrap(), time);
        prop_assert!(host.scrub().iter().all(|(_, found)| *found == Finding::Whole));
    }
}

#[test]
fn copies_are_for_root_only() {
    let host = Host::new();
    for name in [KERNEL.to_owned(), format!("{KERNEL}.json")] {
        let mode = fs::metadata(host.copies().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn what_somebody_changed_is_taken_as_it_is() {
    let host = Host::new();
    let mut signed_anew = content(3);
    signed_anew[BLOCK] ^= 1;
    host.put(KERNEL, &signed_anew);
    set_time(
        &host.esp().join(KERNEL),
        UNIX_EPOCH + Duration::from_secs(1_790_000_000),
    );
    assert_eq!(host.kernel(), Finding::Changed);
    assert_eq!(host.get(KERNEL), signed_anew);
    rot(&host.esp().join(KERNEL), 0, 4);
    assert_eq!(host.kernel(), Finding::Mended { blocks: 1 });
    assert_eq!(host.get(KERNEL), signed_anew);
}

#[test]
fn mending_that_was_cut_off_goes_on_though_the_time_is_another() {
    let host = Host::new();
    let path = host.esp().join(KERNEL);
    rot(&path, 10, 4);
    rot(&path, 3 * BLOCK as u64, 4);
    let mut copy = Copy::at(&host.copies(), KERNEL).unwrap();
    let modified = copy.record().unwrap().modified;
    copy.note(modified, true).unwrap();
    // The first block was written when the power went.
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .write_all_at(&content(3)[..BLOCK], 0)
        .unwrap();
    assert_eq!(host.kernel(), Finding::Mended { blocks: 1 });
    assert_eq!(host.get(KERNEL), content(3));
    assert!(!Copy::at(&host.copies(), KERNEL).unwrap().record().unwrap().mending);
}

#[test]
fn when_the_copy_has_rotted_as_well_the_file_is_left_alone() {
    let host = Host::new();
    rot(&host.esp().join(KERNEL), 10, 4);
    rot(&host.copies().join(KERNEL), 5000, 4);
    let rotten = host.get(KERNEL);
    assert!(matches!(host.kernel(), Finding::Damaged { .. }));
    assert_eq!(host.get(KERNEL), rotten);
}

#[test]
fn a_copy_that_has_rotted_is_made_anew() {
    let host = Host::new();
    rot(&host.copies().join(KERNEL), 5000, 4);
    assert_eq!(host.kernel(), Finding::Whole);
    assert_eq!(fs::read(host.copies().join(KERNEL)).unwrap(), content(3));
}

#[test]
fn a_record_that_cannot_be_read_is_none() {
    let host = Host::new();
    for text in ["", "{\"sha256\": 1}", &"x".repeat(10_000)] {
        fs::write(host.copies().join(format!("{KERNEL}.json")), text).unwrap();
        assert_eq!(host.kernel(), Finding::New);
        assert_eq!(host.kernel(), Finding::Whole);
    }
}

#[test]
fn another_size_is_not_mended() {
    let host = Host::new();
    secretly(&host.esp().join(KERNEL), |file| file.set_len(BLOCK as u64).unwrap());
    let Finding::Damaged { why } = host.kernel() else {
        panic!("not noticed");
    };
    assert!(why.contains("4096"), "{why}");
}

#[test]
fn an_entry_that_was_taken_away_does_not_come_back() {
    let host = Host::new();
    secretly(&host.esp().join(KERNEL), |file| {
        file.write_all_at(&[0; HEAD], 0).unwrap();
    });
    assert!(host.scrub().iter().all(|(path, _)| path == LOADER));
    assert_eq!(host.get(KERNEL)[..HEAD], [0; HEAD]);
}

#[test]
fn one_copy_serves_an_entry_under_all_its_names_and_goes_with_the_release() {
    let host = Host::new();
    let at = |name: &str| host.esp().join(ENTRIES).join(name);
    let names = [
        "twinhull-server_1.0.0.efi",
        "twinhull-server_1.0.0+3-0.efi",
        "twinhull-server_1.0.0+2-1.efi",
    ];
    for pair in names.windows(2) {
        fs::rename(at(pair[0]), at(pair[1])).unwrap();
        assert_eq!(host.kernel(), Finding::Whole);
    }
    // The loader's last resort: nobody chooses it before another.
    fs::rename(at(names[2]), at("twinhull-server_1.0.0+0-3.efi")).unwrap();
    assert_eq!(host.scrub().len(), 1);
    assert!(host.copies().join(KERNEL).exists());
    fs::remove_file(at("twinhull-server_1.0.0+0-3.efi")).unwrap();
    host.scrub();
    assert_eq!(fs::read_dir(host.copies().join(ENTRIES)).unwrap().count(), 0);
}

#[test]
fn another_file_of_a_release_that_was_forgotten_is_new() {
    let host = Host::new();
    forget_release(&host.copies(), &"twinhull-server_1.0.0+3-0.efi".parse().unwrap()).unwrap();
    host.put(KERNEL, &content(9));
    assert_eq!(host.kernel(), Finding::New);
    assert_eq!(host.get(KERNEL), content(9));
}

#[test]
fn a_loader_that_is_gone_is_told() {
    let host = Host::new();
    fs::remove_file(host.esp().join(LOADER)).unwrap();
    let found = host.scrub();
    assert!(
        matches!(&found[..], [_, (path, Finding::Damaged { .. })] if path == LOADER),
        "{found:?}"
    );
}

#[test]
fn what_a_file_system_check_salvaged_goes() {
    let host = Host::new();
    let names = [
        "FSCK0000.REC",
        "fsck0001.rec",
        "FSCK00.REC",
        "FSCKABCD.REC",
        "notes.txt",
    ];
    for name in names {
        host.put(name, b"x");
    }
    host.scrub();
    let left = names.map(|name| host.esp().join(name).exists());
    assert_eq!(left, [false, false, true, true, true]);
}

#[test]
fn files_of_others_are_left_alone() {
    let host = Host::new();
    host.put("EFI/Linux/memtest.efi", b"MZ");
    host.put("EFI/BOOT/readme.txt", b"x");
    assert_eq!(host.scrub().len(), 2);
}

#[test]
fn folder_of_copies_that_cannot_be_read_is_not_an_empty_one() {
    let host = Host::new();
    fs::remove_dir_all(host.copies()).unwrap();
    fs::write(host.copies(), "").unwrap();
    let found = scrub(&host.esp(), &host.copies());
    let listing = |error: &ScrubError| matches!(error, ScrubError::File { action: "list", .. });
    let told = found.iter().filter_map(|(_, found)| found.as_ref().err());
    // For both folders of loaders, and for the kernel images.
    assert_eq!(told.filter(|error| listing(error)).count(), 3);
}
