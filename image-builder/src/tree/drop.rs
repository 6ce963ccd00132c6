//! What the definition drops: paths that no host of this kind needs, whatever package brings them.

use std::path::Path;

use super::files::{list, remove};
use crate::definition::pattern;
use crate::error::{Doing, Result};

/// Removes every path of `tree` that one of `patterns` matches.
pub(super) fn run(patterns: &[String], tree: &Path) -> Result<()> {
    if patterns.is_empty() {
        return Ok(());
    }
    walk(patterns, tree, tree)
}

fn walk(patterns: &[String], tree: &Path, folder: &Path) -> Result<()> {
    for path in list(folder)? {
        let name = super::in_image(tree, &path);
        if patterns.iter().any(|pattern| pattern::matches(pattern, &name)) {
            remove(&path)?;
        } else if path.symlink_metadata().doing("look at", &path)?.is_dir() {
            walk(patterns, tree, &path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn folders_go_whole_and_links_are_not_followed() {
        let tree = tempfile::tempdir().unwrap();
        for file in [
            "usr/lib/modules/6/kernel/sound/a.ko",
            "usr/lib/modules/6/kernel/net/b.ko",
            "usr/share/x/keep",
        ] {
            let path = tree.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        std::os::unix::fs::symlink("usr/share", tree.path().join("away")).unwrap();
        let patterns = ["/usr/lib/modules/*/kernel/sound", "/away/*"].map(str::to_owned);
        run(&patterns, tree.path()).unwrap();
        assert!(!tree.path().join("usr/lib/modules/6/kernel/sound").exists());
        assert!(tree.path().join("usr/lib/modules/6/kernel/net/b.ko").exists());
        assert!(tree.path().join("usr/share/x/keep").exists());
    }
}
