//! Which earlier builds get a delta, and how small it is to be.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use twinhull_layout::Version;

use crate::build::manifest::Manifest;
use crate::error::{Doing, Error, Result};

/// The level of a quick delta: it costs seconds, and half as many bytes again as the best.
const QUICK: i32 = 3;

/// A build that hosts may have, and how hard to compress what brings them to the new one.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) path: PathBuf,
    pub(super) manifest: Manifest,
    pub(super) level: i32,
}

/// The bases that somebody named.
pub(super) fn given(paths: &[PathBuf], new: &Manifest, level: i32) -> Result<Vec<Base>> {
    let base = |path: &PathBuf| {
        let manifest = Manifest::read(path)?;
        if let Some(what) = unfit(&manifest, new) {
            return Err(Error::Usage(format!(
                "--base {}: it is {what} than {}",
                path.display(),
                new.name()
            )));
        }
        Ok(Base {
            path: path.clone(),
            manifest,
            level,
        })
    };
    paths.iter().map(base).collect()
}

/// Adds the builds in `folder` that hosts are likely to have: the last `best` at `level`, and quick ones from all others in
/// `offered`. What is in `bases` already stays as it is.
pub(super) fn add_from(
    folder: &Path,
    bases: &mut Vec<Base>,
    new: &Manifest,
    offered: &BTreeSet<Version>,
    best: usize,
    level: i32,
) -> Result<()> {
    let mut builds = Vec::new();
    for entry in folder.read_dir().doing("list", folder)? {
        let path = entry.doing("list", folder)?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        // Other files of a build are JSON too.
        let Ok(manifest) = Manifest::read(&path) else { continue };
        let is_file_of_its_own = path.file_stem().is_some_and(|stem| *stem == *manifest.name());
        if is_file_of_its_own && unfit(&manifest, new).is_none() {
            builds.push((path, manifest));
        }
    }
    let versions: BTreeSet<Version> = builds.iter().map(|(_, manifest)| manifest.version.clone()).collect();
    let levels = levels(&versions, offered, best, level);
    for (path, manifest) in builds {
        // Two versions of the same content are one base.
        let known = bases
            .iter()
            .any(|base| base.manifest.root.root_hash == manifest.root.root_hash);
        let chosen = levels.iter().find(|(version, _)| **version == manifest.version);
        if let (Some((_, level)), false) = (chosen, known) {
            bases.push(Base {
                path,
                level: *level,
                manifest,
            });
        }
    }
    bases.sort_by(|one, other| other.manifest.version.cmp(&one.manifest.version));
    Ok(())
}

/// The builds among `versions` that get a delta, the newest first, and its level.
fn levels<'v>(
    versions: &'v BTreeSet<Version>,
    offered: &BTreeSet<Version>,
    best: usize,
    level: i32,
) -> Vec<(&'v Version, i32)> {
    let newest_first = versions.iter().rev().enumerate();
    newest_first
        .filter_map(|(age, version)| {
            if age < best {
                Some((version, level))
            } else {
                offered.contains(version).then_some((version, level.min(QUICK)))
            }
        })
        .collect()
}

/// Why no host could go from `base` to `new`, if so.
fn unfit(base: &Manifest, new: &Manifest) -> Option<&'static str> {
    if base.product != new.product || base.arch != new.arch {
        Some("of another product or architecture")
    } else if base.root.root_hash == new.root.root_hash || base.version >= new.version {
        Some("no older")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(texts: &[&str]) -> BTreeSet<Version> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_last_are_best_and_what_a_channel_offers_is_quick() {
        let builds = versions(&["1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.10.0"]);
        let chosen = levels(&builds, &versions(&["1.1.0", "1.3.0", "0.9.0"]), 2, 19);
        let chosen: Vec<_> = chosen
            .iter()
            .map(|(version, level)| (version.to_string(), *level))
            .collect();
        let expected = [("1.10.0", 19), ("1.3.0", 19), ("1.1.0", 3)].map(|(text, level)| (text.to_owned(), level));
        assert_eq!(chosen, expected);
        assert_eq!(
            levels(&builds, &versions(&["1.0.0"]), 0, 1),
            [(builds.first().unwrap(), 1)]
        );
    }
}
