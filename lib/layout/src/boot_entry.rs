//! Boot entries: unified kernel images on the ESP, with boot counting in their file names.
//!
//! The names follow the Boot Loader Specification (UAPI.1, "Boot counting"): `NAME+LEFT-DONE.efi`, later `NAME.efi`.

use std::cmp::{Ordering, Reverse};
use std::fmt;
use std::str::FromStr;

use crate::{ParseError, Product, Version};

/// How often an entry on trial may and did start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tries {
    /// Starts left; 0 means that the entry is bad.
    pub left: u32,
    /// Starts done.
    pub done: u32,
}

impl Tries {
    /// What a new entry gets. The form with both numbers is used from the start, so that the renames at boot never
    /// change the length of the name on FAT.
    pub const FRESH: Self = Self { left: 3, done: 0 };
    /// What takes an entry out of the running by hand.
    pub const SET_ASIDE: Self = Self { left: 0, done: 0 };
}

/// A boot entry's file name in [`crate::paths::ENTRIES`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BootEntry {
    /// What the image is.
    pub product: Product,
    /// Which release.
    pub version: Version,
    /// The boot counter; `None` once the entry is blessed.
    pub tries: Option<Tries>,
}

impl BootEntry {
    /// A new entry, on trial.
    #[must_use]
    pub fn fresh(product: Product, version: Version) -> Self {
        Self {
            product,
            version,
            tries: Some(Tries::FRESH),
        }
    }

    /// An entry that has proved itself (or came with the disk).
    #[must_use]
    pub fn blessed(product: Product, version: Version) -> Self {
        Self {
            product,
            version,
            tries: None,
        }
    }

    /// Whether the entry has used up its tries. systemd-boot starts such an entry only when there is no other.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        self.tries.is_some_and(|tries| tries.left == 0)
    }

    /// Whether the entry is on trial with tries left.
    #[must_use]
    pub fn is_on_trial(&self) -> bool {
        self.tries.is_some_and(|tries| tries.left > 0)
    }

    /// Whether both are the same release, whatever their counters say.
    #[must_use]
    pub fn same_release(&self, other: &Self) -> bool {
        self.product == other.product && self.version == other.version
    }
}

impl fmt::Display for BootEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.product, self.version)?;
        if let Some(Tries { left, done }) = self.tries {
            write!(f, "+{left}-{done}")?;
        }
        f.write_str(".efi")
    }
}

impl FromStr for BootEntry {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse(text).ok_or_else(|| {
            ParseError::new(
                text,
                "a boot entry's name: PRODUCT_VERSION.efi or PRODUCT_VERSION+LEFT-DONE.efi",
            )
        })
    }
}

fn parse(text: &str) -> Option<BootEntry> {
    let (product, rest) = text.strip_suffix(".efi")?.split_once('_')?;
    let (version, tries) = match rest.split_once('+') {
        None => (rest, None),
        Some((version, counter)) => {
            // systemd-boot writes "+3" for "+3-0"; both mean the same.
            let (left, done) = counter.split_once('-').unwrap_or((counter, "0"));
            (
                version,
                Some(Tries {
                    left: count(left)?,
                    done: count(done)?,
                }),
            )
        }
    };
    Some(BootEntry {
        product: product.parse().ok()?,
        version: version.parse().ok()?,
        tries,
    })
}

fn count(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Sorts entries as systemd-boot 257 does (`boot_entry_compare`): entries without tries left last; then by sort key, which is
/// the product; then newer versions first; then more tries left first. The first one boots.
pub fn boot_order(entries: &mut [BootEntry]) {
    entries.sort_by(|a, b| -> Ordering {
        a.is_bad()
            .cmp(&b.is_bad())
            .then_with(|| a.product.cmp(&b.product))
            .then_with(|| b.version.cmp(&a.version))
            .then_with(|| tries_left(a).cmp(&tries_left(b)))
    });
}

fn tries_left(entry: &BootEntry) -> Reverse<u32> {
    // No counter compares as more than any counter.
    Reverse(entry.tries.map_or(u32::MAX, |tries| tries.left))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(text: &str) -> BootEntry {
        text.parse().unwrap()
    }

    fn first(names: &[&str]) -> String {
        let mut entries: Vec<_> = names.iter().map(|name| entry(name)).collect();
        boot_order(&mut entries);
        entries[0].to_string()
    }

    #[test]
    fn fresh_entry_boots_before_the_older_blessed_one() {
        assert_eq!(first(&["p_1.0.0.efi", "p_1.1.0+3-0.efi"]), "p_1.1.0+3-0.efi");
        assert_eq!(first(&["p_1.9.0.efi", "p_1.10.0+1-2.efi"]), "p_1.10.0+1-2.efi");
    }

    #[test]
    fn used_up_entry_gives_way_to_the_older_one() {
        assert_eq!(first(&["p_1.0.0.efi", "p_1.1.0+0-3.efi"]), "p_1.0.0.efi");
    }

    #[test]
    fn foreign_names_are_not_entries() {
        for bad in [
            "p_1.0.0",
            "p.efi",
            "_1.0.efi",
            "p_1.0+.efi",
            "p_1.0+1-.efi",
            "p_1.0+-1.efi",
            "p_1.0+x.efi",
            "p_1+2-3-4.efi",
        ] {
            assert!(bad.parse::<BootEntry>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn name_round_trips(number in 0u32..100_000, left in 0u32..1000, done in 0u32..1000, counted: bool) {
            let name = if counted { format!("p-1_1.{number}+{left}-{done}.efi") } else { format!("p-1_1.{number}.efi") };
            prop_assert_eq!(entry(&name).to_string(), name);
        }
    }
}
