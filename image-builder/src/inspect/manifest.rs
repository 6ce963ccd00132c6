//! The manifest beside an image, compared with what the image is.

use std::fs::File;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};
use twinhull_layout::RootHash;
use twinhull_verity::{BLOCK_SIZE, Salt, Superblock, TreeBuilder};

use super::esp::Kernel;
use super::{Held, Report, packages};
use crate::build::manifest::Manifest;
use crate::erofs;
use crate::error::{Doing, Error, Result};

/// Compares `manifest` with the image, and with the files beside it that a release is made from.
pub(super) fn inspect(
    manifest: &Manifest,
    disk: &Path,
    held: &[Held],
    kernels: &[Kernel],
    report: &mut Report,
) -> Result<()> {
    let slot = held.iter().find(|held| held.root_hash == manifest.root.root_hash);
    let kernel = kernels.iter().find(|kernel| kernel.entry.version == manifest.version);
    let root = &manifest.root;
    // Of a tree that is damaged there is nothing to compare with, and that was said.
    let superblock = slot.and_then(|held| held.superblock.as_ref());
    let as_written = |right: &dyn Fn(&Superblock) -> bool| superblock.is_none_or(right);
    let times = slot.map(|held| erofs::time(&held.root));
    let matches = [
        (
            slot.is_some_and(|held| held.version == manifest.version),
            "no slot holds its root hash and version",
        ),
        (
            kernel.is_some_and(|kernel| kernel.sha256 == manifest.uki.sha256 && kernel.size == manifest.uki.size),
            "its kernel image is another than the one on the ESP",
        ),
        (
            kernel.is_none_or(|kernel| kernel.entry.product == manifest.product),
            "its product is another than that of the kernel image on the ESP",
        ),
        (
            as_written(&|found| root.size == found.data_blocks.saturating_mul(BLOCK_SIZE as u64)),
            "its size of the root is not what the tree of hashes covers",
        ),
        (
            as_written(&|found| root.verity_size == twinhull_verity::partition_size(found.data_blocks)),
            "its size of the tree of hashes is another",
        ),
        (
            as_written(&|found| root.salt == found.salt.to_string()),
            "its salt is not that of the tree of hashes",
        ),
        (
            slot.is_none_or(|held| held.signature == root.signature),
            "its signed root hash is not what the slot has in its partition for that",
        ),
        (
            !matches!(times, Some(Ok(time)) if time != manifest.time),
            "its time is not that of the root file system",
        ),
    ];
    let found = format!("{}, {} packages", manifest.name(), manifest.packages.len());
    match matches.into_iter().find(|(good, _)| !good) {
        None => report.good("manifest", found),
        Some((_, problem)) => report.bad("manifest", found, problem),
    }
    if let Some(held) = slot {
        packages::inspect(manifest, disk, &held.root, report);
    }
    let root = disk.with_extension("root");
    if root.exists() {
        match root_hash(manifest, &root)? {
            Some(hash) if hash == manifest.root.root_hash => {
                report.good("root file", "its root hash, recomputed, is the manifest's");
            }
            _ => report.bad(
                "root file",
                root.display().to_string(),
                "it is not the root of the manifest",
            ),
        }
    }
    let uki = disk.with_extension("efi");
    if uki.exists() {
        let mut hash = Sha256::new();
        let mut file = File::open(&uki).doing("read", &uki)?;
        io::copy(&mut file, &mut HashWriter(&mut hash)).doing("read", &uki)?;
        if hex::encode(hash.finalize()) == manifest.uki.sha256 {
            report.good("kernel file", "its hash is the manifest's");
        } else {
            report.bad(
                "kernel file",
                uki.display().to_string(),
                "it is not the kernel image of the manifest",
            );
        }
    }
    Ok(())
}

/// The root hash of the file, or nothing when its size is another.
fn root_hash(manifest: &Manifest, path: &Path) -> Result<Option<RootHash>> {
    let failed = |error: &dyn std::fmt::Display| Error::Content(format!("cannot check {}: {error}", path.display()));
    let file = File::open(path).doing("read", path)?;
    if file.metadata().doing("look at", path)?.len() != manifest.root.size {
        return Ok(None);
    }
    let salt: Salt = manifest
        .root
        .salt
        .parse()
        .map_err(|error: twinhull_verity::SaltError| failed(&error))?;
    let mut tree = TreeBuilder::new(manifest.root.size / BLOCK_SIZE as u64, salt).map_err(|error| failed(&error))?;
    io::copy(&mut io::BufReader::with_capacity(1 << 20, file), &mut tree).doing("read", path)?;
    Ok(Some(*tree.finish().map_err(|error| failed(&error))?.root_hash()))
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
