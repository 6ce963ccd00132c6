//! Files of a tree by their path in the image. Links are followed as if the tree were `/`, so that a link to an absolute path
//! can never lead to a file of the host.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use crate::error::{Doing, Error, Result};

/// How many links one path may follow, as the kernel allows.
const MAX_LINKS: usize = 40;

/// Where `path` of the image is in `tree`. The folders above it are resolved; the last part is not followed.
pub(super) fn locate(tree: &Path, path: &str) -> Result<PathBuf> {
    let mut pending: Vec<String> = parts(Path::new(path));
    let mut found = tree.to_owned();
    let mut links = 0;
    while let Some(part) = pending.pop() {
        if part == ".." {
            if found != tree {
                found.pop();
            }
            continue;
        }
        let next = found.join(&part);
        let is_link = next.symlink_metadata().is_ok_and(|meta| meta.is_symlink());
        if pending.is_empty() || !is_link {
            found = next;
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(Error::Content(format!(
                "{path} leads through too many links in the image"
            )));
        }
        let target = fs::read_link(&next).doing("read the link", &next)?;
        if target.is_absolute() {
            tree.clone_into(&mut found);
        }
        pending.extend(parts(&target));
    }
    Ok(found)
}

/// The parts of a path, last first.
fn parts(path: &Path) -> Vec<String> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        Component::ParentDir => Some("..".to_owned()),
        _ => None,
    });
    let mut parts: Vec<String> = parts.collect();
    parts.reverse();
    parts
}

/// Writes a file of the image, making the folders above it.
pub(super) fn write(tree: &Path, path: &str, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
    let file = place(tree, path)?;
    fs::write(&file, content).doing("write", &file)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).doing("set the mode of", &file)
}

/// Makes a symbolic link in the image.
pub(super) fn link(tree: &Path, path: &str, target: &str) -> Result<()> {
    let file = place(tree, path)?;
    symlink(target, &file).doing("make the link", &file)
}

/// Makes a folder of the image, and those above it, unless it is there.
pub(super) fn folder(tree: &Path, path: &str) -> Result<()> {
    let folder = locate(tree, path)?;
    if folder.is_dir() {
        return Ok(());
    }
    make_folder(&folder)
}

/// Makes a folder and those above it as root's, readable by all, whatever the umask of the user.
pub(super) fn make_folder(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        make_folder(parent)?;
    }
    fs::create_dir(folder).doing("make the folder", folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).doing("set the mode of", folder)
}

/// A free place for `path` of the image: folders above it made, whatever file was there removed.
pub(super) fn place(tree: &Path, path: &str) -> Result<PathBuf> {
    let file = locate(tree, path)?;
    if let Some(parent) = file.parent() {
        make_folder(parent)?;
    }
    match fs::remove_file(&file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).doing("replace", &file),
        _ => Ok(file),
    }
}

/// Removes a file, a link or a folder with its content; nothing there is fine.
pub(super) fn remove(path: &Path) -> Result<()> {
    let Ok(meta) = path.symlink_metadata() else {
        return Ok(());
    };
    if meta.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
    .doing("remove", path)
}

/// Removes what a folder of the image holds and keeps the folder.
pub(super) fn empty(folder: &Path) -> Result<()> {
    for path in list(folder)? {
        remove(&path)?;
    }
    Ok(())
}

/// What a folder holds, sorted by name; nothing when it is not there.
pub(super) fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.doing("list", folder)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.doing("list", folder)?.path());
    }
    paths.sort_unstable();
    Ok(paths)
}

/// Reads a text file of the tree.
pub(super) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).doing("read", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_never_lead_out_of_the_tree() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir_all(tree.path().join("usr/lib")).unwrap();
        symlink("usr/lib", tree.path().join("lib")).unwrap();
        symlink("/tmp", tree.path().join("away")).unwrap();
        symlink("../../../..", tree.path().join("up")).unwrap();
        assert_eq!(locate(tree.path(), "/lib/x").unwrap(), tree.path().join("usr/lib/x"));
        assert_eq!(locate(tree.path(), "/away/x").unwrap(), tree.path().join("tmp/x"));
        assert_eq!(locate(tree.path(), "/up/x").unwrap(), tree.path().join("x"));
    }

    #[test]
    fn links_in_a_circle_end() {
        let tree = tempfile::tempdir().unwrap();
        symlink("b", tree.path().join("a")).unwrap();
        symlink("a", tree.path().join("b")).unwrap();
        assert!(locate(tree.path(), "/a/x").is_err());
    }

    #[test]
    fn writing_replaces_a_link_and_leaves_its_target() {
        let tree = tempfile::tempdir().unwrap();
        fs::write(tree.path().join("target"), "old").unwrap();
        symlink("target", tree.path().join("file")).unwrap();
        write(tree.path(), "/file", "new", 0o600).unwrap();
        assert_eq!(fs::read_to_string(tree.path().join("target")).unwrap(), "old");
        let meta = tree.path().join("file").symlink_metadata().unwrap();
        assert!(meta.is_file());
        assert_eq!(meta.permissions().mode() & 0o7777, 0o600);
    }
}
