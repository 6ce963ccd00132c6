//! Where the peer of builds and boots runs: mkosi of Debian 13, in a tree of that release, whatever this host is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use twinhull_chroot::{Chroot, LAUNCHER};

use super::layout;
use crate::archives::Archives;
use crate::phase::Phases;
use crate::privilege::as_root;
use crate::workspace;

/// What it is called in tables.
pub(super) const NAME: &str = "mkosi";

/// The suite that it is from, and builds.
pub(super) const SUITE: &str = "trixie";

/// The configuration, in the folder of an image.
const CONFIGURATION: &str = "config";

/// What every image is called.
const OUTPUT: &str = "bench";

/// The package, and what it starts for an image with a kernel image and a hash tree.
const PACKAGES: &str = "mkosi,cpio,cryptsetup-bin,debian-archive-keyring,dosfstools,e2fsprogs,erofs-utils,kmod,mtools,python3-pefile,\
                        systemd-boot,systemd-repart,systemd-ukify,udev,zstd";

/// The tree.
pub(super) struct MkosiHost(Chroot);

/// What of an image is not the same in every bench.
pub(super) struct Content<'a> {
    /// Further lines of the section `[Content]`.
    pub(super) settings: &'a str,
    /// What is laid over the packages: SOURCE or SOURCE:TARGET.
    pub(super) trees: &'a [String],
    pub(super) packages: &'a [&'a str],
}

impl MkosiHost {
    /// Makes the tree if it is not there yet. Programs in it see `folders` of this host (absolute), and are on the network as this host
    /// is.
    pub(super) fn prepare(phases: &mut Phases, folders: Vec<PathBuf>) -> Result<Self> {
        let tree = &std::path::absolute(workspace::work().join("bench/mkosi-host"))?;
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

    /// A build of the image that is configured in `folder`.
    pub(super) fn build(&self, folder: &Path, options: &[&str]) -> Command {
        let mut command = self.program("mkosi");
        command
            .arg("--directory")
            .arg(folder.join(CONFIGURATION))
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

/// Configures the image [`OUTPUT`] in `folder` (absolute), where everything of its build is.
pub(super) fn configure(folder: &Path, content: &Content<'_>) -> Result<()> {
    for name in ["out", "cache", "packages", "work"] {
        let path = folder.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
    }
    write(folder, "mkosi.conf", &settings(folder, content))?;
    write(
        folder,
        "mkosi.sandbox/etc/apt/sources.list.d/mkosi.sources",
        &sources()?,
    )?;
    for (number, text) in layout::for_repart().iter().enumerate() {
        write(folder, &format!("mkosi.repart/{number}0.conf"), text)?;
    }
    Ok(())
}

/// Writes a file of the configuration in `folder`.
pub(super) fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let file = folder.join(CONFIGURATION).join(name);
    let folder = file.parent().unwrap_or(&file);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&file, text))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// The disk that was built in `folder`.
pub(super) fn disk(folder: &Path) -> PathBuf {
    folder.join(format!("out/{OUTPUT}.raw"))
}

/// Its kernel image.
pub(super) fn kernel_image(folder: &Path) -> PathBuf {
    folder.join(format!("out/{OUTPUT}.efi"))
}

fn settings(folder: &Path, content: &Content<'_>) -> String {
    let Content {
        settings,
        trees,
        packages,
    } = content;
    let folder = folder.display();
    format!(
        "[Distribution]\nDistribution=debian\nRelease={SUITE}\nArchitecture=x86-64\n\
         [Output]\nFormat=disk\nOutput={OUTPUT}\nOutputDirectory={folder}/out\n\
         [Content]\nBootable=yes\nBootloader=systemd-boot\nUnifiedKernelImages=yes\n{settings}\
         ExtraTrees={}\nPackages={}\n\
         [Build]\nCacheDirectory={folder}/cache\nPackageCacheDirectory={folder}/packages\n\
         WorkspaceDirectory={folder}/work\nHistory=no\n\
         [Validation]\nSecureBoot=no\n",
        list(trees.iter().map(String::as_str)),
        list(packages.iter().copied()),
    )
}

/// The archives of this host, as apt of an image that mkosi builds is told of them.
fn sources() -> Result<String> {
    let Archives { main, security } = Archives::of_this_host()?;
    let rest = "Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n";
    Ok(format!(
        "Types: deb\nURIs: {main}\nSuites: {SUITE} {SUITE}-updates\n{rest}\n\
         Types: deb\nURIs: {security}\nSuites: {SUITE}-security\n{rest}"
    ))
}

/// A list as the value of a setting: a line for each.
fn list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().flat_map(|word| ["\n    ", word]).collect()
}
