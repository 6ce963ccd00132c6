//! What is refused, each with its own code, and what a refusal leaves behind: nothing.

use twinhull_trust::{Hex32, PayloadRef, ReleaseDocument};
use twinhull_updater::install::{InstallError, MaxFetch, install};
use twinhull_updater::machine::Installed;

use crate::oracle;
use crate::recorder::{Machine, Recorder};
use crate::world::{ARCH, Files, Image, images, release, version};

/// A host on 1.0.0 whose other slot is empty, and the release 1.1.0.
struct Case {
    images: [Image; 3],
    io: Recorder,
    release: ReleaseDocument,
    files: Files,
}

impl Case {
    fn new() -> Self {
        let images = images();
        let (release, files) = release(&images[2], Some(&images[1]));
        Self {
            io: Recorder::new(Machine::new(&images[1], None), &images[1]),
            images,
            release,
            files: Files::new(files),
        }
    }

    fn install(&mut self) -> Result<Installed, InstallError> {
        let running = self.images[1].running();
        install(&self.io, &mut self.files, &running, &self.release, &mut |_| {})
    }

    /// Refused with `code`, and nothing on the machine that was not there before but bytes in an empty slot.
    #[track_caller]
    fn refused(mut self, code: &str) -> InstallError {
        let before = self.io.machine();
        let error = self.install().unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        let after = self.io.machine();
        let (gpt_before, gpt_after) = (oracle::table(&before).unwrap(), oracle::table(&after).unwrap());
        assert!(gpt_before.partitions().eq(gpt_after.partitions()), "{error}");
        assert_eq!(after.entries, before.entries, "{error}");
        assert_eq!(oracle::boots(&after, &self.images), Ok(version("1.0.0")));
        error
    }

    /// The same, and not one byte was written.
    #[track_caller]
    fn refused_untouched(self, code: &str) {
        let before = self.io.machine();
        let (io, log);
        {
            let mut case = self;
            let error = case.install().unwrap_err();
            assert_eq!(error.code(), code, "{error}");
            (io, log) = case.io.into_parts();
        }
        assert_eq!(log, []);
        assert_eq!(io, before);
    }

    fn delta_of_root(&self) -> String {
        self.release
            .root
            .payloads
            .iter()
            .find(|payload| payload.base.is_some())
            .unwrap()
            .path
            .clone()
    }

    fn full_of_root(&self) -> PayloadRef {
        let full = |payload: &&PayloadRef| payload.base.is_none();
        self.release.root.payloads.iter().find(full).unwrap().clone()
    }

    fn flip(&mut self, path: &str, at: usize) {
        self.files.content.get_mut(path).unwrap()[at] ^= 0x10;
    }
}

#[test]
fn good_release_is_installed_from_what_runs() {
    let mut case = Case::new();
    let installed = case.install().unwrap();
    let machine = case.io.machine();
    assert_eq!(oracle::boots(&machine, &case.images), Ok(version("1.1.0")));
    assert_eq!(machine.entries[&case.images[2].fresh_entry()], case.images[2].kernel);
    assert!(machine.entries.contains_key(&case.images[1].entry()));
    assert!(
        installed.fetched < case.images[2].root.len() as u64 / 2,
        "{}",
        installed.fetched
    );
    let phases: Vec<&str> = installed.phases.iter().map(|spent| spent.phase.as_str()).collect();
    assert_eq!(phases, ["prepare", "root", "read back", "kernel"]);
}

#[test]
fn signed_root_hash_goes_beside_its_root_and_the_slot_says_so() {
    let mut case = Case::new();
    case.release.root.signature = Some("{\"rootHash\":\"\"}".to_owned());
    case.install().unwrap();
    let machine = case.io.machine();
    let slot = oracle::table(&machine)
        .unwrap()
        .slot(twinhull_layout::Slot::B, ARCH)
        .unwrap();
    assert_eq!(slot.signature.label, "sig_1.1.0");
    let start = usize::try_from(slot.signature.start).unwrap();
    assert_eq!(machine.disk[start..start + 16], *b"{\"rootHash\":\"\"}\0");

    let mut unsigned = Case::new();
    unsigned.install().unwrap();
    let table = oracle::table(&unsigned.io.machine()).unwrap();
    let slot = table.slot(twinhull_layout::Slot::B, ARCH).unwrap();
    assert_eq!(slot.signature.label, "_empty");
}

