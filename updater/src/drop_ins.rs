//! Folders whose files are merged by name: a file in a stronger folder replaces the one of the same name in a weaker, and a
//! link to `/dev/null` there masks it. The convention of systemd (`systemd.unit(5)`), for configuration and health checks.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The most files that are taken from one folder.
const MAX_FILES: usize = 1000;

/// A folder that could not be listed.
#[derive(Debug, thiserror::Error)]
#[error("cannot list {}: {source}", folder.display())]
pub struct ListError {
    folder: PathBuf,
    #[source]
    source: io::Error,
}

/// The files that count, in the order of their names. `folders` go from weakest to strongest; one that does not exist is empty.
///
/// # Errors
/// A folder exists and cannot be listed.
pub(crate) fn effective(folders: &[PathBuf], wanted: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>, ListError> {
    let mut by_name: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for folder in folders {
        for path in list(folder)? {
            if let Some(name) = path.file_name().filter(|_| wanted(&path)) {
                by_name.insert(name.to_owned(), path);
            }
        }
    }
    Ok(by_name.into_values().filter(|path| !is_mask(path)).collect())
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, ListError> {
    let failed = |source| ListError {
        folder: folder.to_owned(),
        source,
    };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    entries
        .take(MAX_FILES)
        .map(|entry| entry.map(|entry| entry.path()).map_err(failed))
        .collect()
}

fn is_mask(path: &Path) -> bool {
    fs::read_link(path).is_ok_and(|target| target == Path::new("/dev/null"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn stronger_folder_replaces_masks_and_adds() {
        let root = tempfile::tempdir().unwrap();
        let (weak, strong) = (root.path().join("usr"), root.path().join("etc"));
        fs::create_dir(&weak).unwrap();
        fs::create_dir(&strong).unwrap();
        for name in ["10-kept", "20-replaced", "30-masked"] {
            fs::write(weak.join(name), "").unwrap();
        }
        fs::write(strong.join("20-replaced"), "").unwrap();
        fs::write(strong.join("05-added"), "").unwrap();
        symlink("/dev/null", strong.join("30-masked")).unwrap();

        let found = effective(&[weak.clone(), strong.clone(), root.path().join("absent")], |_| true).unwrap();

        assert_eq!(
            found,
            [
                strong.join("05-added"),
                weak.join("10-kept"),
                strong.join("20-replaced")
            ]
        );
    }
}
