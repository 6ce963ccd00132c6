//! Names on FAT: short ones of 8 and 3 letters, and the long ones that go before them.

use std::collections::BTreeSet;
use std::io;

/// UTF-16 units in one entry of a long name, and where they are in it.
const LONG_PLACES: [usize; 13] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
/// The longest name, in UTF-16 units.
const MAX_LONG: usize = 255;
const LONG: u8 = 0x0F;
const LAST_LONG: u8 = 0x40;
/// 1980-01-01, the first day FAT knows: when a file was written says nothing about the release.
const DATE: [u8; 2] = 0x0021u16.to_le_bytes();

/// One entry of a folder.
#[derive(Debug)]
pub(super) struct Entry(pub(super) [u8; 32]);

impl Entry {
    fn new(short: &[u8; 11], attributes: u8, first: u32, size: u32) -> Self {
        let mut entry = [0; 32];
        entry[..11].copy_from_slice(short);
        entry[11] = attributes;
        entry[16..18].copy_from_slice(&DATE);
        entry[18..20].copy_from_slice(&DATE);
        let [low, second, third, high] = first.to_le_bytes();
        entry[20..22].copy_from_slice(&[third, high]);
        entry[24..26].copy_from_slice(&DATE);
        entry[26..28].copy_from_slice(&[low, second]);
        entry[28..].copy_from_slice(&size.to_le_bytes());
        Self(entry)
    }

    /// The entry with the volume's label.
    pub(super) fn label(label: [u8; 11], attributes: u8) -> Self {
        Self::new(&label, attributes, 0, 0)
    }

    /// The entries `.` and `..` of a folder.
    pub(super) fn dots(name: &[u8; 11], attributes: u8, first: u32) -> Self {
        Self::new(name, attributes, first, 0)
    }
}

/// A name in both forms.
#[derive(Debug)]
pub(super) struct Name {
    short: [u8; 11],
    /// The long form, empty when the short one says all.
    long: Vec<u16>,
}

/// Gives each name of one folder its short form.
///
/// # Errors
/// A name is empty, too long, or has a character that FAT does not allow.
pub(super) fn short<'a>(names: impl Iterator<Item = &'a str>) -> io::Result<Vec<Name>> {
    let mut taken = BTreeSet::new();
    let mut result = Vec::new();
    for name in names {
        let long: Vec<u16> = name.encode_utf16().collect();
        let forbidden = name.chars().any(|c| c.is_control() || "\"*/:<>?\\|".contains(c));
        if name.trim_end_matches(['.', ' ']).is_empty()
            || name.ends_with(['.', ' '])
            || long.len() > MAX_LONG
            || forbidden
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("`{name}` is no name for a file on FAT"),
            ));
        }
        let exact = fitting(name).filter(|short| !taken.contains(short));
        // A name in capitals that fits needs no long form; one in small letters has the same short form and a long one.
        let plain = exact.is_some() && !name.chars().any(|c| c.is_ascii_lowercase());
        let short = exact.or_else(|| {
            (1..=99_999)
                .map(|number| numbered(name, number))
                .find(|short| !taken.contains(short))
        });
        let short = short.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "too many files of similar names in one folder",
            )
        })?;
        taken.insert(short);
        result.push(Name {
            short,
            long: if plain { Vec::new() } else { long },
        });
    }
    Ok(result)
}

fn split(name: &str) -> (&str, &str) {
    match name.rsplit_once('.') {
        Some((base, extension)) if !base.is_empty() => (base, extension),
        _ => (name, ""),
    }
}

fn allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'()-@^_`{}~".contains(c)
}

/// The short form of a name that has one without losing anything but the case.
fn fitting(name: &str) -> Option<[u8; 11]> {
    let (base, extension) = split(name);
    let fits = base.len() <= 8 && extension.len() <= 3 && base.chars().chain(extension.chars()).all(allowed);
    fits.then(|| padded(base, extension))
}

/// The short form of any other: what is left of its first letters, a tilde and a number.
fn numbered(name: &str, number: u32) -> [u8; 11] {
    let (base, extension) = split(name);
    let tail = format!("~{number}");
    let keep = |text: &str, length: usize| text.chars().filter(|c| allowed(*c)).take(length).collect::<String>();
    padded(&(keep(base, 8 - tail.len()) + &tail), &keep(extension, 3))
}

fn padded(base: &str, extension: &str) -> [u8; 11] {
    let mut short = [b' '; 11];
    for (place, byte) in short[..8].iter_mut().zip(base.bytes()) {
        *place = byte.to_ascii_uppercase();
    }
    for (place, byte) in short[8..].iter_mut().zip(extension.bytes()) {
        *place = byte.to_ascii_uppercase();
    }
    short
}

impl Name {
    /// How many entries the name takes.
    pub(super) fn slots(&self) -> usize {
        1 + self.long.len().div_ceil(LONG_PLACES.len())
    }

    /// Its entries: the long form from its end to its beginning, then the short one.
    pub(super) fn entries(&self, attributes: u8, first: u32, size: u32) -> Vec<Entry> {
        let sum = self
            .short
            .iter()
            .fold(0u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
        let mut entries = Vec::with_capacity(self.slots());
        for (index, part) in self.long.chunks(LONG_PLACES.len()).enumerate() {
            let mut entry = [0; 32];
            // At most 20 parts, since a name has at most 255 units.
            entry[0] = u8::try_from(index + 1).unwrap_or(u8::MAX);
            entry[11] = LONG;
            entry[13] = sum;
            for (position, place) in LONG_PLACES.into_iter().enumerate() {
                let unit = match position.cmp(&part.len()) {
                    std::cmp::Ordering::Less => part[position],
                    std::cmp::Ordering::Equal => 0,
                    std::cmp::Ordering::Greater => 0xFFFF,
                };
                entry[place..place + 2].copy_from_slice(&unit.to_le_bytes());
            }
            entries.push(Entry(entry));
        }
        if let Some(last) = entries.last_mut() {
            last.0[0] |= LAST_LONG;
        }
        entries.reverse();
        entries.push(Entry::new(&self.short, attributes, first, size));
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shorts(names: &[&str]) -> Vec<String> {
        let names = short(names.iter().copied()).unwrap();
        names
            .iter()
            .map(|name| {
                format!(
                    "{}{}",
                    String::from_utf8_lossy(&name.short),
                    if name.long.is_empty() { "" } else { "+" }
                )
            })
            .collect()
    }

    #[test]
    fn short_forms_are_unique_and_keep_what_fits() {
        assert_eq!(
            shorts(&[
                "BOOTX64.EFI",
                "Linux",
                "p_1.0.0.efi",
                "p_1.0.0.efi.new",
                "twinhull-server_1.0.0.efi",
                "twinhull-server_1.1.0.efi"
            ]),
            [
                "BOOTX64 EFI",
                "LINUX      +",
                "P_100~1 EFI+",
                "P_100E~1NEW+",
                "TWINHU~1EFI+",
                "TWINHU~2EFI+"
            ]
        );
    }

    #[test]
    fn names_that_fat_cannot_hold_are_refused() {
        for name in ["", ".", "..", "a/b", "a:b", "dot.", &"x".repeat(256)] {
            assert!(short(std::iter::once(name)).is_err(), "{name}");
        }
    }
}