#[test]
fn second_run_finds_everything_in_place_and_fetches_headers_only() {
    let mut case = Case::new();
    case.install().unwrap();
    let before = case.io.machine();
    let again = case.install().unwrap();
    // The kernel image is small and is always written anew.
    let kernel = case
        .release
        .uki
        .payloads
        .iter()
        .map(|payload| payload.size)
        .sum::<u64>();
    let headers = case
        .release
        .root
        .payloads
        .iter()
        .map(|payload| payload.header_size)
        .sum::<u64>();
    assert!(again.fetched <= kernel + headers, "{}", again.fetched);
    assert_eq!(case.io.machine().entries, before.entries);
    assert_eq!(oracle::boots(&case.io.machine(), &case.images), Ok(version("1.1.0")));
}

#[test]
fn flipped_byte_in_a_header_is_refused_before_anything_is_written() {
    for at in [3, 20, 60, 100] {
        let mut case = Case::new();
        let path = case.delta_of_root();
        case.flip(&path, at);
        case.refused_untouched("payload");
    }
}

#[test]
fn flipped_byte_in_a_blob_is_refused_and_nothing_becomes_bootable() {
    let mut case = Case::new();
    let path = case.delta_of_root();
    let last = case.files.content[&path].len() - 1;
    case.flip(&path, last);
    let error = case.refused("payload");
    assert!(error.to_string().contains("damaged on its way"), "{error}");
}

#[test]
fn flipped_byte_in_the_kernel_image_is_refused() {
    let mut case = Case::new();
    let paths: Vec<String> = case
        .release
        .uki
        .payloads
        .iter()
        .map(|payload| payload.path.clone())
        .collect();
    for path in paths {
        let last = case.files.content[&path].len() - 1;
        case.flip(&path, last);
    }
    // The root is in place by then, under its name, and without an entry nothing boots it.
    let error = case.install().unwrap_err();
    assert_eq!(error.code(), "payload");
    let machine = case.io.machine();
    assert_eq!(oracle::boots(&machine, &case.images), Ok(version("1.0.0")));
    assert!(!machine.entries.contains_key(&case.images[2].fresh_entry()));
}

#[test]
fn payload_that_goes_on_or_ends_early_is_refused() {
    let mut case = Case::new();
    let path = case.delta_of_root();
    case.files.content.get_mut(&path).unwrap().push(0);
    case.refused("payload");

    let mut case = Case::new();
    let path = case.delta_of_root();
    case.files.content.get_mut(&path).unwrap().pop();
    case.refused("payload");
}

#[test]
fn payload_hashed_for_another_tree_is_refused_before_anything_is_written() {
    let mut case = Case::new();
    case.release.root.salt = Hex32::from([99; 32]);
    case.refused_untouched("release-inconsistent");
}

#[test]
fn missing_payload_is_a_network_fault() {
    let mut case = Case::new();
    let path = case.delta_of_root();
    case.files.content.remove(&path);
    case.refused_untouched("network");
}

#[test]
fn downloads_that_break_off_are_taken_up_where_they_broke() {
    let mut case = Case::new();
    case.release.root.payloads.retain(|payload| payload.base.is_none());
    // Enough for one segment and a bit.
    case.files.cut_after = Some(1_200_000);
    case.install().unwrap();
    assert_eq!(oracle::boots(&case.io.machine(), &case.images), Ok(version("1.1.0")));
    let path = &case.release.root.payloads[0].path;
    let from: Vec<u64> = case
        .files
        .opened
        .iter()
        .filter(|(opened, _)| opened == path)
        .map(|(_, from)| *from)
        .collect();
    assert!(from.len() >= 3 && from.is_sorted(), "{from:?}");
}

#[test]
fn download_that_gets_nowhere_is_given_up() {
    let mut case = Case::new();
    case.release.root.payloads.retain(|payload| payload.base.is_none());
    let header = usize::try_from(case.release.root.payloads[0].header_size).unwrap();
    case.files.cut_after = Some(header.max(1000));
    case.refused("payload");
}

#[test]
fn damaged_base_is_made_good_by_the_full_payload() {
    let mut case = Case::new();
    case.io.damaged_root = Some(1_500_000..1_500_001);
    case.install().unwrap();
    assert_eq!(oracle::boots(&case.io.machine(), &case.images), Ok(version("1.1.0")));
    let full = case.full_of_root();
    let asked = |path: &str| case.files.opened.iter().filter(|(opened, _)| opened == path).count();
    assert_eq!(asked(&full.path), 2, "its header, and what is missing in one request");
}

