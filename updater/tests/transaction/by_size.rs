//! What an update costs by the size of the image. A measurement and no test: `cargo xtask bench payload --sizes` runs it with the
//! program as it is shipped, and reads the line it prints.
//!
//! Images are files here, and slot A is a hole: the running root is read where dm-verity has it, never from its partition.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use twinhull_layout::{RootHash, Slot};
use twinhull_trust::{Hex32, ReleaseDocument, RootImage, UkiImage};
use twinhull_verity::{BLOCK_SIZE, Salt, TreeBuilder, partition_size};

use crate::footprint::{cpu_hundredths, status_field};
use crate::host::{Host, kernel};
use crate::recorder::Machine;
use crate::server::Server;
use crate::world::{ARCH, Image, Signed, noise, payload, product, table, version};

/// Says the size, in MiB.
const SIZE: &str = "TWINHULL_BENCH_MIB";

/// Bytes that are made at once.
const PIECE: usize = 1 << 20;

/// Blocks of a piece, and how many of them are new.
const NEW: usize = 5;

/// Longest time that an update may take.
const PATIENCE: Duration = Duration::from_mins(20);

#[test]
#[ignore = "a measurement: `cargo xtask bench payload --sizes`"]
fn footprint() {
    let mebibytes: u64 = std::env::var(SIZE).unwrap().parse().unwrap();
    let (size, salt) = (mebibytes << 20, [2; 32]);
    let folder = tempfile::tempdir().unwrap();
    let new_path = folder.path().join("new.root");
    let old = Image {
        version: version("1.0.0"),
        root: Vec::new(),
        tree: Vec::new(),
        hash: RootHash::from([1; 32]),
        salt: [1; 32],
        kernel: kernel(&RootHash::from([1; 32]), 1),
    };

    let (mut layout, disk_size) = table(size, partition_size(size / BLOCK_SIZE as u64));
    layout.assign(Slot::A, &old.version, &old.hash);
    let machine = Machine {
        disk: Vec::new(),
        entries: BTreeMap::from([(old.entry(), old.kernel.clone())]),
    };
    let repository = Signed::new(folder.path());
    let host = Host::new(&old, &machine, &repository.root());
    let disk = File::options().write(true).open(host.at("dev/vda")).unwrap();
    disk.set_len(disk_size).unwrap();
    for write in layout.write_stages().unwrap().iter().flat_map(|stage| &stage.writes) {
        disk.write_all_at(&write.bytes, write.offset).unwrap();
    }

    let hash = write_images(mebibytes, &host, &new_path, salt);
    let mut files = BTreeMap::new();
    let new_kernel = kernel(&hash, 2);
    let (old_root, new_root) = (
        File::open(host.at("dev/mapper/root")).unwrap(),
        File::open(&new_path).unwrap(),
    );
    let base = Hex32::from(*old.hash.as_bytes());
    let document = ReleaseDocument {
        product: product(),
        version: version("1.1.0"),
        arch: ARCH,
        root: RootImage {
            size,
            root_hash: hash,
            salt: Hex32::from(salt),
            verity_size: partition_size(size / BLOCK_SIZE as u64),
            signature: None,
            payloads: vec![payload(
                &new_root,
                Some((&old_root, base)),
                Salt::from(salt),
                &mut files,
            )],
        },
        uki: UkiImage {
            size: new_kernel.len() as u64,
            sha256: Hex32::sha256_of(&new_kernel),
            payloads: vec![payload(&new_kernel, None, Salt::ZERO, &mut files)],
        },
        minimum_from: None,
        packages: Vec::new(),
        created: "2026-01-01T00:00:00Z".parse().unwrap(),
    };
    repository.publish(&document, &files);
    let fetched: usize = files.values().map(Vec::len).sum();
    // Their room is needed for the slot.
    drop((files, new_root));
    fs::remove_file(&new_path).unwrap();

    let server = Server::new(&repository.folder);
    host.configure(&format!(
        "[updates]\nrepository = \"{}/\"\nstrategy = \"download-only\"\n",
        server.base
    ));
    let service = host.service();
    let pid = service.pid();
    let started = Instant::now();
    loop {
        let (_, status) = host.json(&["status"]);
        if status["state"]["phase"] == "staged" {
            break;
        }
        let log = || fs::read_to_string(host.at("service.log")).unwrap_or_default();
        assert!(started.elapsed() < PATIENCE, "not staged: {status:#}\n{}", log());
        std::thread::sleep(Duration::from_millis(500));
    }
    let figures = serde_json::json!({
        "root": size,
        "payload": fetched,
        "peak_memory": status_field(pid, pid, "VmHWM") * 1024,
        "cpu_hundredths": cpu_hundredths(pid),
    });
    println!("by_size {figures}");
}

/// Writes the running root, and the new one in which [`NEW`] blocks of each MiB are others. Gives the new root hash.
fn write_images(mebibytes: u64, host: &Host, new_path: &std::path::Path, salt: [u8; 32]) -> RootHash {
    let blocks = (mebibytes << 20) / BLOCK_SIZE as u64;
    let mut tree = TreeBuilder::new(blocks, Salt::from(salt)).unwrap();
    let mut old = BufWriter::new(File::create(host.at("dev/mapper/root")).unwrap());
    let mut new = BufWriter::new(File::create(new_path).unwrap());
    for number in 0..mebibytes {
        let mut piece = noise(2 * number, PIECE);
        old.write_all(&piece).unwrap();
        piece[..NEW * BLOCK_SIZE].copy_from_slice(&noise(2 * number + 1, NEW * BLOCK_SIZE));
        new.write_all(&piece).unwrap();
        tree.write_all(&piece).unwrap();
    }
    old.flush().unwrap();
    new.flush().unwrap();
    *tree.finish().unwrap().root_hash()
}
