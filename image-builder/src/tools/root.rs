//! A tree of tools: programs whose version shows in what they write, out of packages of a lock, run in a tree of their own.
//!
//! Another release of a `mkfs` or of dpkg gives other bytes. So those of the build host are not used: the packages are
//! unpacked, not installed (none of them needs its scripts to have run), and a program is started in a mount namespace of
//! its own, with the tree as its root and the folders of the build at their usual paths.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use twinhull_chroot::Chroot;
use twinhull_layout::Arch;

use super::command;
use crate::definition::Definition;
use crate::error::{Doing, Error, Result};

/// The packages of the tools, and what their programs call.
const PACKAGES: &[&str] = &[
    "apt",
    "base-files",
    "coreutils",
    "dash",
    // dpkg installs nothing without a `diff` in its path.
    "diffutils",
    "dpkg",
    "e2fsprogs",
    "erofs-utils",
    "findutils",
    "grep",
    "gzip",
    "libc-bin",
    "mmdebstrap",
    "mount",
    "perl-base",
    // mmtarfilter, by which mmdebstrap leaves files of packages out, is written in it; from 1.6 on mmdebstrap only recommends it.
    "python3",
    "sed",
    "tar",
    "util-linux",
    "xz-utils",
    "zstd",
];

/// What is among them for container images: the one of the build host may not verify what podman of the image's suite does.
const CONTAINERS: &str = "skopeo";

/// The packages of the tools that `definition` needs.
pub fn packages(definition: &Definition) -> Vec<&'static str> {
    let containers = (!definition.containers.is_empty()).then_some(CONTAINERS);
    PACKAGES.iter().copied().chain(containers).collect()
}

/// What programs look up and only a package's script would write.
const FILES: [(&str, &str); 4] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\n_apt:x:42:65534::/nonexistent:/usr/sbin/nologin\n",
    ),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("var/lib/dpkg/status", ""),
    ("var/lib/dpkg/available", ""),
];

/// A tree of tools.
#[derive(Debug, Clone)]
pub struct ToolRoot(Chroot);

impl ToolRoot {
    /// The tools in `tree`, which see `folders` (absolute paths) and nothing else of the host's files.
    pub fn new(tree: &Path, folders: Vec<PathBuf>) -> Self {
        Self(Chroot::new(tree, folders))
    }

    /// The same tools, which see the mount at `folder` as well.
    #[must_use]
    pub fn showing(&self, folder: &Path) -> Self {
        Self(self.0.showing(folder))
    }

    /// A program of the tree that sees the host as any of its own does, with the libraries of the tree: one that writes nothing
    /// of its own into the image, and needs the host's network, certificates and credentials.
    ///
    /// # Errors
    /// The tree has no loader for programs of this architecture.
    pub fn on_host(&self, program: &str) -> Result<Command> {
        let (loader, triplet) = match Arch::host() {
            Arch::X86_64 => ("lib64/ld-linux-x86-64.so.2", "x86_64-linux-gnu"),
            Arch::Aarch64 => ("lib/ld-linux-aarch64.so.1", "aarch64-linux-gnu"),
        };
        let tree = self.0.tree();
        let (loader, program) = (tree.join(loader), tree.join("usr/bin").join(program));
        if !(loader.exists() && program.exists()) {
            return Err(Error::Content(format!(
                "the tools of this build in {} have no {}",
                tree.display(),
                program.display()
            )));
        }
        let mut start = command(&loader.to_string_lossy());
        start
            .arg("--library-path")
            .arg(tree.join("usr/lib").join(triplet))
            .arg(program);
        Ok(start)
    }

    /// A program of the tree.
    pub fn command(&self, program: &str) -> Command {
        let mut enter = command(twinhull_chroot::LAUNCHER);
        enter
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            // Without these, perl and apt would look into folders of the user, which are not in the tree.
            .env_remove("TMPDIR")
            .env_remove("APT_CONFIG")
            .args(self.0.arguments())
            .arg(program);
        enter
    }
}

/// What of a tree no tool reads: half of what is not program or library.
const UNREAD: [&str; 5] = [
    "usr/share/doc",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
];

/// Completes a tree of unpacked packages with what their scripts would have made, and takes away what nobody reads.
pub fn complete(tree: &Path) -> Result<()> {
    for unread in UNREAD
        .map(|unread| tree.join(unread))
        .iter()
        .filter(|unread| unread.exists())
    {
        fs::remove_dir_all(unread).doing("remove", unread)?;
    }
    for (file, text) in FILES {
        let path = tree.join(file);
        let folder = path.parent().unwrap_or(tree);
        fs::create_dir_all(folder).doing("make the folder", folder)?;
        fs::write(&path, text).doing("write", &path)?;
    }
    let shell = tree.join("bin/sh");
    if shell.symlink_metadata().is_err() {
        symlink("dash", &shell).doing("make the link", &shell)?;
    }
    let scratch = tree.join("tmp");
    fs::create_dir_all(&scratch).doing("make the folder", &scratch)
}
