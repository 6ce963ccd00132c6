//! A whole image, read by programs that know nothing of this project.
//!
//! Needs an image: `TWINHULL_IMAGE` names the raw disk of a signed build, with its manifest beside it, and `TWINHULL_KEYS` the
//! folder of its certificates; `cargo xtask test` builds one and sets both. Without them nothing is looked at.

#![allow(clippy::unwrap_used)]

mod skip;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

use twinhull::build::manifest::Manifest;
use twinhull::inspect;
use twinhull::sign::Certificate;
use twinhull_layout::{Slot, Table};

struct Subject {
    image: PathBuf,
    keys: PathBuf,
    table: Table,
    scratch: tempfile::TempDir,
}

fn subject() -> Option<Subject> {
    let (Some(image), Some(keys)) = (std::env::var_os("TWINHULL_IMAGE"), std::env::var_os("TWINHULL_KEYS")) else {
        eprintln!("skipped: TWINHULL_IMAGE and TWINHULL_KEYS name no image");
        return None;
    };
    let image = PathBuf::from(image);
    let table = Table::read(&File::open(&image).unwrap(), 512).unwrap();
    Some(Subject {
        // Beside the image, where there is room.
        scratch: tempfile::tempdir_in(image.parent().unwrap()).unwrap(),
        image,
        keys: keys.into(),
        table,
    })
}

impl Subject {
    /// The content of a partition as a sparse file.
    fn partition(&self, number: u32) -> PathBuf {
        let partition = self.table.partition(number).unwrap();
        let path = self.scratch.path().join(number.to_string());
        let status = Command::new("dd")
            .arg(format!("if={}", self.image.display()))
            .arg(format!("of={}", path.display()))
            .args(["bs=1M", "conv=sparse", "status=none"])
            .arg(format!("skip={}", partition.start >> 20))
            .arg(format!("count={}", partition.size >> 20))
            .status()
            .unwrap();
        assert!(status.success());
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(partition.size)
            .unwrap();
        path
    }

    fn manifest(&self) -> Manifest {
        Manifest::read(&self.image.with_extension("json")).unwrap()
    }
}

