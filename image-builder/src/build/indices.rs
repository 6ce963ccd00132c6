//! Which packages there are: the indices of the archives, fetched and verified by apt into the cache.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use twinhull_layout::Arch;

use super::forget;
use crate::definition::package::Package;
use crate::error::{Doing, Result};
use crate::preflight;
use crate::tools::{Log, apt};
use crate::work::{IfBusy, Work};

/// How like a name must be to be suggested, from 0 to 1.
const LIKENESS: f64 = 0.85;

/// Names that can be installed.
#[derive(Debug, Default)]
pub(super) struct Names(HashSet<String>);

/// Whether indices may be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetch {
    /// Use what the cache has.
    Never,
    /// Fetch what the cache does not have.
    IfMissing,
    /// Fetch in any case.
    Always,
}

/// The indices of the archives `sources` (lines of sources.list) for `arch`, in the cache. `None`: none in the cache, and none
/// to be fetched.
pub(super) fn lists(log: &Log, cache: &Path, sources: &[String], arch: Arch, fetch: Fetch) -> Result<Option<PathBuf>> {
    let key = Sha256::digest(format!("{arch}\n{}", sources.join("\n")));
    let entry = cache.join(format!("{}{}", forget::INDICES, hex::encode(&key[..8])));
    let is_there = entry.is_dir();
    match fetch {
        Fetch::Never if !is_there => return Ok(None),
        Fetch::IfMissing if is_there => {}
        Fetch::Never => {}
        Fetch::IfMissing | Fetch::Always => {
            let work = Work::take(&entry.with_extension("part"), IfBusy::Wait)?;
            let lists = apt::update(log, work.path(), sources, arch, Path::new(preflight::KEYRING.0))?;
            match fs::remove_dir_all(&entry) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).doing("replace", &entry),
                _ => fs::rename(&lists, &entry).doing("move the indices to", &entry)?,
            }
        }
    }
    forget::used(&entry);
    Ok(Some(entry))
}

impl Names {
    /// Reads the indices in the folder `lists`.
    pub(super) fn read(lists: &Path) -> Result<Self> {
        let mut names = Self::default();
        for file in fs::read_dir(lists).doing("list", lists)? {
            let path = file.doing("list", lists)?.path();
            if path.to_string_lossy().ends_with("_Packages") {
                names.add(&fs::read_to_string(&path).doing("read", &path)?);
            }
        }
        Ok(names)
    }

    /// Adds the packages of one index, and the names that they provide.
    fn add(&mut self, index: &str) {
        for line in index.lines() {
            if let Some(name) = line.strip_prefix("Package: ") {
                self.0.insert(name.to_owned());
            } else if let Some(provided) = line.strip_prefix("Provides: ") {
                let names = provided.split(',').filter_map(|one| one.split_whitespace().next());
                self.0.extend(names.map(str::to_owned));
            }
        }
    }

    /// Whether `name` can be installed.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// What is wrong with `package`, if anything.
    pub(super) fn problem(&self, package: &Package, suite: &str, arch: Arch) -> Option<String> {
        if package.names().any(|name| self.has(name)) {
            return None;
        }
        let wanted = package.names().next()?;
        let nearest = (self.0.iter())
            .map(|known| (strsim::jaro_winkler(wanted, known), known))
            .filter(|(likeness, _)| *likeness > LIKENESS)
            .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)));
        let hint = nearest.map_or_else(String::new, |(_, known)| format!("; did you mean `{known}`?"));
        Some(format!("{suite} has no package `{package}` for {arch}{hint}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_package_is_named_with_the_nearest() {
        let mut names = Names::default();
        names.add("Package: podman\nVersion: 5\nProvides: container-engine (= 5), oci\n\nPackage: pod\n");
        let problem = |name| names.problem(&Package::parse(name).unwrap(), "trixie", Arch::Aarch64);
        assert_eq!(problem("podman"), None);
        assert_eq!(problem("container-engine"), None);
        assert_eq!(problem("podmann | pod"), None);
        assert_eq!(
            problem("podmann").unwrap(),
            "trixie has no package `podmann` for aarch64; did you mean `podman`?"
        );
        assert_eq!(problem("xyzzy").unwrap(), "trixie has no package `xyzzy` for aarch64");
    }
}
