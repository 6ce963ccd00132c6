//! Where the peer of builds and boots runs: mkosi of Debian 13, in a tree of that release, whatever this host is.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use twinhull_chroot::{Chroot, LAUNCHER};

use crate::archives::Archives;
use crate::phase::Phases;
use crate::privilege::as_root;

/// What it is called in tables.
pub(super) const NAME: &str = "mkosi";

/// The suite that it is from, and builds.
pub(super) const SUITE: &str = "trixie";

/// The package, and what it starts for an image with a kernel image and a hash tree.
const PACKAGES: &str = "mkosi,cpio,cryptsetup-bin,debian-archive-keyring,dosfstools,e2fsprogs,erofs-utils,kmod,mtools,python3-pefile,\
                        systemd-boot,systemd-repart,systemd-ukify,udev,zstd";

/// The tree.
pub(super) struct MkosiHost(Chroot);

impl MkosiHost {
    /// Makes the tree `tree` (absolute) if it is not there yet. Programs in it see `folders` of this host (absolute), and are on the
    /// network as this host is.
    pub(super) fn prepare(phases: &mut Phases, tree: &Path, folders: Vec<PathBuf>) -> Result<Self> {
        if !tree.join("usr/bin/mkosi").exists() {
            phases.run("remove what an earlier run left", as_root("rm").arg("-rf").arg(tree))?;
            phases.run(
                "make a host with mkosi",
                as_root("mmdebstrap")
                    .args(["--variant=apt", "--mode=root", "--include", PACKAGES, SUITE])
                    .arg(tree),
            )?;
        }
        phases.run(
            "share the network",
            as_root("cp")
                .args(["--dereference", "/etc/resolv.conf", "/etc/hosts"])
                .arg(tree.join("etc")),
        )?;
        Ok(Self(Chroot::new(tree, folders)))
    }

    /// A program of the tree.
    pub(super) fn program(&self, name: &str) -> Command {
        let mut command = as_root(LAUNCHER);
        command
            .args(self.0.arguments())
            .args(["env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", name]);
        command
    }

    /// A build of the image that the folder `config` describes.
    pub(super) fn build(&self, config: &Path, options: &[&str]) -> Command {
        let mut command = self.program("mkosi");
        command
            .arg("--directory")
            .arg(config)
            .arg("--force")
            .args(options)
            .arg("build");
        command
    }

    /// Its name and version.
    pub(super) fn version(&self) -> Result<String> {
        let mut command = as_root("chroot");
        let output = command.arg(self.0.tree()).args(["mkosi", "--version"]).output();
        let output = output.context("cannot start mkosi")?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

/// The archives of this host, as apt of an image that mkosi builds is told of them.
pub(super) fn sources() -> Result<String> {
    let Archives { main, security } = Archives::of_this_host()?;
    let rest = "Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n";
    Ok(format!(
        "Types: deb\nURIs: {main}\nSuites: {SUITE} {SUITE}-updates\n{rest}\n\
         Types: deb\nURIs: {security}\nSuites: {SUITE}-security\n{rest}"
    ))
}

/// A list as the value of a setting: a line for each.
pub(super) fn list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().flat_map(|word| ["\n    ", word]).collect()
}
