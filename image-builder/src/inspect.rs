//! What an image is, recomputed from its bytes: nothing it says about itself is believed.
//!
//! Every line is a finding, in order or not; the whole agrees when all of them do.

mod boot_sector;
mod esp;
mod manifest;
mod packages;
mod report;
mod table;

use std::fs::File;
use std::io::BufReader;
use std::os::unix::fs::FileExt;
use std::path::Path;

use twinhull_layout::table::{Partition, SlotContent};
use twinhull_layout::{Arch, RootHash, Slot, Table, Version};
use twinhull_trust::MAX_SIGNATURE_BYTES;
use twinhull_verity::Superblock;

use crate::build::manifest::Manifest;
use crate::error::{Doing, Error, Result};
use crate::part::{Part, Reader, SECTOR};
use crate::sign::Certificate;
use crate::sign::verity::Signature;
pub use report::{Finding, Report};

/// A slot that says it holds a release.
struct Held {
    slot: Slot,
    version: Version,
    root_hash: RootHash,
    /// What its tree of hashes says of itself, once all of it was found to be right.
    superblock: Option<Superblock>,
    /// What is in the partition for the signed root hash, if that can be read.
    signature: Option<Signature>,
    root: Part,
}

/// Inspects a disk image, or the build of which `path` is the manifest; with `certificate`, the signed root hashes are verified
/// too.
///
/// # Errors
/// The file cannot be read, or is neither a disk image of this layout nor a manifest. What does not agree is no error: see
/// [`Report::agrees`].
pub fn run(path: &Path, certificate: Option<&Certificate>) -> Result<Report> {
    let mut report = Report::default();
    let (disk, manifest) = if path.extension().is_some_and(|extension| extension == "json") {
        let manifest = Manifest::read(path)?;
        (path.with_file_name(format!("{}.raw", manifest.name())), Some(manifest))
    } else {
        let beside = path.with_extension("json");
        let manifest = beside.exists().then(|| Manifest::read(&beside)).transpose()?;
        (path.to_owned(), manifest)
    };
    let file = File::open(&disk).doing("open the image", &disk)?;
    let (table, arch) = table::inspect(&file, &disk, &mut report)?;
    let mut held = Vec::new();
    for slot in Slot::ALL {
        held.extend(inspect_slot(
            (&file, &disk),
            &table,
            arch,
            slot,
            certificate,
            &mut report,
        )?);
    }
    let esp = table.esp().map_err(|error| unfit(&disk, &error))?;
    let uki = esp::inspect(&file, &esp, arch, &held, &mut report).doing("read the ESP of", &disk)?;
    if let Some(manifest) = &manifest {
        manifest::inspect(manifest, &disk, &held, &uki, &mut report)?;
    }
    Ok(report)
}

fn inspect_slot(
    (file, disk): (&File, &Path),
    table: &Table,
    arch: Arch,
    slot: Slot,
    certificate: Option<&Certificate>,
    report: &mut Report,
) -> Result<Option<Held>> {
    let parts = table
        .slot(slot, arch)
        .map_err(|error| Error::Content(error.to_string()))?;
    let name = format!("slot {slot}");
    let SlotContent::Release(version) = parts.content() else {
        report.good(&name, "empty");
        return Ok(None);
    };
    // The two identifiers are the two halves of the root hash.
    let mut hash = [0; 32];
    hash[..16].copy_from_slice(parts.root.id.as_bytes());
    hash[16..].copy_from_slice(parts.verity.id.as_bytes());
    let root_hash = RootHash::from(hash);
    let mut data = BufReader::with_capacity(1 << 20, Reader::of(file, &parts.root));
    let mut tree = BufReader::with_capacity(1 << 20, Reader::of(file, &parts.verity));
    let outcome = twinhull_verity::verify(&mut data, &mut tree, &root_hash);
    match &outcome {
        Ok(superblock) => report.good(
            &name,
            format!(
                "{version}, {} MiB, root hash {root_hash} recomputed from its data",
                superblock.data_blocks * 4096 / (1 << 20)
            ),
        ),
        Err(error) => report.bad(
            &name,
            format!("{version}, root hash {root_hash}"),
            format!("data, hash tree and partition identifiers do not belong together: {error}"),
        ),
    }
    let signature = inspect_signature(file, &parts.signature, &name, &root_hash, certificate, report)?;
    Ok(Some(Held {
        slot,
        version,
        root_hash,
        superblock: outcome.ok(),
        signature,
        root: Part::partition(disk, file, &parts.root)?,
    }))
}

fn inspect_signature(
    file: &File,
    partition: &Partition,
    slot: &str,
    root_hash: &RootHash,
    certificate: Option<&Certificate>,
    report: &mut Report,
) -> Result<Option<Signature>> {
    let name = format!("{slot} signature");
    let room = usize::try_from(partition.size)
        .unwrap_or(usize::MAX)
        .min(MAX_SIGNATURE_BYTES);
    let mut content = vec![0; room];
    file.read_exact_at(&mut content, partition.start)
        .doing("read the signature partition of", Path::new(slot))?;
    let found = Signature::parse(&content);
    match (&found, certificate) {
        (Ok(None), None) => report.good(&name, "none"),
        (Ok(None), Some(_)) => report.bad(&name, "none", "a certificate was given, and nothing is signed"),
        (Ok(Some(signature)), _) if signature.root_hash != *root_hash => report.bad(
            &name,
            format!("of root hash {}", signature.root_hash),
            "it belongs to another root",
        ),
        (Ok(Some(signature)), None) => report.good(
            &name,
            format!(
                "by the certificate {}…, not verified (--certificate)",
                signature.certificate_fingerprint.get(..16).unwrap_or_default()
            ),
        ),
        (Ok(Some(signature)), Some(certificate)) => {
            let by = format!("by {}", certificate.subject());
            match signature.verify(certificate) {
                Ok(()) => report.good(&name, format!("{by}, verified")),
                Err(error) => report.bad(&name, by, error.to_string()),
            }
        }
        (Err(error), _) => report.bad(&name, "unreadable", error.to_string()),
    }
    Ok(found.ok().flatten())
}

fn unfit(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Content(format!("{} is no disk image of this layout: {error}", path.display()))
}
