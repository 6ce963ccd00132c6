//! Hardware that was there before this program: the kernel keeps what it would have announced in sysfs.

use std::fs;
use std::path::Path;

use crate::bounded;

/// sysfs attributes end at one page, and pages are at most 64 KiB.
const ATTRIBUTE_LIMIT: u64 = 64 << 10;

/// Deeper than any chain of bridges and hubs.
const DEPTH: usize = 64;

/// The content of all `modalias` files below `folder`. What vanishes meanwhile is passed over. Symbolic links
/// lead to other places of the same tree and are not followed.
pub(super) fn modaliases(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    walk(folder, DEPTH, &mut found);
    found
}

fn walk(folder: &Path, depth: usize, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth > 0 {
            walk(&entry.path(), depth - 1, found);
        } else if kind.is_file() && entry.file_name() == "modalias" {
            let text = bounded::read_text(&entry.path(), ATTRIBUTE_LIMIT).unwrap_or_default();
            found.extend(
                text.lines()
                    .map(str::trim)
                    .filter(|line| !line.is_empty())
                    .map(str::to_owned),
            );
        }
    }
}
