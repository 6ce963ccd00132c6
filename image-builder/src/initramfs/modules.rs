//! Which kernel modules go into the initramfs: those named, with all that they need.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Doing, Error, Result};

/// What depmod wrote about the modules of one kernel.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// By plain name: the file, relative to the folder of the modules, and the plain names of what it needs.
    modules: BTreeMap<String, (PathBuf, Vec<String>)>,
    /// Plain names of what is built into the kernel.
    builtin: BTreeSet<String>,
    /// `modules.alias` as it is.
    alias: String,
}

/// The modules chosen, and the files that tell `init` about them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selection {
    /// File name in the initramfs, and the file relative to the folder of the modules.
    pub(super) files: BTreeMap<String, PathBuf>,
    /// `modules.dep` with names in place of paths.
    pub(super) dep: String,
    /// The lines of `modules.alias` that lead to a module chosen.
    pub(super) alias: String,
    /// The modules loaded on every machine, one a line.
    pub(super) load: String,
}

impl Index {
    /// Reads what depmod left in `folder`.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let text = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).doing("read", &path)
        };
        Ok(Self::parse(
            &text("modules.dep")?,
            &text("modules.softdep")?,
            &text("modules.builtin")?,
            text("modules.alias")?,
        ))
    }

    fn parse(dep: &str, softdep: &str, builtin: &str, alias: String) -> Self {
        let mut modules: BTreeMap<String, (PathBuf, Vec<String>)> = BTreeMap::new();
        for (path, needs) in dep.lines().filter_map(|line| line.split_once(':')) {
            let needs = needs.split_whitespace().map(plain).collect();
            modules.insert(plain(path), (PathBuf::from(path), needs));
        }
        // "softdep NAME pre: A B post: C": worked without, but not as well; we take it along when it is there.
        for line in softdep.lines().filter_map(|line| line.strip_prefix("softdep ")) {
            let mut words = line.split_whitespace();
            let Some(name) = words.next() else { continue };
            let more: Vec<String> = words
                .filter(|word| !word.ends_with(':'))
                .map(plain)
                .filter(|word| modules.contains_key(word))
                .collect();
            if let Some((_, needs)) = modules.get_mut(&plain(name)) {
                needs.extend(more);
            }
        }
        Self {
            modules,
            builtin: builtin.lines().map(plain).collect(),
            alias,
        }
    }

    /// Chooses `load` and `more` with all they need. A name that is built in needs no file. A name that is neither is an error
    /// when the user wrote it (`strict`), and otherwise one that another architecture has.
    pub(super) fn select(&self, load: &[String], more: &[String], strict: bool) -> Result<Selection> {
        let mut chosen = BTreeSet::new();
        let mut loaded = String::new();
        for (index, name) in load.iter().chain(more).map(|name| plain(name)).enumerate() {
            if !self.modules.contains_key(&name) {
                if strict && !self.builtin.contains(&name) {
                    return Err(Error::Content(format!(
                        "the kernel has no module {name}, which [initramfs] of the definition names; see {}",
                        "/usr/lib/modules in the kernel package"
                    )));
                }
                continue;
            }
            if index < load.len() {
                let _ = writeln!(loaded, "{}", self.stem(&name));
            }
            self.add(&name, &mut chosen);
        }
        let mut selection = Selection {
            files: BTreeMap::new(),
            dep: String::new(),
            alias: String::new(),
            load: loaded,
        };
        for name in &chosen {
            let (path, needs) = &self.modules[name];
            let needs: Vec<String> = needs
                .iter()
                .filter(|name| chosen.contains(*name))
                .map(|name| format!("{}.ko", self.stem(name)))
                .collect();
            let file = format!("{}.ko", self.stem(name));
            let _ = writeln!(selection.dep, "{}", format!("{file}: {}", needs.join(" ")).trim_end());
            selection.files.insert(file, path.clone());
        }
        for line in self.alias.lines() {
            if line
                .rsplit(' ')
                .next()
                .is_some_and(|name| chosen.contains(&plain(name)))
                && line.starts_with("alias ")
            {
                let _ = writeln!(selection.alias, "{line}");
            }
        }
        Ok(selection)
    }

    fn add(&self, name: &str, chosen: &mut BTreeSet<String>) {
        let Some((_, needs)) = self.modules.get(name) else {
            return;
        };
        if chosen.insert(name.to_owned()) {
            for need in needs {
                self.add(need, chosen);
            }
        }
    }

    /// The name as its file has it: "dm-verity" where the plain name is `dm_verity`.
    fn stem(&self, name: &str) -> String {
        let (path, _) = &self.modules[name];
        stem(&path.to_string_lossy()).to_owned()
    }
}

/// The name of a module's file without folder and endings.
fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.split_once(".ko").map_or(name, |(stem, _)| stem)
}

/// A module's name in one spelling: the kernel takes `-` and `_` for the same.
fn plain(path: &str) -> String {
    stem(path).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        Index::parse(
            "kernel/md/dm-mod.ko:\nkernel/md/dm-bufio.ko: kernel/md/dm-mod.ko\nkernel/md/dm-verity.ko: kernel/md/dm-bufio.ko kernel/md/dm-mod.ko\n\
             kernel/block/virtio_blk.ko:\nkernel/crypto/crc32c-intel.ko:\nkernel/fs/btrfs.ko: kernel/crypto/crc32c-intel.ko\n",
            "# soft\nsoftdep virtio_blk pre: crc32c_intel nothing post: absent\n",
            "kernel/fs/ext4/ext4.ko\n",
            "# aliases\nalias virtio:d00000002v* virtio_blk\nalias fs-btrfs btrfs\nalias devname:x dm_mod\n".into(),
        )
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_is_needed_comes_along_and_nothing_else() {
        let selection = index()
            .select(&names(&["dm_verity", "ext4"]), &names(&["virtio-blk"]), true)
            .unwrap();
        assert_eq!(
            selection.files.keys().collect::<Vec<_>>(),
            [
                "crc32c-intel.ko",
                "dm-bufio.ko",
                "dm-mod.ko",
                "dm-verity.ko",
                "virtio_blk.ko"
            ]
        );
        assert_eq!(
            selection.dep,
            "crc32c-intel.ko:\ndm-bufio.ko: dm-mod.ko\ndm-mod.ko:\ndm-verity.ko: dm-bufio.ko dm-mod.ko\nvirtio_blk.ko: crc32c-intel.ko\n"
        );
        assert_eq!(
            selection.alias,
            "alias virtio:d00000002v* virtio_blk\nalias devname:x dm_mod\n"
        );
        assert_eq!(selection.load, "dm-verity\n");
    }

    #[test]
    fn name_that_nobody_knows_is_an_error_only_if_the_user_wrote_it() {
        assert!(
            index()
                .select(&names(&["no-such"]), &[], false)
                .unwrap()
                .files
                .is_empty()
        );
        assert!(
            index()
                .select(&names(&["no-such"]), &[], true)
                .unwrap_err()
                .to_string()
                .contains("no_such")
        );
    }

    #[test]
    fn modules_that_need_each_other_end() {
        let index = Index::parse("a.ko: b.ko\nb.ko: a.ko\n", "", "", String::new());
        assert_eq!(index.select(&names(&["a"]), &[], true).unwrap().files.len(), 2);
    }
}
