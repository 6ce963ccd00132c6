//! Overlays: folders of the definition whose files are laid over the tree.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::files::{self, list};
use crate::error::{Doing, Error, Result};

/// Lays the files of `overlay` over `tree`. They belong to root; a file that anyone may execute gets mode 0755, every other
/// 0644: version control keeps no more than that, and the umask of the user must not decide.
pub(super) fn run(overlay: &Path, tree: &Path) -> Result<()> {
    lay(overlay, overlay, tree)
}

fn lay(overlay: &Path, folder: &Path, tree: &Path) -> Result<()> {
    for path in list(folder)? {
        let meta = path.symlink_metadata().doing("look at", &path)?;
        let target = super::in_image(overlay, &path);
        if meta.is_dir() {
            // A folder of the overlay may be a link in the tree, as /lib: its files go where the link leads.
            let there = files::locate(tree, &target)?;
            if !there.is_symlink() {
                files::folder(tree, &target)?;
            }
            lay(overlay, &path, tree)?;
        } else if meta.is_symlink() {
            let to = fs::read_link(&path).doing("read the link", &path)?;
            files::link(tree, &target, &to.to_string_lossy())?;
        } else if meta.is_file() {
            let content = fs::read(&path).doing("read", &path)?;
            let mode = if meta.permissions().mode() & 0o111 == 0 {
                0o644
            } else {
                0o755
            };
            files::write(tree, &target, content, mode)?;
        } else {
            return Err(Error::Content(format!(
                "{} is neither file nor folder nor link; remove it from the overlay",
                path.display()
            )));
        }
    }
    Ok(())
}

/// Sets the modes that the definition gives.
pub(super) fn modes(modes: &BTreeMap<PathBuf, u32>, tree: &Path) -> Result<()> {
    for (path, mode) in modes {
        let file = files::locate(tree, &path.to_string_lossy())?;
        if !file.symlink_metadata().is_ok_and(|meta| !meta.is_symlink()) {
            return Err(Error::Content(format!(
                "{} in [modes] of the definition is not in the image",
                path.display()
            )));
        }
        fs::set_permissions(&file, fs::Permissions::from_mode(*mode)).doing("set the mode of", &file)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn modes_do_not_depend_on_the_umask_of_the_user() {
        let (overlay, tree) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir_all(overlay.path().join("usr/lib")).unwrap();
        for (name, given) in [("script", 0o700), ("text", 0o600)] {
            let path = overlay.path().join("usr/lib").join(name);
            fs::write(&path, name).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(given)).unwrap();
        }
        run(overlay.path(), tree.path()).unwrap();
        assert_eq!(mode(&tree.path().join("usr/lib/script")), 0o755);
        assert_eq!(mode(&tree.path().join("usr/lib/text")), 0o644);
        let table = BTreeMap::from([(PathBuf::from("/usr/lib/text"), 0o600)]);
        modes(&table, tree.path()).unwrap();
        assert_eq!(mode(&tree.path().join("usr/lib/text")), 0o600);
    }

    #[test]
    fn folder_that_is_a_link_in_the_tree_stays_a_link() {
        let (overlay, tree) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir_all(tree.path().join("usr/lib")).unwrap();
        symlink("usr/lib", tree.path().join("lib")).unwrap();
        fs::create_dir_all(overlay.path().join("lib/deeper")).unwrap();
        fs::write(overlay.path().join("lib/deeper/x"), "x").unwrap();
        run(overlay.path(), tree.path()).unwrap();
        assert!(tree.path().join("lib").is_symlink());
        assert!(tree.path().join("usr/lib/deeper/x").is_file());
    }

    #[test]
    fn mode_of_an_absent_file_is_an_error() {
        let tree = tempfile::tempdir().unwrap();
        let table = BTreeMap::from([(PathBuf::from("/usr/nothing"), 0o600)]);
        assert!(
            modes(&table, tree.path())
                .unwrap_err()
                .to_string()
                .contains("/usr/nothing")
        );
    }
}
