//! What changed from one build to another, and what the change would cost a host.

mod files;

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::io::{BufReader, Read};
use std::path::Path;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::build::manifest::Manifest;
use crate::definition::size::Size;
use crate::error::{Doing, Error, Result};
use crate::part::Part;
use files::Files;

/// Bytes of a block, in which an update copies what the host has already.
const BLOCK: usize = 4096;

/// The difference between two builds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Packages that came in, with their versions.
    pub added: BTreeMap<String, String>,
    /// Packages that went, with their versions.
    pub removed: BTreeMap<String, String>,
    /// Packages that have another version: the old and the new.
    pub changed: BTreeMap<String, (String, String)>,
    /// Files of the root file system that came, went or are others.
    pub files: Files,
    /// Bytes of the root file system, old and new.
    pub root: (u64, u64),
    /// Bytes of the kernel image, old and new.
    pub uki: (u64, u64),
    /// Bytes of the new root in blocks that the old one does not have anywhere: what an update has to bring, before compression.
    pub new_root_bytes: u64,
    /// The same of the kernel image.
    pub new_uki_bytes: u64,
}

/// Compares two builds by their manifests, with `NAME.raw` and `NAME.efi` beside them.
///
/// # Errors
/// A file is missing; the builds are of different products or architectures.
pub fn run(old: &Path, new: &Path) -> Result<Difference> {
    let (before, after) = (Manifest::read(old)?, Manifest::read(new)?);
    if before.product != after.product || before.arch != after.arch {
        return Err(Error::Usage(format!(
            "{} and {} are of different products or architectures",
            before.name(),
            after.name()
        )));
    }
    let roots = (Part::root(old, &before)?, Part::root(new, &after)?);
    let kernels = (Part::uki(old, &before)?, Part::uki(new, &after)?);
    let cost = |(old, new): &(Part, Part)| new_bytes(new, &blocks(old)?);
    let mut difference = Difference {
        added: BTreeMap::new(),
        removed: BTreeMap::new(),
        changed: BTreeMap::new(),
        files: Files::between(&roots.0, &roots.1)?,
        root: (before.root.size, after.root.size),
        uki: (before.uki.size, after.uki.size),
        new_root_bytes: cost(&roots)?,
        new_uki_bytes: cost(&kernels)?,
    };
    difference.packages(versions(&before), versions(&after));
    Ok(difference)
}

/// The versions of each package: the same name may be there twice, for the tree and for the kernel.
fn versions(manifest: &Manifest) -> BTreeMap<String, String> {
    let packages = manifest.packages.iter();
    packages
        .map(|package| (package.name.clone(), package.version.clone()))
        .collect()
}

fn each_block(part: &Part, mut each: impl FnMut([u8; 16], u64)) -> Result<()> {
    let mut reader = BufReader::with_capacity(1 << 20, part.reader());
    let mut block = Vec::with_capacity(BLOCK);
    loop {
        block.clear();
        let read = (&mut reader)
            .take(BLOCK as u64)
            .read_to_end(&mut block)
            .doing("read", part.path())?;
        if read == 0 {
            return Ok(());
        }
        let mut short = [0; 16];
        short.copy_from_slice(&Sha256::digest(&block)[..16]);
        each(short, read as u64);
    }
}

fn blocks(part: &Part) -> Result<HashSet<[u8; 16]>> {
    let mut known = HashSet::new();
    each_block(part, |hash, _| {
        known.insert(hash);
    })?;
    Ok(known)
}

fn new_bytes(part: &Part, known: &HashSet<[u8; 16]>) -> Result<u64> {
    let (mut seen, mut bytes) = (HashSet::new(), 0);
    each_block(part, |hash, size| {
        if !known.contains(&hash) && seen.insert(hash) {
            bytes += size;
        }
    })?;
    Ok(bytes)
}

impl Difference {
    fn packages(&mut self, before: BTreeMap<String, String>, mut after: BTreeMap<String, String>) {
        for (name, old) in before {
            match after.remove(&name) {
                None => {
                    self.removed.insert(name, old);
                }
                Some(new) if new != old => {
                    self.changed.insert(name, (old, new));
                }
                Some(_) => {}
            }
        }
        self.added = after;
    }

    /// The lines for a person.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (name, version) in &self.added {
            let _ = writeln!(text, "+ {name} {version}");
        }
        for (name, version) in &self.removed {
            let _ = writeln!(text, "- {name} {version}");
        }
        for (name, (old, new)) in &self.changed {
            let _ = writeln!(text, "  {name} {old} -> {new}");
        }
        if self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty() {
            text.push_str("the packages are the same\n");
        }
        text.push_str(&self.files.to_text());
        for (what, (old, new), cost) in [
            ("root", self.root, self.new_root_bytes),
            ("kernel image", self.uki, self.new_uki_bytes),
        ] {
            let _ = writeln!(
                text,
                "{what:<13} {} -> {}; {} are in no block of the old one, which an update brings, compressed",
                Size(old),
                Size(new),
                Size(cost)
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moved_blocks_cost_nothing_and_new_ones_once() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        let block = |byte: u8| vec![byte; BLOCK];
        std::fs::write(&old, [block(1), block(2)].concat()).unwrap();
        std::fs::write(&new, [block(2), block(3), block(3), block(1), vec![4; 10]].concat()).unwrap();
        let (old, new) = (Part::whole(&old).unwrap(), Part::whole(&new).unwrap());
        let known = blocks(&old).unwrap();
        assert_eq!(new_bytes(&new, &known).unwrap(), 4096 + 10);
        assert_eq!(new_bytes(&old, &known).unwrap(), 0);
    }

    #[test]
    fn packages_come_go_and_change() {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
        let mut difference = Difference {
            added: BTreeMap::new(),
            removed: BTreeMap::new(),
            changed: BTreeMap::new(),
            files: Files::default(),
            root: (0, 0),
            uki: (0, 0),
            new_root_bytes: 0,
            new_uki_bytes: 0,
        };
        difference.packages(
            map(&[("a", "1"), ("b", "1"), ("c", "1")]),
            map(&[("b", "2"), ("c", "1"), ("d", "1")]),
        );
        let text = difference.to_text();
        assert!(
            text.contains("+ d 1\n- a 1\n  b 1 -> 2\n") && !text.contains(" c "),
            "{text}"
        );
    }
}
