//! Step 8: the disk: its partition table, the first slot filled, the second empty, and the state partition.
//!
//! Assembled in a sparse file, without loop devices or mounts: build hosts may have neither.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use twinhull_layout::table::Partition;
use twinhull_layout::{Arch, BootEntry, Slot, Table, partition};
use twinhull_verity::Tree;
use uuid::Uuid;

use super::kernel::Boot;
use super::packages::Packages;
use super::root::Root;
use super::{Context, esp, sparse};
use crate::definition::DiskSizes;
use crate::definition::size::MIB;
use crate::error::{Doing, Error, Result};
use crate::part::SECTOR;
use crate::tools::mkfs_ext4;

/// A finished disk image.
#[derive(Debug)]
pub(super) struct Disk {
    /// The sparse file.
    pub(super) path: PathBuf,
    /// Its apparent size in bytes.
    pub(super) size: u64,
}

/// Assembles the disk, of which the file of the root becomes a part.
pub(super) fn run(context: &Context<'_>, packages: &Packages, root: &Root, verity: &Tree, boot: &Boot) -> Result<Disk> {
    let (options, definition) = (context.options, context.definition);
    let path = context.file("disk");
    let identifier = |what: &str| context.identifier(what);
    let partitions = partitions(options.arch, definition.disk, &identifier);
    let size = partitions
        .iter()
        .map(|partition| partition.start + partition.size)
        .max()
        .unwrap_or(0)
        + MIB;
    let place = |number: u32| {
        partitions
            .iter()
            .find(|partition| partition.number == number)
            .map(|partition| (partition.start, partition.size))
            .ok_or_else(|| Error::Content(format!("the layout has no partition {number}")))
    };

    let file = OpenOptions::new()
        .create_new(true)
        .read(true)
        .write(true)
        .open(&path)
        .doing("make", &path)?;
    file.set_len(size).doing("set the size of", &path)?;
    let (esp_start, esp_size) = place(partition::ESP_NUMBER)?;
    let entry = BootEntry::blessed(definition.product.clone(), options.version.clone());
    let serial = u32::from_le_bytes([0, 1, 2, 3].map(|index| context.digest("ESP")[index]));
    esp::write(&file, esp_start, esp_size, serial, options.arch, &entry, boot).doing("write the ESP into", &path)?;

    let (root_start, _) = place(Slot::A.root_number())?;
    sparse::move_into(&root.path, &file, root_start).doing("move the root into", &path)?;
    file.write_all_at(verity.as_bytes(), place(Slot::A.verity_number())?.0)
        .doing("write the tree of hashes into", &path)?;

    if let Some(signature) = &boot.root_signature {
        file.write_all_at(signature.to_text()?.as_bytes(), place(Slot::A.signature_number())?.0)
            .doing("write the signed root hash into", &path)?;
    }

    state(context, packages, &file, &path, place(partition::STATE_NUMBER)?.0)?;

    let table = Table::create(size, SECTOR, identifier("disk"), partitions).and_then(|mut table| {
        table.assign(Slot::A, &options.version, verity.root_hash());
        if boot.root_signature.is_some() {
            table.assign_signature(Slot::A, &options.version);
        }
        table.write(&file)
    });
    table.map_err(|error| {
        Error::Content(format!(
            "cannot write the partition table of {}: {error}",
            path.display()
        ))
    })?;
    Ok(Disk { path, size })
}

/// The partitions, one after the other, each on a whole mebibyte, both slots empty.
fn partitions(arch: Arch, sizes: DiskSizes, identifier: &dyn Fn(&str) -> Uuid) -> Vec<Partition> {
    let mut rows = vec![(
        partition::ESP_NUMBER,
        partition::ESP,
        sizes.esp,
        0,
        partition::ESP_LABEL,
    )];
    for slot in Slot::ALL {
        // Nobody writes to a root through a file system. "No auto" would hide it from tools that look for the root of an image,
        // and they would take the state for it. What is empty says so by its label.
        let attributes = partition::READ_ONLY;
        rows.push((
            slot.root_number(),
            partition::root(arch),
            sizes.root,
            attributes,
            partition::EMPTY_LABEL,
        ));
        rows.push((
            slot.verity_number(),
            partition::root_verity(arch),
            sizes.verity,
            attributes,
            partition::EMPTY_LABEL,
        ));
        rows.push((
            slot.signature_number(),
            partition::root_verity_signature(arch),
            sizes.signature,
            attributes,
            partition::EMPTY_LABEL,
        ));
    }
    rows.push((
        partition::STATE_NUMBER,
        partition::STATE,
        sizes.state,
        partition::GROW_FILE_SYSTEM,
        partition::STATE_LABEL,
    ));
    let mut start = MIB;
    rows.into_iter()
        .map(|(number, kind, size, attributes, label)| {
            let id = identifier(&format!("partition {number}"));
            let partition = Partition {
                number,
                kind,
                id,
                start,
                size: size.0,
                attributes,
                label: label.to_owned(),
            };
            start += size.0;
            partition
        })
        .collect()
}

/// Writes the state file system into the disk at `start`. It is empty: `init` makes the folders it mounts from.
fn state(context: &Context<'_>, packages: &Packages, disk: &File, path: &Path, start: u64) -> Result<()> {
    let image = context.file("state");
    mkfs_ext4::run(
        &context.log,
        &packages.tools,
        &image,
        context.definition.disk.state,
        context.identifier("state file system"),
        packages.time,
    )?;
    let source = File::open(&image).doing("read", &image)?;
    let size = source.metadata().doing("look at", &image)?.len();
    sparse::copy(&source, 0, size, disk, start).doing("write the state partition into", path)?;
    fs::remove_file(&image).doing("remove", &image)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::size::Size;
    use std::process::Command;

    fn table() -> (u64, Vec<Partition>) {
        let sizes = DiskSizes {
            esp: Size(128 * MIB),
            root: Size(64 * MIB),
            verity: Size(MIB),
            signature: Size(MIB),
            state: Size(64 * MIB),
        };
        let partitions = partitions(Arch::X86_64, sizes, &|what| {
            Uuid::from_u128(u128::from(what.as_bytes()[10]))
        });
        (
            partitions
                .iter()
                .map(|partition| partition.start + partition.size)
                .max()
                .unwrap()
                + MIB,
            partitions,
        )
    }

    #[test]
    fn slots_read_back_as_one_release_and_one_empty() {
        let (size, partitions) = table();
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(size).unwrap();
        let mut table = Table::create(size, SECTOR, Uuid::from_u128(9), partitions).unwrap();
        table.assign(Slot::A, &"1.0.0".parse().unwrap(), &[7; 32].into());
        table.write(file.as_file()).unwrap();
        let table = Table::read(file.as_file(), SECTOR).unwrap();
        let label = |number| table.partition(number).unwrap().label.clone();
        assert_eq!(label(Slot::A.root_number()), "root_1.0.0");
        assert_eq!(label(Slot::B.root_number()), "_empty");
        assert_eq!(
            table.partition(partition::STATE_NUMBER).unwrap().attributes,
            partition::GROW_FILE_SYSTEM
        );
        let Ok(output) = Command::new("sfdisk").arg("--verify").arg(file.path()).output() else {
            crate::skip::skip("no sfdisk here");
            return;
        };
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("No errors detected"), "{said}");
    }

    #[test]
    fn no_two_partitions_share_an_identifier() {
        let (_, partitions) = table();
        let mut ids: Vec<Uuid> = partitions.iter().map(|partition| partition.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 8);
    }
}
