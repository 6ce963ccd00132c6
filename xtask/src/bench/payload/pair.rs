//! Pairs of releases, an older and a newer one, made from Debian: a root file system and a kernel image each.
//!
//! The packages are unpacked and not installed: no program of theirs runs, so that any architecture and release can be had on any
//! host. What installing would add (a few files below `/etc` and `/var`) is a thousandth of an image. The kernel image is the one that a
//! build makes: the same stub, kernel, initramfs and command line.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use super::Files;
use crate::arch::Arch;
use crate::archives::Archives;
use crate::artefacts;
use crate::phase::Phases;
use crate::privilege::as_root;
use crate::workspace;

/// What the `server` role installs beside its container engine, and the stub of kernel images.
const COMMON: &str = "ca-certificates,dbus-broker,e2fsprogs,iproute2,kmod,less,libpam-systemd,login,nftables,openssh-server,procps,systemd,\
                      systemd-boot,systemd-boot-efi,systemd-resolved,systemd-sysv,systemd-timesyncd,udev";

/// The container engine of the role, and another one.
const PODMAN: &str = "aardvark-dns,crun,netavark,podman";
const DOCKER: &str = "docker.io,docker-cli";

/// The definition that the kernel image is made by.
const DEFINITION: &str = "configs/server.toml";

/// The release as its last point release left it.
fn release(archives: &Archives, suite: &str) -> Vec<String> {
    vec![format!("deb {} {suite} main", archives.main)]
}

/// The release with what came after it.
fn updated(archives: &Archives, suite: &str) -> Vec<String> {
    let mut lines = release(archives, suite);
    lines.push(format!("deb {} {suite}-updates main", archives.main));
    lines.push(format!("deb {} {suite}-security main", archives.security));
    lines
}

/// Prunes the tree $1 of everything that a reader of an image does not need, moves its kernel to the file $2, and indexes its
/// modules, uncompressed.
const PRUNE: &str = r#"cd "$1"
rm -rf var/lib/apt/lists var/cache/apt usr/share/doc usr/share/info usr/share/man usr/share/locale usr/share/lintian usr/share/bug
rm -f usr/libexec/podman/podman-testing
mv boot/vmlinuz-* "$2"
rm -rf boot/* vmlinuz* initrd.img*
find usr/lib/modules -name '*.ko.xz' -print0 | xargs -0 -r xz -d
for release in usr/lib/modules/*; do rm -f "$release/build" "$release/source"; depmod -b . "${release##*/}"; done"#;

/// An older and a newer release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Pair {
    /// The role `server`: the release alone, and with updates and security
    Server,
    /// The role with Docker as its container engine, of which only the engine (Go programs) is newer
    Engine,
    /// The role, of which only the library of TLS is newer
    Library,
    /// The role on Debian 12 and on Debian 13
    Release,
    /// As `server`, for aarch64
    Aarch64,
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Engine => "engine",
            Self::Library => "library",
            Self::Release => "release",
            Self::Aarch64 => "aarch64",
        })
    }
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Old,
    New,
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Old => "old",
            Self::New => "new",
        })
    }
}

/// A pair, as files.
pub(super) struct Images {
    pub(super) root: Files,
    pub(super) uki: Files,
}

impl Pair {
    /// Makes the images, or takes those that an earlier run made: remove the folder to have them made again.
    pub(super) fn images(self, phases: &mut Phases) -> Result<Images> {
        let folder = workspace::work().join("bench").join(format!("pair-{self}"));
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let folder = folder
            .canonicalize()
            .with_context(|| format!("there is no {}", folder.display()))?;
        for which in [Which::Old, Which::New] {
            // The kernel image is made last.
            if !folder.join(format!("{which}.uki")).exists() {
                self.image(phases, &folder, which)?;
            }
        }
        let files = |kind: &str| Files {
            old: folder.join(format!("old.{kind}")),
            new: folder.join(format!("new.{kind}")),
            scratch: folder.join("scratch"),
        };
        let images = Images {
            root: files("root"),
            uki: files("uki"),
        };
        let same = Command::new("cmp")
            .arg("--quiet")
            .args([&images.root.old, &images.root.new])
            .status()
            .context("cannot start cmp")?;
        ensure!(
            !same.success(),
            "the pair {self} is one and the same: Debian's archives hold no two versions of its packages at present"
        );
        Ok(images)
    }

