//! A small disk of the layout, inspected whole and with one byte changed at a time.

#![allow(clippy::unwrap_used)]

mod program;
mod skip;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fscommon::{BufStream, StreamSlice};
use program::program;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use skip::skip;
use twinhull::inspect::{self, Report};
use twinhull::keys::{self, BuildKeys};
use twinhull::sign::verity::Signature;
use twinhull::sign::{Certificate, authenticode};
use twinhull_layout::table::Partition;
use twinhull_layout::{Arch, Slot, Table, Version, partition};
use twinhull_uki::Uki;
use twinhull_verity::{BLOCK_SIZE, Salt, TreeBuilder};
use uuid::Uuid;

const MIB: u64 = 1 << 20;
const SIZES: [u64; 8] = [40 * MIB, MIB, MIB, MIB, MIB, MIB, MIB, MIB];

/// The time of the root, in seconds since 1970.
const TIME: u64 = 1_700_000_000;

struct Disk {
    folder: tempfile::TempDir,
    uki: Vec<u8>,
    /// What a build would have written beside it.
    manifest: Value,
}

impl Disk {
    /// A disk with version 1.0.0 in slot A, signed.
    fn new() -> Self {
        let root: Vec<u8> = (0..64 * BLOCK_SIZE).map(|at| u8::try_from(at % 251).unwrap()).collect();
        Self::with(&root)
    }

    /// The same with another root, of whole blocks.
    fn with(root: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        keys::init(&folder.path().join("keys"), "Example").unwrap();
        let keys = BuildKeys::open(&folder.path().join("keys"), None).unwrap();
        let file = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(folder.path().join("disk.raw"))
            .unwrap();
        let size = SIZES.iter().sum::<u64>() + 2 * MIB;
        file.set_len(size).unwrap();

        let mut tree = TreeBuilder::new((root.len() / BLOCK_SIZE) as u64, Salt::from([7; 32])).unwrap();
        tree.write_all(root).unwrap();
        let tree = tree.finish().unwrap();
        file.write_all_at(root, start(2)).unwrap();
        file.write_all_at(tree.as_bytes(), start(3)).unwrap();
        let signature = Signature::sign(tree.root_hash(), &keys.verity).unwrap();
        file.write_all_at(signature.to_text().unwrap().as_bytes(), start(4))
            .unwrap();

        let cmdline = format!("roothash={} ro", tree.root_hash());
        let uki = Uki {
            stub: &program(),
            kernel: &program(),
            initrd: b"070701",
            cmdline: &cmdline,
            os_release: "ID=debian\nIMAGE_VERSION=1.0.0\n",
            uname: "6.12",
            sbat: None,
        };
        let uki = authenticode::sign(&uki.assemble().unwrap(), &keys.database).unwrap();
        let loader = authenticode::sign(&program(), &keys.database).unwrap();
        esp(&file, &loader, &uki);

        let version: Version = "1.0.0".parse().unwrap();
        let mut table = Table::create(size, 512, Uuid::from_u128(99), partitions()).unwrap();
        table.assign(Slot::A, &version, tree.root_hash());
        table.assign_signature(Slot::A, &version);
        table.write(&file).unwrap();
        let manifest = json!({
            "product": "p", "version": "1.0.0", "arch": "x86_64", "time": TIME,
            "root": {
                "size": root.len(), "root_hash": tree.root_hash(), "salt": "07".repeat(32),
                "verity_size": tree.as_bytes().len(), "signature": signature,
            },
            "uki": {"size": uki.len(), "sha256": hex::encode(Sha256::digest(&uki))},
            "packages": [
                {"name": "linux-image-6.12", "version": "6.12"},
                {"name": "podman", "version": "5.4"},
                {"name": "systemd", "version": "257"},
            ],
        });
        Self { folder, uki, manifest }
    }

    /// What does not agree when `manifest` lies beside the disk.
    fn wrong_beside(&self, manifest: &Value) -> Vec<String> {
        let path = self.path().with_extension("json");
        fs::write(&path, manifest.to_string()).unwrap();
        let report = self.inspect();
        fs::remove_file(path).unwrap();
        report
            .findings
            .into_iter()
            .filter_map(|finding| finding.problem)
            .collect()
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("disk.raw")
    }

