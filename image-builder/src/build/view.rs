//! A tree that a build may change, over one that stays as it is.
//!
//! The installed packages are some hundred megabytes and ten thousand files, of which a build changes a few. So it gets an overlay file
//! system: the kernel keeps what changes in a folder of the build, and what is below cannot be written to, by nobody's mistake. The
//! mount is in a namespace of this process and gone with it, however it ends. Where the kernel or the file system refuses, and in user
//! namespaces, where an overlay cannot rename folders, the tree is copied.
//!
//! An overlay has marks of its own: devices 0:0 for what is removed, attributes for what hides a folder. It shows none that are below, and lets
//! nobody make any. So a tree that may have them as its content is copied, too.

use std::fs::{self, File, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::error::{Doing, Error, Result};
use crate::tools::{Log, cp};

/// A folder that an overlay renames to find out whether it can: every tree has it.
const RENAMED: &str = "var";

/// Its name meanwhile.
const RENAMED_TO: &str = ".renamed";

/// What lies beside the view while it is an overlay, and what the kernel makes there when it keeps the names of one file together.
const CHANGES: &str = "changes";
const SCRATCH: &str = "scratch";
const INDEX: &str = "index";

/// A tree to change.
#[derive(Debug)]
pub struct View {
    folder: PathBuf,
    tree: PathBuf,
    mounted: bool,
}

impl View {
    /// An overlay over the tree `below`, or else a copy of it, in the absent folder `folder`. It must not hold the marks of an overlay, nor
    /// get any.
    pub(super) fn overlay(log: &Log, below: &Path, folder: &Path) -> Result<Self> {
        let mut view = Self::new(folder)?;
        if let Err(why) = view.lay(below) {
            log.note(&format!(
                "{} is copied, since no overlay can be laid over it: {why}",
                below.display()
            ))?;
            view.clear()?;
            cp::tree(log, below, &view.tree)?;
        } else {
            log.note(&format!("the tree of the image is an overlay over {}", below.display()))?;
        }
        Ok(view)
    }

    /// A copy of the tree `below` in the absent folder `folder`.
    pub(super) fn copy(log: &Log, below: &Path, folder: &Path) -> Result<Self> {
        let view = Self::new(folder)?;
        cp::tree(log, below, &view.tree)?;
        Ok(view)
    }

    fn new(folder: &Path) -> Result<Self> {
        fs::create_dir(folder).doing("make the folder", folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o755)).doing("set the mode of", folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            tree: folder.join("tree"),
            mounted: false,
        })
    }

    /// Where it is.
    pub fn tree(&self) -> &Path {
        &self.tree
    }

    /// Removes what was changed. What is below stays.
    pub(super) fn discard(&mut self) -> Result<()> {
        self.clear()?;
        fs::remove_dir_all(&self.folder).doing("remove", &self.folder)
    }

    /// Mounts an overlay in a namespace of this process.
    fn lay(&mut self, below: &Path) -> Result<()> {
        let refused = |what: &str| {
            let what = what.to_owned();
            move |error: nix::Error| Error::Content(format!("{what}: {error}"))
        };
        unshare(CloneFlags::CLONE_NEWNS).map_err(refused("a namespace of mounts"))?;
        // A host that is a chroot has no mount at its root, so a mount in here might show out there.
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).map_err(refused("mounts that nobody sees"))?;
        let (changes, scratch) = (self.folder.join(CHANGES), self.folder.join(SCRATCH));
        for folder in [&self.tree, &changes, &scratch] {
            fs::create_dir(folder).doing("make the folder", folder)?;
        }
        // The root of an overlay is as the upper folder is.
        let meta = below.metadata().doing("look at", below)?;
        chown(&changes, Some(meta.uid()), Some(meta.gid())).doing("change the owner of", &changes)?;
        fs::set_permissions(&changes, meta.permissions()).doing("set the mode of", &changes)?;
        // By their descriptors: in these options commas and colons of a path would mean something.
        let open = |folder: &Path| File::open(folder).doing("open", folder);
        let (lower, upper, work) = (open(below)?, open(&changes)?, open(&scratch)?);
        let [lower, upper, work] = [&lower, &upper, &work].map(|file| format!("/proc/self/fd/{}", file.as_raw_fd()));
        let options = format!("lowerdir={lower},upperdir={upper},workdir={work},redirect_dir=on,index=on");
        mount(
            Some("overlay"),
            &self.tree,
            Some("overlay"),
            MsFlags::empty(),
            Some(options.as_str()),
        )
        .map_err(refused("the mount"))?;
        self.mounted = true;
        // Some kernels mount what cannot do all that was asked for.
        if !scratch.join(INDEX).exists() {
            return Err(Error::Content(
                "a file with two names would become two when one is written to".into(),
            ));
        }
        let (one, other) = (self.tree.join(RENAMED), self.tree.join(RENAMED_TO));
        fs::rename(&one, &other)
            .and_then(|()| fs::rename(&other, &one))
            .doing("rename in an overlay", &one)
    }

    /// Takes away the mount, and what was made for it.
    fn clear(&mut self) -> Result<()> {
        self.unmount().doing("unmount", &self.tree)?;
        for folder in [SCRATCH, CHANGES] {
            let folder = self.folder.join(folder);
            if folder.exists() {
                fs::remove_dir_all(&folder).doing("remove", &folder)?;
            }
        }
        if self.tree.exists() {
            fs::remove_dir_all(&self.tree).doing("remove", &self.tree)?;
        }
        Ok(())
    }

    fn unmount(&mut self) -> std::io::Result<()> {
        if self.mounted {
            umount2(&self.tree, MntFlags::MNT_DETACH)?;
            self.mounted = false;
        }
        Ok(())
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // The namespace goes with this process in any case. Whoever removes the folder must not go through the mount.
        let _ = self.unmount();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Does to `tree` what a build does.
    fn change(tree: &Path) {
        fs::write(tree.join("etc/shadow"), "new").unwrap();
        fs::write(tree.join("usr/program"), "patched").unwrap();
        fs::set_permissions(tree.join("usr/program"), Permissions::from_mode(0o700)).unwrap();
        fs::remove_dir_all(tree.join("boot")).unwrap();
        fs::rename(tree.join("var"), tree.join("usr/factory")).unwrap();
        fs::create_dir(tree.join("var")).unwrap();
    }

    /// Paths, modes, hashes of contents, in order.
    fn listed(tree: &Path) -> Vec<(PathBuf, u32, Vec<u8>)> {
        let mut found = Vec::new();
        let mut pending = vec![tree.to_owned()];
        while let Some(path) = pending.pop() {
            let meta = path.symlink_metadata().unwrap();
            let content = if meta.is_file() {
                fs::read(&path).unwrap()
            } else {
                Vec::new()
            };
            if meta.is_dir() {
                pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
            found.push((path.strip_prefix(tree).unwrap().to_owned(), meta.mode(), content));
        }
        found.sort_unstable();
        found
    }

    #[test]
    fn an_overlay_is_as_a_copy_and_what_is_below_stays() {
        let folder = tempfile::tempdir().unwrap();
        // Characters that mean something in options of a mount.
        let below = folder.path().join("below,a:b");
        for file in ["etc/shadow", "usr/program", "boot/kernel", "var/lib/dpkg/status"] {
            let path = below.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, file).unwrap();
        }
        // Two names of one file are to stay that.
        fs::hard_link(below.join("usr/program"), below.join("usr/again")).unwrap();
        fs::set_permissions(&below, Permissions::from_mode(0o751)).unwrap();
        let before = listed(&below);
        let log = Log::create(&folder.path().join("log")).unwrap();
        let copy = folder.path().join("copy");
        cp::tree(&log, &below, &copy).unwrap();
        change(&copy);
        let wanted = listed(&copy);

        let mut view = View::overlay(&log, &below, &folder.path().join("view")).unwrap();
        change(view.tree());
        assert_eq!(listed(view.tree()), wanted);
        assert_eq!(listed(&below), before);
        view.discard().unwrap();
        assert!(!folder.path().join("view").exists());
        assert_eq!(listed(&below), before);
    }
}