/// What a program says; nothing when it is not there.
fn said(program: &str, arguments: &[&OsStr]) -> Option<(bool, String)> {
    let found = ["/usr/bin", "/usr/sbin", "/sbin", "/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(program))
        .find(|path| path.is_file());
    let Some(path) = found else {
        skip::skip(format!("no {program} here"));
        return None;
    };
    let output = Command::new(path).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

macro_rules! run {
    ($program:literal $(, $argument:expr)* $(,)?) => {
        said($program, &[$(AsRef::<OsStr>::as_ref(&$argument)),*])
    };
}

#[test]
fn partition_table_is_sound_to_sgdisk_and_sfdisk() {
    let Some(subject) = subject() else { return };
    if let Some((good, text)) = run!("sgdisk", "-v", subject.image) {
        assert!(good && text.contains("No problems found"), "{text}");
    }
    if let Some((good, text)) = run!("sfdisk", "--verify", subject.image) {
        assert!(good && text.contains("No errors detected"), "{text}");
    }
}

#[test]
fn file_systems_are_sound_to_their_own_checkers() {
    let Some(subject) = subject() else { return };
    if let Some((good, text)) = run!("fsck.vfat", "-n", subject.partition(1)) {
        assert!(good, "{text}");
    }
    if let Some((good, text)) = run!("fsck.erofs", subject.partition(Slot::A.root_number())) {
        assert!(good, "{text}");
    }
    if let Some((good, text)) = run!("e2fsck", "-f", "-n", subject.partition(8)) {
        assert!(good, "{text}");
    }
}

#[test]
fn hash_tree_is_what_veritysetup_computes() {
    let Some(subject) = subject() else { return };
    let (root, tree) = (
        subject.partition(Slot::A.root_number()),
        subject.partition(Slot::A.verity_number()),
    );
    let hash = subject.manifest().root.root_hash.to_string();
    if let Some((good, text)) = run!("veritysetup", "verify", root, tree, hash) {
        assert!(good, "{text}");
    }
}

#[test]
fn loader_and_kernel_image_verify_with_sbverify() {
    let Some(subject) = subject() else { return };
    let certificate = subject.keys.join("db.crt");
    let uki = subject.image.with_extension("efi");
    let Some((good, text)) = run!("sbverify", "--cert", certificate, uki) else {
        return;
    };
    assert!(good && text.contains("Signature verification OK"), "{text}");

    let esp = File::open(subject.partition(1)).unwrap();
    let esp = fatfs::FileSystem::new(esp, fatfs::FsOptions::new().update_accessed_date(false)).unwrap();
    let folder = esp.root_dir().open_dir("EFI/BOOT").unwrap();
    let loader = folder
        .iter()
        .map(Result::unwrap)
        .find(fatfs::DirEntry::is_file)
        .unwrap();
    let target = subject.scratch.path().join("loader.efi");
    io::copy(&mut loader.to_file(), &mut File::create(&target).unwrap()).unwrap();
    let (good, text) = run!("sbverify", "--cert", certificate, target).unwrap();
    assert!(good && text.contains("Signature verification OK"), "{text}");
}

#[test]
fn image_is_one_root_with_verity_and_signature_to_systemd_dissect() {
    let Some(subject) = subject() else { return };
    let Some((good, text)) = run!("systemd-dissect", "--json=short", "--no-pager", subject.image) else {
        return;
    };
    if !good && text.contains("loop") {
        eprintln!("skipped: no loop devices here, and systemd-dissect wants one: {text}");
        return;
    }
    assert!(good, "{text}");
    for wanted in [
        "\"designator\":\"esp\"",
        "\"designator\":\"root\"",
        "\"partition_label\":\"root_",
        "\"fstype\":\"erofs\"",
        "\"verity\":\"signed\"",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    let (good, text) = run!("systemd-dissect", "--validate", subject.image).unwrap();
    if text.contains("unrecognized option") {
        eprintln!("skipped: this systemd-dissect cannot validate");
        return;
    }
    assert!(good, "{text}");
}

#[test]
fn converted_image_is_sound_to_qemu_img() {
    let Some(subject) = subject() else { return };
    let target = subject.scratch.path().join("image.qcow2");
    let Some((good, text)) = run!("qemu-img", "convert", "-f", "raw", "-O", "qcow2", subject.image, target) else {
        return;
    };
    assert!(good, "{text}");
    let (good, text) = run!("qemu-img", "check", target).unwrap();
    assert!(good && text.contains("No errors were found"), "{text}");
}

#[test]
fn inspection_agrees_and_notices_one_changed_byte_of_each_kind() {
    let Some(subject) = subject() else { return };
    let certificate = Certificate::read(&subject.keys.join("verity.crt")).unwrap();
    let report = inspect::run(&subject.image, Some(&certificate)).unwrap();
    assert!(report.agrees(), "{}", report.to_text());
    assert!(report.to_text().contains("signed by CN="), "{}", report.to_text());

    let copy = subject.scratch.path().join("image.raw");
    let status = Command::new("cp")
        .args(["--sparse=always", "--reflink=auto"])
        .args([&subject.image, &copy])
        .status()
        .unwrap();
    assert!(status.success());
    let start = |number| subject.table.partition(number).unwrap().start;
    let size = copy.metadata().unwrap().len();
    for (what, offset) in [
        ("table", 600),
        ("backup table", size - 500),
        ("slot A", start(Slot::A.root_number()) + 5000),
        ("slot A signature", start(Slot::A.signature_number()) + 20),
    ] {
        flip(&copy, offset);
        let report = inspect::run(&copy, Some(&certificate)).unwrap();
        let wrong: Vec<&str> = report
            .findings
            .iter()
            .filter(|finding| finding.problem.is_some())
            .map(|finding| finding.what.as_str())
            .collect();
        assert!(wrong.contains(&what), "{what}: {wrong:?}");
        flip(&copy, offset);
    }
    assert!(inspect::run(&copy, Some(&certificate)).unwrap().agrees());
}

fn flip(path: &Path, offset: u64) {
    use std::os::unix::fs::FileExt;
    let mut file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.write_all_at(&[!byte[0]], offset).unwrap();
}

#[test]
fn kernel_image_is_small() {
    let Some(subject) = subject() else { return };
    let manifest = subject.manifest();
    // On aarch64 the kernel alone, uncompressed there, has 31 MB.
    if manifest.arch == twinhull_layout::Arch::X86_64 {
        assert!(manifest.uki.size <= 20_000_000, "{}", manifest.uki.size);
    }
}
