//! What steps do to a disk from outside, and what they look at there.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use twinhull_layout::{Arch, Slot};

use super::document::{Damage, Place};
use crate::disk::{Disk, SlotContent};
use crate::error::{Error, Result, expect};

/// The most bytes that are damaged at once.
pub(super) const MOST: u64 = 1 << 30;

/// What a disk must be like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) a: Option<&'a str>,
    pub(super) b: Option<&'a str>,
    pub(super) intact: &'a [String],
    pub(super) damaged: &'a [String],
    pub(super) entries: Option<&'a [String]>,
    pub(super) table: Option<bool>,
}

impl Wanted<'_> {
    pub(super) fn check(&self, path: &Path, arch: Arch) -> Result<()> {
        let disk = Disk::open(path, arch)?;
        for (slot, wanted) in [(Slot::A, self.a), (Slot::B, self.b)] {
            let Some(wanted) = wanted else { continue };
            let found = match disk.content(slot)? {
                SlotContent::Empty => "empty".to_owned(),
                SlotContent::Release(version) => version.to_string(),
            };
            expect(found == wanted, || {
                format!("slot {slot} holds {found} and not {wanted}")
            })?;
        }
        for (slots, intact) in [(self.intact, true), (self.damaged, false)] {
            for name in slots {
                let slot = if name == "a" { Slot::A } else { Slot::B };
                let hash = disk.named_root_hash(slot)?;
                match disk.check_intact(slot, &hash) {
                    Err(error) if intact => return Err(error),
                    Ok(()) if !intact => {
                        return Err(Error::Expectation(format!(
                            "slot {slot} is intact, and should be damaged"
                        )));
                    }
                    _ => {}
                }
            }
        }
        if let Some(wanted) = self.entries {
            let found: Vec<_> = disk.boot_entries()?.iter().map(ToString::to_string).collect();
            expect(found == wanted, || {
                format!("boot entries are {found:?} and not {wanted:?}")
            })?;
        }
        if let Some(wanted) = self.table {
            let valid = disk.primary_table_is_valid();
            expect(valid == wanted, || {
                format!(
                    "the partition table at the beginning is {}",
                    if valid { "valid" } else { "damaged" }
                )
            })?;
        }
        Ok(())
    }
}

/// Where on a disk bytes are damaged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot<'a> {
    pub(super) place: Place,
    pub(super) file: Option<&'a str>,
    pub(super) offset: i64,
    pub(super) bytes: u64,
}

impl Spot<'_> {
    /// Damages it; the first byte on the disk.
    pub(super) fn damage(&self, damage: Damage, path: &Path, arch: Arch) -> Result<u64> {
        let failed = |source| Error::file("damage", path, source);
        let file = File::options().read(true).write(true).open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let start = if let Some(name) = self.file {
            Disk::open(path, arch)?.place_in_esp_file(name, self.offset.unsigned_abs())?
        } else {
            let range = self.range(path, arch, size)?;
            range.start + self.within(range.end - range.start)?
        };
        let end = start
            .checked_add(self.bytes)
            .filter(|end| *end <= size && self.bytes <= MOST);
        let length = end
            .map(|end| end - start)
            .and_then(|length| usize::try_from(length).ok());
        let length = length.ok_or_else(|| {
            Error::Expectation(format!(
                "{} bytes at {start} are not on this disk of {size}",
                self.bytes
            ))
        })?;
        let mut bytes = vec![0; length];
        if damage == Damage::Flip {
            file.read_exact_at(&mut bytes, start).map_err(failed)?;
            for byte in &mut bytes {
                *byte = !*byte;
            }
        }
        file.write_all_at(&bytes, start).map_err(failed)?;
        Ok(start)
    }

    /// The first byte within something of `length` bytes.
    fn within(&self, length: u64) -> Result<u64> {
        let at = if self.offset < 0 {
            length.checked_add_signed(self.offset)
        } else {
            u64::try_from(self.offset).ok()
        };
        at.filter(|at| *at < length)
            .ok_or_else(|| Error::Expectation(format!("offset {} is not within {:?}", self.offset, self.place)))
    }

    fn range(&self, path: &Path, arch: Arch, size: u64) -> Result<Range<u64>> {
        // Sizes of the table as `gpt` writes it: a header and 128 entries of 128 bytes, and before the first copy the
        // protective record.
        const SECTOR: u64 = 512;
        const TABLE: u64 = 33 * SECTOR;
        match self.place {
            Place::Disk => Ok(0..size),
            Place::Table => Ok(SECTOR..SECTOR + TABLE),
            Place::BackupTable => Ok(size.saturating_sub(TABLE)..size),
            place => Disk::open(path, arch)?.range_of(place.into()),
        }
    }
}

impl From<Place> for u32 {
    /// The number of the partition.
    fn from(place: Place) -> Self {
        use twinhull_layout::partition::{ESP_NUMBER, STATE_NUMBER};
        match place {
            Place::Table | Place::BackupTable | Place::Disk => 0,
            Place::Esp => ESP_NUMBER,
            Place::RootA => Slot::A.root_number(),
            Place::VerityA => Slot::A.verity_number(),
            Place::SignatureA => Slot::A.signature_number(),
            Place::RootB => Slot::B.root_number(),
            Place::VerityB => Slot::B.verity_number(),
            Place::SignatureB => Slot::B.signature_number(),
            Place::State => STATE_NUMBER,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(place: Place, offset: i64, bytes: u64) -> Spot<'static> {
        Spot {
            place,
            file: None,
            offset,
            bytes,
        }
    }

    #[test]
    fn bytes_are_flipped_zeroed_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        std::fs::write(&path, vec![0x0f; 100_000]).unwrap();
        let damage = |spot: Spot<'_>, damage| spot.damage(damage, &path, Arch::X86_64);
        assert_eq!(damage(spot(Place::Disk, -2, 2), Damage::Flip).unwrap(), 99_998);
        assert_eq!(damage(spot(Place::Table, 0, 8), Damage::Zero).unwrap(), 512);
        assert_eq!(damage(spot(Place::BackupTable, -512, 1), Damage::Flip).unwrap(), 99_488);
        let disk = std::fs::read(&path).unwrap();
        assert_eq!(
            (&disk[99_998..], &disk[512..521]),
            (&[0xf0, 0xf0][..], &[0, 0, 0, 0, 0, 0, 0, 0, 0x0f][..])
        );
        assert!(damage(spot(Place::Disk, 99_999, 2), Damage::Flip).is_err());
        assert!(damage(spot(Place::Table, 40_000, 1), Damage::Flip).is_err());
        assert!(damage(spot(Place::RootA, 0, 1), Damage::Flip).is_err());
    }
}
