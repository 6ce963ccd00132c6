//! Judges a machine as the boot loader and our init would meet it.

use std::io;

use twinhull_layout::table::{Medium, SlotContent};
use twinhull_layout::{BootEntry, Slot, Table, Version, boot_order};

use crate::recorder::Machine;
use crate::world::{ARCH, Image};

struct Disk<'a>(&'a [u8]);

impl Medium for Disk<'_> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        buffer.copy_from_slice(
            self.0
                .get(offset..offset + buffer.len())
                .ok_or(io::ErrorKind::UnexpectedEof)?,
        );
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

pub(crate) fn table(machine: &Machine) -> Result<Table, String> {
    Table::read(&Disk(&machine.disk), 512).map_err(|error| error.to_string())
}

/// What boots.
///
/// Beyond that, nothing on the machine may promise what it does not keep: every slot that the table names holds that release to
/// the last bit, and every entry that may be started is whole and has its slot.
pub(crate) fn boots(machine: &Machine, images: &[Image]) -> Result<Version, String> {
    let table = table(machine)?;
    for slot in Slot::ALL {
        let place = table.slot(slot, ARCH).map_err(|error| error.to_string())?;
        let SlotContent::Release(version) = place.content() else {
            continue;
        };
        let image = images.iter().find(|image| image.version == version);
        let image = image.ok_or(format!("slot {slot} claims to hold {version}"))?;
        if !place.holds(&image.hash) {
            return Err(format!("slot {slot} holds {version} under another name"));
        }
        let (root, tree) = (
            usize::try_from(place.root.start).unwrap(),
            usize::try_from(place.verity.start).unwrap(),
        );
        let mut root = &machine.disk[root..][..image.root.len()];
        let mut tree = &machine.disk[tree..][..image.tree.len()];
        twinhull_verity::verify(&mut root, &mut tree, &image.hash)
            .map_err(|error| format!("slot {slot} with {version}: {error}"))?;
    }
    let mut entries = Vec::new();
    for (name, content) in &machine.entries {
        let Ok(entry) = name.parse::<BootEntry>() else {
            continue;
        };
        // Written without its first sector so far: no entry to the loader.
        if !content.starts_with(b"MZ") {
            continue;
        }
        if !entry.is_bad() {
            let image = images.iter().find(|image| image.version == entry.version).unwrap();
            if *content != image.kernel {
                return Err(format!("{name} is not whole"));
            }
            if table
                .slot_holding(&image.hash, ARCH)
                .map_err(|error| error.to_string())?
                .is_none()
            {
                return Err(format!("{name} has no slot"));
            }
        }
        entries.push(entry);
    }
    boot_order(&mut entries);
    let first = entries.first().ok_or("no entry at all")?;
    if first.is_bad() {
        Err(format!("only {first}"))
    } else {
        Ok(first.version.clone())
    }
}
