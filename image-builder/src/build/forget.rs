//! What the cache forgets: whatever no build has used for a month. Nobody should have to tidy it by hand, and every change of a lock
//! file leaves some 500 MB in it.
//!
//! Package files stay. An archive keeps the newest of each package only, and a lock file is worth nothing without those that it names.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::error::{Doing, Result};
use crate::work::{self, GONE};

/// How long something is kept that nobody uses.
const KEPT: Duration = Duration::from_hours(30 * 24);

/// What the names in the cache begin with: of folders with installed packages ([`super::packages`]),
pub(super) const PACKAGES: &str = "packages-";
/// with tools,
pub(super) const TOOLS: &str = "tools-";
/// with a container image ([`super::containers`]),
pub(super) const CONTAINER: &str = "container-";
/// with the indices of archives ([`super::indices`]);
pub(super) const INDICES: &str = "indices-";
/// and of what a build gave ([`super::record`]).
pub(super) const BUILT: &str = "built-";

/// Takes note that `entry`, a folder or a file of the cache, was used now. Whoever may only read the cache cannot, and need not.
pub(super) fn used(entry: &Path) {
    drop(File::open(entry).and_then(|entry| entry.set_modified(SystemTime::now())));
}

/// Removes from `cache` what was not used for a month before `now`, unless a build is just using it, and what an interrupted removal
/// left. Gives how much that was.
pub(super) fn run(cache: &Path, now: SystemTime) -> Result<usize> {
    let mut forgotten = 0;
    for entry in fs::read_dir(cache).doing("list", cache)? {
        let path = entry.doing("list", cache)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_folder = [PACKAGES, TOOLS, CONTAINER, INDICES]
            .iter()
            .any(|begin| name.starts_with(begin));
        if !is_folder && !name.starts_with(BUILT) {
            continue;
        }
        let Ok(meta) = path.symlink_metadata() else {
            // Another build forgets, too.
            continue;
        };
        let modified = meta.modified().doing("look at", &path)?;
        // A time to come is one of a clock that was wrong.
        let unused = now.duration_since(modified).is_ok_and(|since| since > KEPT);
        let left_over = path.extension().is_some_and(|ending| ending == GONE);
        if is_folder && (unused || left_over) {
            forgotten += usize::from(work::remove_unless_held(&path)?);
        } else if unused {
            fs::remove_file(&path).doing("remove", &path)?;
            forgotten += 1;
        }
    }
    Ok(forgotten)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::Held;

    #[test]
    fn what_nobody_has_used_for_a_month_goes_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let folders = [
            "packages-old",
            "packages-held",
            "packages-used",
            "tools-old",
            "tools-old.part",
            "container-old",
            "indices-new",
            "packages-x.gone",
            "debs",
            "mine",
        ];
        for name in folders {
            fs::create_dir_all(at(name).join("usr")).unwrap();
        }
        for name in ["built-old.json", "built-new.json", "notes"] {
            fs::write(at(name), "").unwrap();
        }
        let now = SystemTime::now();
        let old = now - KEPT - Duration::from_mins(1);
        for entry in fs::read_dir(folder.path()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.to_string_lossy().into_owned();
            if !name.contains("new") && !name.contains("gone") {
                File::open(path).unwrap().set_modified(old).unwrap();
            }
        }
        used(&at("packages-used"));
        let held = Held::take(&at("packages-held")).unwrap();
        assert_eq!(run(folder.path(), now).unwrap(), 6);
        let mut left: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(
            left,
            [
                "built-new.json",
                "debs",
                "indices-new",
                "mine",
                "notes",
                "packages-held",
                "packages-used"
            ]
        );
        drop(held);
        assert_eq!(run(folder.path(), now).unwrap(), 1);
    }
}
