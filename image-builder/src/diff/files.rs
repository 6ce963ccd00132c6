//! The files of two root file systems, side by side.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;

use crate::definition::size::Size;
use crate::erofs::{self, Entry};
use crate::error::Result;
use crate::part::Part;

/// How many files are shown to a person; JSON has all of them.
const SHOWN: usize = 40;

/// What became of files, by their path in the image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Files {
    /// Bytes of those that came.
    pub added: BTreeMap<String, u64>,
    /// Bytes of those that went.
    pub removed: BTreeMap<String, u64>,
    /// Those that have another content, mode or owner.
    pub changed: BTreeMap<String, Change>,
}

/// How a file changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Bytes, old and new.
    pub size: (u64, u64),
    /// What else than the content is another, as "mode 644 -> 755".
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<String>,
}

impl Files {
    /// Compares two images.
    pub(super) fn between(old: &Part, new: &Part) -> Result<Self> {
        Ok(Self::compare(erofs::files(old)?, erofs::files(new)?))
    }

    fn compare(old: BTreeMap<PathBuf, Entry>, mut new: BTreeMap<PathBuf, Entry>) -> Self {
        let mut files = Self::default();
        let name = |path: PathBuf| path.to_string_lossy().into_owned();
        for (path, before) in old {
            match new.remove(&path) {
                None => {
                    files.removed.insert(name(path), before.size);
                }
                Some(after) if after != before => {
                    files.changed.insert(name(path), Change::between(&before, &after));
                }
                Some(_) => {}
            }
        }
        files.added = new.into_iter().map(|(path, entry)| (name(path), entry.size)).collect();
        files
    }

    /// The lines for a person: how many, and the largest of them by path.
    pub(super) fn to_text(&self) -> String {
        let (added, removed, changed) = (self.added.len(), self.removed.len(), self.changed.len());
        let mut text = if added + removed + changed == 0 {
            "the files are the same\n".to_owned()
        } else {
            format!("files: {added} added, {removed} removed, {changed} changed\n")
        };
        let mut lines: Vec<(u64, &str, String)> = Vec::new();
        for (path, size) in &self.added {
            lines.push((*size, path, format!("+ {path} {}", Size(*size))));
        }
        for (path, size) in &self.removed {
            lines.push((*size, path, format!("- {path} {}", Size(*size))));
        }
        for (path, change) in &self.changed {
            lines.push((change.size.1, path, format!("  {path} {change}")));
        }
        lines.sort_by_key(|(size, ..)| std::cmp::Reverse(*size));
        let more = lines.len().saturating_sub(SHOWN);
        lines.truncate(SHOWN);
        lines.sort_by_key(|(_, path, _)| *path);
        for (.., line) in lines {
            let _ = writeln!(text, "{line}");
        }
        if more > 0 {
            let _ = writeln!(text, "  and {more} smaller ones, which --json lists");
        }
        text
    }
}

impl Change {
    fn between(before: &Entry, after: &Entry) -> Self {
        let mut beside = Vec::new();
        if before.mode != after.mode {
            beside.push(format!("mode {:o} -> {:o}", before.mode, after.mode));
        }
        if (before.uid, before.gid) != (after.uid, after.gid) {
            beside.push(format!(
                "owner {}:{} -> {}:{}",
                before.uid, before.gid, after.uid, after.gid
            ));
        }
        Self {
            size: (before.size, after.size),
            beside,
        }
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (old, new) = self.size;
        if old == new {
            write!(f, "{}", Size(new))?;
        } else {
            write!(f, "{} -> {}", Size(old), Size(new))?;
        }
        for what in &self.beside {
            write!(f, ", {what}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(mode: u16, size: u64) -> Entry {
        Entry {
            mode,
            uid: 0,
            gid: 0,
            size,
            content: [u8::try_from(size % 251).unwrap(); 32],
        }
    }

    fn tree(files: &[(&str, u16, u64)]) -> BTreeMap<PathBuf, Entry> {
        (files.iter())
            .map(|(path, mode, size)| (PathBuf::from(path), entry(*mode, *size)))
            .collect()
    }

    #[test]
    fn what_came_went_and_changed_is_said_and_nothing_else() {
        let old = tree(&[
            ("/a", 0o100_644, 10),
            ("/b", 0o100_644, 20),
            ("/c", 0o100_644, 30),
            ("/s", 0o100_644, 1),
        ]);
        let new = tree(&[
            ("/b", 0o100_644, 4096),
            ("/c", 0o100_755, 30),
            ("/d", 0o100_644, 5),
            ("/s", 0o100_644, 1),
        ]);
        let text = Files::compare(old, new).to_text();
        assert_eq!(
            text,
            "files: 1 added, 1 removed, 2 changed\n- /a 10 bytes\n  /b 20 bytes -> 4.0 KiB\n\
             \u{20} /c 30 bytes, mode 100644 -> 100755\n+ /d 5 bytes\n"
        );
    }

    #[test]
    fn the_largest_are_shown_when_there_are_many() {
        let many: Vec<(String, u16, u64)> = (0..100).map(|n| (format!("/{n:03}"), 0o100_644, n)).collect();
        let many: Vec<(&str, u16, u64)> = many
            .iter()
            .map(|(path, mode, size)| (path.as_str(), *mode, *size))
            .collect();
        let text = Files::compare(tree(&[]), tree(&many)).to_text();
        assert!(
            text.contains("/099")
                && !text.contains("/059")
                && text.ends_with("  and 60 smaller ones, which --json lists\n"),
            "{text}"
        );
    }
}
