//! Files of the image that belong to others than root.

use std::collections::BTreeMap;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};

use super::files::{locate, read};
use crate::error::{Doing, Error, Result};

/// Sets the owners that the definition gives, by the accounts of `tree`. Last of all that changes accounts.
pub(super) fn run(owners: &BTreeMap<PathBuf, (String, String)>, tree: &Path) -> Result<()> {
    if owners.is_empty() {
        return Ok(());
    }
    let (users, groups) = (read(&tree.join("etc/passwd"))?, read(&tree.join("etc/group"))?);
    for (path, (user, group)) in owners {
        let unknown = |what: &str, name: &str| {
            Error::Content(format!(
                "{} in [owners] of the definition: the image has no {what} {name}",
                path.display()
            ))
        };
        let user_id = number(&users, user).ok_or_else(|| unknown("user", user))?;
        let group_id = number(&groups, group).ok_or_else(|| unknown("group", group))?;
        let file = locate(tree, &path.to_string_lossy())?;
        if file.symlink_metadata().is_err() {
            return Err(Error::Content(format!(
                "{} in [owners] of the definition is not in the image",
                path.display()
            )));
        }
        lchown(&file, Some(user_id), Some(group_id)).doing("change the owner of", &file)?;
    }
    Ok(())
}

/// The number of an account in a passwd(5) or group(5) file: both have it in the third field.
fn number(accounts: &str, name: &str) -> Option<u32> {
    let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_image() {
        let passwd = "root:x:0:0::/root:/bin/sh\napp:x:700:701::/:/bin/sh\n";
        assert_eq!(number(passwd, "app"), Some(700));
        assert_eq!(number(passwd, "ap"), None);
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir(tree.path().join("etc")).unwrap();
        std::fs::write(tree.path().join("etc/passwd"), passwd).unwrap();
        std::fs::write(tree.path().join("etc/group"), "root:x:0:\n").unwrap();
        let owners = BTreeMap::from([(PathBuf::from("/x"), ("app".to_owned(), "none".to_owned()))]);
        let error = run(&owners, tree.path()).unwrap_err().to_string();
        assert!(error.contains("no group none"), "{error}");
    }
}