    fn inspect(&self) -> Report {
        let certificate = Certificate::read(&self.folder.path().join("keys/verity.crt")).unwrap();
        inspect::run(&self.path(), Some(&certificate)).unwrap()
    }

    /// What does not agree once the byte at `offset` is another.
    fn wrong_with(&self, offset: u64) -> Vec<String> {
        flip(&self.path(), offset);
        let report = self.inspect();
        flip(&self.path(), offset);
        let wrong = report.findings.into_iter().filter(|finding| finding.problem.is_some());
        wrong.map(|finding| finding.what.trim().to_owned()).collect()
    }

    /// The place on the disk of a byte in the middle of the kernel image.
    fn inside_uki(&self) -> u64 {
        let disk = fs::read(self.path()).unwrap();
        let wanted = &self.uki[self.uki.len() - 4096..][..512];
        disk.windows(512).position(|window| window == wanted).unwrap() as u64 + 10
    }
}

fn start(number: usize) -> u64 {
    MIB + SIZES[..number - 1].iter().sum::<u64>()
}

fn partitions() -> Vec<Partition> {
    let kind = |number: u32| match number {
        1 => partition::ESP,
        2 | 5 => partition::root(Arch::X86_64),
        3 | 6 => partition::root_verity(Arch::X86_64),
        4 | 7 => partition::root_verity_signature(Arch::X86_64),
        _ => partition::STATE,
    };
    (1..=8)
        .map(|number| Partition {
            number,
            kind: kind(number),
            id: Uuid::from_u128(u128::from(number)),
            start: start(number as usize),
            size: SIZES[number as usize - 1],
            attributes: 0,
            label: partition::EMPTY_LABEL.to_owned(),
        })
        .collect()
}

fn esp(disk: &File, loader: &[u8], uki: &[u8]) {
    let slice = || StreamSlice::new(disk.try_clone().unwrap(), start(1), start(2)).unwrap();
    fatfs::format_volume(
        BufStream::new(slice()),
        fatfs::FormatVolumeOptions::new()
            .fat_type(fatfs::FatType::Fat32)
            .bytes_per_cluster(512),
    )
    .unwrap();
    let volume = fatfs::FileSystem::new(BufStream::new(slice()), fatfs::FsOptions::new()).unwrap();
    let root = volume.root_dir();
    for folder in ["EFI", "EFI/BOOT", "EFI/Linux"] {
        root.create_dir(folder).unwrap();
    }
    for (name, content) in [("EFI/BOOT/BOOTX64.EFI", loader), ("EFI/Linux/p_1.0.0.efi", uki)] {
        let mut file = root.create_file(name).unwrap();
        io::copy(&mut &content[..], &mut file).unwrap();
    }
}

fn flip(path: &Path, offset: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
}

#[test]
fn whole_disk_agrees_and_each_changed_byte_is_named() {
    let disk = Disk::new();
    let report = disk.inspect();
    let text = report.to_text();
    assert!(report.agrees(), "{text}");
    assert!(text.contains("signed by CN=Example db, verified"), "{text}");
    assert!(text.contains("by CN=Example verity, verified"), "{text}");
    let end = disk.path().metadata().unwrap().len();
    for (what, offset) in [
        ("table", 600),
        ("backup table", end - 500),
        ("slot A", start(2) + 5000),
        ("slot A", start(3) + 4100),
        ("slot A signature", start(4) + 100),
        ("signer", disk.inside_uki()),
    ] {
        let wrong = disk.wrong_with(offset);
        assert!(wrong.iter().any(|wrong| wrong == what), "{what}: {wrong:?}");
    }
    assert!(disk.inspect().agrees());
}

#[test]
fn root_hash_signed_by_another_key_is_noticed() {
    let disk = Disk::new();
    let other = Certificate::read(&disk.folder.path().join("keys/db.crt")).unwrap();
    let report = inspect::run(&disk.path(), Some(&other)).unwrap();
    assert!(!report.agrees());
    assert!(report.to_text().contains("another certificate"), "{}", report.to_text());
}

#[test]
fn what_is_no_disk_is_an_error_and_no_report() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.raw");
    fs::write(&path, vec![0; 1 << 20]).unwrap();
    assert!(
        inspect::run(&path, None)
            .unwrap_err()
            .to_string()
            .contains("no disk image")
    );
}