#[test]
fn a_part_that_the_bound_does_not_cover_is_not_fetched() {
    let mut case = Case::new();
    case.io.damaged_root = Some(1_500_000..1_500_001);
    let bound = |bytes, go_on| MaxFetch {
        bytes: Some(bytes),
        go_on,
    };
    let chosen: u64 = [&case.release.root.payloads, &case.release.uki.payloads]
        .map(|payloads| payloads.iter().map(|payload| payload.size).min().unwrap())
        .iter()
        .sum();
    // Enough for what was chosen, and for no segment more.
    case.files.max_fetch = bound(chosen + 1000, false);
    let mut going_on = Case::new();
    going_on.io.damaged_root = case.io.damaged_root.clone();
    going_on.files.max_fetch = bound(1, true);
    case.refused("max-fetch");
    going_on.install().unwrap();
    assert_eq!(
        oracle::boots(&going_on.io.machine(), &going_on.images),
        Ok(version("1.1.0"))
    );
}

#[test]
fn release_beyond_the_bound_is_refused_before_anything_changes() {
    let mut case = Case::new();
    case.files.max_fetch.bytes = Some(1000);
    case.refused_untouched("max-fetch");
}

#[test]
fn damaged_base_without_a_full_payload_is_named() {
    let mut case = Case::new();
    case.io.damaged_root = Some(1_500_000..1_500_001);
    case.release.root.payloads.retain(|payload| payload.base.is_some());
    case.refused("base-damaged");
}

#[test]
fn release_for_another_machine_is_refused_before_anything_is_fetched() {
    let other = twinhull_layout::Arch::ALL
        .into_iter()
        .find(|arch| *arch != ARCH)
        .unwrap();
    let mut case = Case::new();
    case.release.arch = other;
    case.refused_untouched("wrong-architecture");

    let mut case = Case::new();
    case.release.product = "another".parse().unwrap();
    case.refused_untouched("wrong-product");

    let mut case = Case::new();
    case.release.version = version("1.0.0");
    case.refused_untouched("running");

    let mut case = Case::new();
    case.release.minimum_from = Some(version("1.0.1"));
    case.refused_untouched("too-far");

    let mut case = Case::new();
    case.release.root.root_hash = case.images[1].hash;
    case.refused_untouched("same-content");
}

#[test]
fn release_that_does_not_fit_is_refused_with_both_sizes() {
    let mut case = Case::new();
    case.release.root.size = 5 * 1024 * 1024;
    case.release.root.verity_size = twinhull_verity::partition_size(5 * 256);
    case.refused_untouched("too-large");

    let mut case = Case::new();
    case.io.esp = 1024 * 1024;
    case.refused_untouched("too-large");

    let mut case = Case::new();
    case.release.root.verity_size += 4096;
    case.refused_untouched("release-inconsistent");
}

#[test]
fn signed_document_that_contradicts_its_payload_is_refused() {
    let mut case = Case::new();
    case.release.root.size += 4096;
    case.release.root.verity_size = twinhull_verity::partition_size(case.release.root.size / 4096);
    case.refused_untouched("release-inconsistent");

    let mut case = Case::new();
    case.release.root.root_hash = [7; 32].into();
    case.refused("root-hash");

    let mut case = Case::new();
    case.release.uki.sha256 = [7; 32].into();
    let error = case.install().unwrap_err();
    assert_eq!(error.code(), "kernel-hash");
    assert_eq!(oracle::boots(&case.io.machine(), &case.images), Ok(version("1.0.0")));
}

#[test]
fn what_landed_is_compared_and_not_what_was_sent() {
    let mut case = Case::new();
    let slot_b = oracle::table(&case.io.machine()).unwrap().partition(5).unwrap().clone();
    case.io.rot = Some(slot_b.start + 1_000_000);
    case.refused("read-back");

    let mut case = Case::new();
    case.io.rot_kernel = true;
    assert_eq!(case.install().unwrap_err().code(), "kernel-hash");
    assert_eq!(oracle::boots(&case.io.machine(), &case.images), Ok(version("1.0.0")));
}

#[test]
fn host_without_a_way_back_installs_nothing() {
    for found in ["twinhull-server_1.0.0+2-1.efi", "twinhull-server_1.0.0+0-3.efi"] {
        let mut case = Case::new();
        let mut machine = case.io.machine();
        let kernel = machine.entries.remove(&case.images[1].entry()).unwrap();
        machine.entries.insert(found.to_owned(), kernel);
        case.io = Recorder::new(machine, &case.images[1]);
        case.refused_untouched("no-way-back");
    }
}

#[test]
fn disk_that_does_not_hold_what_runs_is_not_touched() {
    let mut case = Case::new();
    case.io = Recorder::new(Machine::new(&case.images[0], None), &case.images[1]);
    case.refused_untouched("partition-table");

    let mut case = Case::new();
    let mut machine = Machine::new(&case.images[1], None);
    let end = machine.disk.len();
    machine.disk[..4096].fill(0);
    machine.disk[end - 4096..].fill(0);
    case.io = Recorder::new(machine, &case.images[1]);
    case.refused_untouched("partition-table");
}
