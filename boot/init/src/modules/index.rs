//! `modules.dep` and `modules.alias`, as depmod(8) writes them, with base names in place of paths.

use std::collections::{BTreeMap, BTreeSet};

use super::glob;
use crate::error::InitError;

/// Which module files there are, what they need, and what hardware they are for.
#[derive(Debug, Default)]
pub(super) struct Index {
    files: BTreeMap<String, Entry>,
    aliases: Vec<(String, String)>,
}

#[derive(Debug)]
struct Entry {
    file: String,
    needs: Vec<String>,
}

impl Index {
    /// Reads the text of both lists.
    pub(super) fn parse(dep: &str, alias: &str) -> Result<Self, InitError> {
        let mut index = Self::default();
        for (line, text) in content(dep) {
            let (file, needs) = text.split_once(':').ok_or_else(|| misread("modules.dep", line, text))?;
            let needs = needs.split_ascii_whitespace().map(name_of_file).collect();
            let file = base_name(file.trim()).to_owned();
            index.files.insert(name_of_file(&file), Entry { file, needs });
        }
        for (line, text) in content(alias) {
            let mut words = text.split_ascii_whitespace();
            match (words.next(), words.next(), words.next(), words.next()) {
                (Some("alias"), Some(pattern), Some(name), None) => {
                    index.aliases.push((pattern.to_owned(), canonical(name)));
                }
                _ => return Err(misread("modules.alias", line, text)),
            }
        }
        Ok(index)
    }

    /// The files to load for module `name`, dependencies first; none when it is not in the initramfs. A circle
    /// of dependencies ends where it closes.
    pub(super) fn order(&self, name: &str) -> Vec<String> {
        let mut order = Vec::new();
        self.visit(&canonical(name), &mut BTreeSet::new(), &mut order);
        order
    }

    fn visit(&self, name: &str, visited: &mut BTreeSet<String>, order: &mut Vec<String>) {
        let Some(entry) = self.files.get(name) else { return };
        if visited.insert(name.to_owned()) {
            for needed in &entry.needs {
                self.visit(needed, visited, order);
            }
            order.push(entry.file.clone());
        }
    }

    /// Names of the modules that say they drive the hardware `modalias`.
    pub(super) fn matching(&self, modalias: &str) -> Vec<String> {
        let fits = |(pattern, _): &&(String, String)| glob::matches(pattern, modalias);
        self.aliases.iter().filter(fits).map(|(_, name)| name.clone()).collect()
    }
}

/// Lines that say something, with their numbers from 1.
fn content(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn misread(file: &'static str, line: usize, text: &str) -> InitError {
    InitError::ModuleList {
        file,
        line,
        text: text.chars().take(80).collect(),
    }
}

fn base_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// A module's name from its file: `kernel/a/dm-verity.ko.xz` is `dm_verity`.
fn name_of_file(path: &str) -> String {
    let file = base_name(path);
    canonical(file.split_once(".ko").map_or(file, |(name, _)| name))
}

/// The kernel does not tell dashes and underscores apart.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::Index;

    const DEP: &str = "# made by depmod\n\
        dm-verity.ko: dm-bufio.ko dm-mod.ko reed_solomon.ko\n\
        dm-bufio.ko: dm-mod.ko\n\
        dm-mod.ko:\n\
        kernel/lib/reed_solomon.ko.xz:\n\
        a.ko: b.ko\n\
        b.ko: a.ko\n";
    const ALIAS: &str = "alias virtio:d00000002v* virtio_blk\nalias virtio:d* virtio_any\n";

    #[test]
    fn dependencies_come_first_and_once() {
        let order = Index::parse(DEP, ALIAS).unwrap().order("dm_verity");
        assert_eq!(
            order,
            ["dm-mod.ko", "dm-bufio.ko", "reed_solomon.ko.xz", "dm-verity.ko"]
        );
    }

    #[test]
    fn dash_and_underscore_are_one() {
        let index = Index::parse(DEP, ALIAS).unwrap();
        assert_eq!(index.order("dm-verity"), index.order("dm_verity"));
        assert_eq!(index.order("reed-solomon"), ["reed_solomon.ko.xz"]);
    }

    #[test]
    fn built_in_module_has_no_file() {
        assert!(Index::parse(DEP, ALIAS).unwrap().order("ext4").is_empty());
    }

    #[test]
    fn circle_of_dependencies_ends() {
        assert_eq!(Index::parse(DEP, ALIAS).unwrap().order("a"), ["b.ko", "a.ko"]);
    }

    #[test]
    fn every_module_that_fits_is_named() {
        let index = Index::parse(DEP, ALIAS).unwrap();
        assert_eq!(
            index.matching("virtio:d00000002v00001AF4"),
            ["virtio_blk", "virtio_any"]
        );
        assert!(index.matching("pci:v00001AF4").is_empty());
    }

    #[test]
    fn line_that_is_not_understood_is_shown() {
        let error = Index::parse("dm-mod.ko:\nnonsense\n", "").unwrap_err().to_string();
        assert!(error.contains("modules.dep, line 2: `nonsense`"), "{error}");
        assert!(Index::parse("", "alias only_two\n").is_err());
    }
}
