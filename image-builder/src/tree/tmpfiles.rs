//! tmpfiles.d of the packages: which paths they make, and those that name a folder which moved into state.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::files::{list, read};
use super::identity::MOVED;
use crate::error::{Doing, Result};

/// The paths that some file of the image's tmpfiles.d creates already.
pub(super) fn made_by_packages(tree: &Path) -> Result<BTreeSet<String>> {
    let mut made = BTreeSet::new();
    for path in list(&tree.join("usr/lib/tmpfiles.d"))? {
        for line in read(&path)?.lines() {
            let mut fields = line.split_whitespace();
            if let (Some(kind), Some(path)) = (fields.next(), fields.next())
                && kind.starts_with(|c| "dDqQvfLCp".contains(c))
            {
                made.insert(path.trim_end_matches('/').to_owned());
            }
        }
    }
    Ok(made)
}

/// Makes the files of the image's tmpfiles.d speak of where `/root`, `/home` and `/srv` are now: systemd-tmpfiles does not go
/// through a link to make a folder.
pub(super) fn follow_moved_folders(tree: &Path) -> Result<()> {
    for path in list(&tree.join("usr/lib/tmpfiles.d"))? {
        let before = read(&path)?;
        let after = moved(&before);
        if after != before {
            fs::write(&path, after).doing("write", &path)?;
        }
    }
    Ok(())
}

fn moved(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for line in text.lines() {
        result.push_str(&moved_line(line).unwrap_or_else(|| line.to_owned()));
        result.push('\n');
    }
    result
}

fn moved_line(line: &str) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let path = line.split_whitespace().nth(1)?;
    let (from, to, _) = MOVED.into_iter().find(|(from, _, _)| {
        path.strip_prefix(from)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })?;
    let at = line.find(path)?;
    Some(format!("{}{to}{}", &line[..at], &line[at + from.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_below_a_moved_folder_follow_it_and_others_stay() {
        let text = "# /root is here\nd- /root :0700 root :root -\nf^ /root/.ssh/authorized_keys :0600 root :root - x\nQ /home 0755 - - -\nd /rooted 0755 root /root\n";
        assert_eq!(
            moved(text),
            "# /root is here\nd- /var/roothome :0700 root :root -\nf^ /var/roothome/.ssh/authorized_keys :0600 root :root - x\nQ /var/home 0755 - - -\nd /rooted 0755 root /root\n"
        );
    }

    #[test]
    fn lines_that_remove_or_write_do_not_count_as_making() {
        let tree = tempfile::tempdir().unwrap();
        let folder = tree.path().join("usr/lib/tmpfiles.d");
        fs::create_dir_all(&folder).unwrap();
        fs::write(
            folder.join("a.conf"),
            "d /var/log 0755 - - -\nr! /var/old\nL /var/run - - - - ../run\n#d /var/no\n",
        )
        .unwrap();
        let made = made_by_packages(tree.path()).unwrap();
        assert_eq!(made.into_iter().collect::<Vec<_>>(), ["/var/log", "/var/run"]);
    }
}