    /// The architecture: Debian's name, the flavour of the kernel, and ours.
    const fn arch(self) -> (&'static str, &'static str, Arch) {
        match self {
            Self::Aarch64 => ("arm64", "cloud-arm64", Arch::Aarch64),
            _ => ("amd64", "cloud-amd64", Arch::X86_64),
        }
    }

    fn packages(self) -> String {
        let engine = if self == Self::Engine { DOCKER } else { PODMAN };
        format!("{COMMON},{engine},linux-image-{}", self.arch().1)
    }

    /// The packages in which alone the two differ: the old has those of the security archive, which a point release has since
    /// overtaken, and the new those of the release.
    const fn only(self) -> Option<&'static str> {
        match self {
            Self::Engine => Some("docker.io docker-cli"),
            Self::Library => Some("libssl3t64 openssl openssl-provider-legacy"),
            Self::Server | Self::Release | Self::Aarch64 => None,
        }
    }

    fn image(self, phases: &mut Phases, folder: &Path, which: Which) -> Result<()> {
        let file = |kind: &str| folder.join(format!("{which}.{kind}"));
        let archives = Archives::of_this_host()?;
        let (suite, sources) = match (self, which) {
            (Self::Release, Which::Old) => ("bookworm", release(&archives, "bookworm")),
            (Self::Engine | Self::Library, Which::Old) | (Self::Server | Self::Aarch64, Which::New) => {
                ("trixie", updated(&archives, "trixie"))
            }
            _ => ("trixie", release(&archives, "trixie")),
        };
        let (arch, ..) = self.arch();
        let tree = file("tree");
        phases.run(
            &format!("{self}: remove what an earlier run left"),
            as_root("rm").arg("-rf").arg(&tree),
        )?;
        let mut command = as_root("mmdebstrap");
        command.args(["--variant=extract", "--mode=root", "--format=directory", "--quiet"]);
        command.arg("--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr");
        command.arg(format!("--architectures={arch}"));
        // A pattern stands alone.
        command.arg("--include=?essential");
        command.arg(format!("--include={}", self.packages()));
        command.args([
            "--aptopt=Apt::Install-Recommends \"false\"",
            "--aptopt=Acquire::Retries \"3\"",
        ]);
        command.arg("--keyring=/usr/share/keyrings/debian-archive-keyring.gpg");
        if let (Some(packages), Which::Old) = (self.only(), which) {
            command.arg(format!("--setup-hook={}", preferences(packages)));
        }
        command.arg(suite).arg(&tree).args(sources);
        phases.run(&format!("{self}: unpack the {which} packages"), &mut command)?;
        let mut command = as_root("sh");
        command.args(["-euc", PRUNE, "sh"]).arg(&tree).arg(file("vmlinuz"));
        phases.run(&format!("{self}: prune the {which} tree"), &mut command)?;
        let mut command = as_root("mkfs.erofs");
        command.args(["--quiet", "-T1700000000", "-U", "11111111-2222-3333-4444-555555555555"]);
        phases.run(
            &format!("{self}: the {which} root"),
            command.arg(file("root")).arg(&tree),
        )?;
        self.kernel_image(phases, &file, which)?;
        phases.run(&format!("{self}: tidy"), as_root("rm").arg("-rf").arg(&tree))
    }

    fn kernel_image(self, phases: &mut Phases, file: &dyn Fn(&str) -> PathBuf, which: Which) -> Result<()> {
        let (_, _, arch) = self.arch();
        let init = artefacts::static_program(phases, "twinhull-init", arch)?;
        let mut command = workspace::cargo();
        command.args(["run", "--quiet", "--locked", "-p", "twinhull", "--example", "uki", "--"]);
        command
            .args([DEFINITION, arch.name()])
            .arg(file("tree"))
            .arg(file("vmlinuz"));
        command.arg(init).arg(file("root")).arg(file("unfinished"));
        phases.run(&format!("{self}: the {which} kernel image"), &mut command)?;
        let uki = file("uki");
        fs::rename(file("unfinished"), &uki).with_context(|| format!("cannot move {} into place", uki.display()))
    }
}

/// A command that has apt take `packages` from the security archive, though the release has newer ones, and nothing else.
fn preferences(packages: &str) -> String {
    let pin = |package: &str, priority: u32| {
        format!("Package: {package}\\nPin: release n=trixie-security\\nPin-Priority: {priority}\\n\\n")
    };
    let text = pin(packages, 1001) + &pin("*", 1);
    format!("mkdir -p \"$1\"/etc/apt/preferences.d; printf '{text}' > \"$1\"/etc/apt/preferences.d/bench")
}
