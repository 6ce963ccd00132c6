//! The EFI system partition: the loader, and each kernel image with what is in it.

use std::fs::File;
use std::io::{self, Read};

use fatfs::{FileSystem, FsOptions};
use fscommon::{BufStream, StreamSlice};
use sha2::{Digest, Sha256};
use twinhull_layout::table::Partition;
use twinhull_layout::{Arch, BootEntry, paths};

use super::{Held, Report, boot_sector};
use crate::definition::size::Size;
use crate::sign::authenticode;

/// The largest EFI program that is read, in bytes.
const MAX_PROGRAM: u64 = 512 << 20;

/// A kernel image that was found.
pub(super) struct Kernel {
    pub(super) entry: BootEntry,
    pub(super) size: u64,
    pub(super) sha256: String,
}

/// Looks at every program on the ESP and returns the kernel images.
pub(super) fn inspect(
    disk: &File,
    partition: &Partition,
    arch: Arch,
    held: &[Held],
    report: &mut Report,
) -> io::Result<Vec<Kernel>> {
    boot_sector::check(disk, partition)?;
    let slice = StreamSlice::new(disk.try_clone()?, partition.start, partition.start + partition.size)?;
    // Access times would be written otherwise, into an image that was opened for reading.
    let esp = FileSystem::new(BufStream::new(slice), FsOptions::new().update_accessed_date(false))?;
    let root = esp.root_dir();
    let read = |path: &str| -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        root.open_file(path)?.take(MAX_PROGRAM).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let loader = read(&format!("EFI/BOOT/BOOT{}.EFI", arch.efi().to_uppercase()));
    let loader_signer = match loader.as_deref().map(signer) {
        Ok(Ok(signer)) => {
            report.good("loader", described(signer.as_deref()));
            signer
        }
        Ok(Err(problem)) => {
            report.bad("loader", "signed", problem);
            None
        }
        Err(error) => {
            report.bad("loader", "none", error.to_string());
            None
        }
    };
    let keys = root
        .open_dir("loader/keys/auto")
        .map_or(0, |folder| folder.iter().count().saturating_sub(2));
    report.good(
        "enrolment",
        if keys == 0 {
            "no keys".to_owned()
        } else {
            format!("{keys} files of keys for firmware that has none")
        },
    );
    let mut kernels = Vec::new();
    for file in root.open_dir(paths::ENTRIES)?.iter() {
        let file = file?;
        let name = file.file_name();
        if !file.is_file() {
            continue;
        }
        let bytes = read(&format!("{}/{name}", paths::ENTRIES))?;
        let Ok(entry) = name.parse::<BootEntry>() else {
            report.bad("kernel image", name, "this name is none of a boot entry");
            continue;
        };
        inspect_kernel(&name, &entry, &bytes, held, loader_signer.as_ref(), report);
        kernels.push(Kernel {
            entry,
            size: bytes.len() as u64,
            sha256: hex::encode(Sha256::digest(&bytes)),
        });
    }
    if kernels.is_empty() {
        report.bad("kernel image", "none", "nothing can boot");
    }
    Ok(kernels)
}

fn inspect_kernel(
    name: &str,
    entry: &BootEntry,
    bytes: &[u8],
    held: &[Held],
    loader_signer: Option<&String>,
    report: &mut Report,
) {
    let text = |section: &str| {
        twinhull_uki::section(bytes, section)
            .map(|content| String::from_utf8_lossy(content).trim_end_matches('\0').to_owned())
    };
    let parts = [".cmdline", ".uname", ".osrel"].map(text);
    let [Ok(cmdline), Ok(uname), Ok(os_release)] = parts else {
        report.bad(
            "kernel image",
            name,
            "it has no command line, kernel release or os-release inside",
        );
        return;
    };
    report.good(
        "kernel image",
        format!("{name}, {}, kernel {}", Size(bytes.len() as u64), uname.trim()),
    );
    let hash = cmdline
        .split_whitespace()
        .find_map(|word| word.strip_prefix("roothash="));
    let slot = held
        .iter()
        .find(|held| Some(held.root_hash.to_string().as_str()) == hash);
    match slot {
        Some(slot) if slot.version == entry.version => {
            report.good("  boots", format!("slot {} with version {}", slot.slot, slot.version));
        }
        Some(slot) => report.bad(
            "  boots",
            format!("slot {}", slot.slot),
            format!("that slot holds version {}", slot.version),
        ),
        None => report.bad(
            "  boots",
            hash.unwrap_or("nothing").to_owned(),
            "no slot of the disk holds this root hash",
        ),
    }
    let said = os_release.lines().find_map(|line| line.strip_prefix("IMAGE_VERSION="));
    let said = said.map(|text| text.trim_matches('"'));
    let version = entry.version.to_string();
    if said == Some(version.as_str()) {
        report.good("  version", version);
    } else {
        report.bad(
            "  version",
            said.unwrap_or("none").to_owned(),
            "its os-release and its file name speak of different versions",
        );
    }
    match signer(bytes) {
        Ok(found) if found.as_ref() == loader_signer => report.good("  signer", described(found.as_deref())),
        Ok(found) => report.bad(
            "  signer",
            described(found.as_deref()),
            "loader and kernel image are not signed by the same key",
        ),
        Err(problem) => report.bad("  signer", "a signature", problem),
    }
    match twinhull_uki::pcr11(bytes) {
        Ok(register) => report.good("  PCR 11", format!("{} once a TPM was told", hex::encode(register))),
        Err(error) => report.bad("  PCR 11", "nothing", error.to_string()),
    }
}

fn signer(program: &[u8]) -> Result<Option<String>, String> {
    let certificate = authenticode::signed_by(program).map_err(|error| error.to_string())?;
    Ok(certificate.map(|certificate| certificate.subject()))
}

fn described(signer: Option<&str>) -> String {
    signer.map_or_else(
        || "not signed".to_owned(),
        |signer| format!("signed by {signer}, verified"),
    )
}