/// A root with a database of packages; nothing without `mkfs.erofs`.
fn root_with_packages() -> Option<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let (tree, image) = (folder.path().join("tree"), folder.path().join("image"));
    fs::create_dir_all(tree.join("usr/lib/sysimage/dpkg")).unwrap();
    let status = [("podman", "5.4"), ("systemd", "257")]
        .map(|(name, version)| format!("Package: {name}\nStatus: install ok installed\nVersion: {version}\n"));
    fs::write(tree.join("usr/lib/sysimage/dpkg/status"), status.join("\n")).unwrap();
    fs::write(tree.join("large"), vec![1; 50_000]).unwrap();
    let mkfs = Command::new("mkfs.erofs")
        .args(["--quiet", &format!("-T{TIME}")])
        .args([&image, &tree])
        .output();
    let Ok(made) = mkfs else {
        skip("no mkfs.erofs here");
        return None;
    };
    assert!(made.status.success(), "{made:?}");
    let mut root = fs::read(image).unwrap();
    root.resize(root.len().next_multiple_of(BLOCK_SIZE), 0);
    Some(root)
}

#[test]
fn nothing_that_a_manifest_says_is_believed() {
    let Some(root) = root_with_packages() else { return };
    let disk = Disk::with(&root);
    assert_eq!(disk.wrong_beside(&disk.manifest), [""; 0]);
    for (place, value, said) in [
        ("/product", json!("q"), "product"),
        ("/time", json!(1), "time"),
        ("/root/size", json!(4096), "size of the root"),
        ("/root/salt", json!("00".repeat(32)), "salt"),
        ("/root/verity_size", json!(4096), "size of the tree of hashes"),
        ("/root/signature/signature", json!("AAAA"), "signed root hash"),
        ("/root/signature", Value::Null, "signed root hash"),
        ("/uki/size", json!(1), "kernel image"),
        ("/packages/1/version", json!("5.5"), "podman 5.4, which is installed"),
        ("/packages/1/name", json!("podmann"), "podman 5.4, which is installed"),
        ("/packages/0/name", json!("nano"), "nano 6.12 is not installed"),
    ] {
        let mut manifest = disk.manifest.clone();
        *manifest.pointer_mut(place).unwrap() = value;
        let wrong = disk.wrong_beside(&manifest);
        assert!(wrong.len() == 1 && wrong[0].contains(said), "{place}: {wrong:?}");
    }
}

#[test]
fn what_cannot_be_checked_is_said() {
    let Some(root) = root_with_packages() else { return };
    let disk = Disk::with(&root);
    fs::write(disk.path().with_extension("json"), disk.manifest.to_string()).unwrap();
    let text = disk.inspect().to_text();
    assert!(
        text.contains("linux-image-6.12 6.12: nothing in the image tells"),
        "{text}"
    );
}

/// Damage of the boot sector of the ESP is found, or is of no account.
#[test]
fn no_damage_of_the_boot_sector_is_a_panic() {
    let disk = Disk::new();
    let file = File::options().read(true).write(true).open(disk.path()).unwrap();
    let mut whole = [0; 512];
    file.read_exact_at(&mut whole, start(1)).unwrap();
    let mut noticed = 0;
    // Beyond that, the sector has a name and code.
    for at in 0..52 {
        for value in [0, 0x7F, 0xFF, whole[at] ^ 1] {
            let mut sector = whole;
            sector[at] = value;
            file.write_all_at(&sector, start(1)).unwrap();
            let report = inspect::run(&disk.path(), None);
            noticed += u32::from(!report.is_ok_and(|report| report.agrees()));
        }
    }
    // Whole fields, which bytes alone do not make.
    for (at, width) in [
        (11, 2),
        (14, 2),
        (17, 2),
        (19, 2),
        (22, 2),
        (32, 4),
        (36, 4),
        (44, 4),
        (48, 2),
    ] {
        for value in [0, 1, 2, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFF0, 0xFFFF_FFFF_u32] {
            let mut sector = whole;
            sector[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
            file.write_all_at(&sector, start(1)).unwrap();
            let report = inspect::run(&disk.path(), None);
            noticed += u32::from(!report.is_ok_and(|report| report.agrees()));
        }
    }
    file.write_all_at(&whole, start(1)).unwrap();
    assert!(noticed > 50, "{noticed}");
    assert!(disk.inspect().agrees());
}
