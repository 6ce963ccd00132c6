//! Pairs of images, an older and a newer one, made from Debian.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use clap::ValueEnum;

use super::Files;
use crate::phase::Phases;
use crate::privilege::as_root;
use crate::workspace;

/// What the `server` role installs.
const SERVER: &str = "dbus-broker,e2fsprogs,kmod,procps,systemd,systemd-boot,systemd-resolved,systemd-sysv,systemd-timesyncd,udev,\
                      aardvark-dns,crun,netavark,nftables,podman,ca-certificates,iproute2,less,libpam-systemd,login,openssh-server";

/// The archives of Debian that apt of this host uses.
struct Archives {
    main: String,
    security: String,
}

impl Archives {
    fn of_this_host() -> Result<Self> {
        let output = Command::new("apt-get")
            .args([
                "indextargets",
                "--format",
                "$(LABEL) $(REPO_URI)",
                "Created-By: Packages",
            ])
            .output()
            .context("cannot start apt-get to ask for this host's archives")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let labelled = |label: &str| {
            let mut sources = text.lines().filter_map(|line| line.rsplit_once(' '));
            let uri = sources.find_map(|(found, uri)| (found == label).then_some(uri));
            uri.map(str::to_owned).with_context(|| {
                format!("apt of this host uses no archive with the label {label}: add it and run `apt-get update`")
            })
        };
        Ok(Self {
            main: labelled("Debian")?,
            security: labelled("Debian-Security")?,
        })
    }

    /// The release as it was made.
    fn release(&self, suite: &str) -> Vec<String> {
        vec![format!("deb {} {suite} main", self.main)]
    }

    /// The release with what came after it.
    fn updated(&self, suite: &str) -> Vec<String> {
        let mut lines = self.release(suite);
        lines.push(format!("deb {} {suite}-updates main", self.main));
        lines.push(format!("deb {} {suite}-security main", self.security));
        lines
    }
}

/// Everything that a reader of an image does not need, and that would differ by accident.
const PRUNED: &str = "rm -rf \"$1\"/var/lib/apt/lists \"$1\"/var/cache/apt \"$1\"/usr/share/doc \"$1\"/usr/share/info \
                      \"$1\"/usr/share/man \"$1\"/usr/share/locale \"$1\"/usr/share/lintian \"$1\"/usr/share/bug; \
                      mv \"$1\"/boot/vmlinuz* \"$2\"; rm -rf \"$1\"/boot/*; \
                      find \"$1\" -name '*.ko.xz' -print0 | xargs -0 -r xz -d";

/// An older and a newer image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Pair {
    /// The role `server`: the release alone, and with updates and security
    Server,
    /// The same, of which only the programs of the container engine are newer
    Engine,
    /// The same, of which only the library of TLS is newer
    Library,
    /// Debian 12 and 13
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

/// A pair, as files.
pub(super) struct Images {
    pub(super) root: Files,
    /// The kernels, where they differ.
    pub(super) kernel: Option<Files>,
}

impl Pair {
    /// Makes the images, or takes those that an earlier run made: remove the folder to have them made again.
    pub(super) fn images(self, phases: &mut Phases) -> Result<Images> {
        let folder = workspace::work().join("bench").join(format!("pair-{self}"));
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let folder = folder
            .canonicalize()
            .with_context(|| format!("there is no {}", folder.display()))?;
        self.image(phases, &folder, "old")?;
        self.image(phases, &folder, "new")?;
        let files = |kind: &str| Files {
            old: folder.join(format!("old.{kind}")),
            new: folder.join(format!("new.{kind}")),
            scratch: folder.join("scratch"),
        };
        let kernel = files("vmlinuz");
        let differs = fs::read(&kernel.old).ok() != fs::read(&kernel.new).ok();
        Ok(Images {
            root: files("root"),
            kernel: differs.then_some(kernel),
        })
    }

    /// Newer only in these packages.
    const fn only(self) -> Option<&'static str> {
        match self {
            Self::Engine => {
                Some("podman crun containers-common golang-github-containers-common netavark aardvark-dns conmon")
            }
            Self::Library => Some("libssl3t64 openssl openssl-provider-legacy libgnutls30t64"),
            Self::Server | Self::Release | Self::Aarch64 => None,
        }
    }

    fn image(self, phases: &mut Phases, folder: &Path, which: &str) -> Result<()> {
        let (root, kernel) = (
            folder.join(format!("{which}.root")),
            folder.join(format!("{which}.vmlinuz")),
        );
        if root.exists() {
            return Ok(());
        }
        let archives = Archives::of_this_host()?;
        let (suite, sources) = match (self, which) {
            (Self::Release, "old") => ("bookworm", archives.release("bookworm")),
            (_, "old") | (Self::Release, _) => ("trixie", archives.release("trixie")),
            _ => ("trixie", archives.updated("trixie")),
        };
        let (arch, flavour) = match self {
            Self::Aarch64 => ("arm64", "cloud-arm64"),
            _ => ("amd64", "cloud-amd64"),
        };
        let tree = folder.join(format!("{which}.tree"));
        let mut command = as_root("mmdebstrap");
        command.args(["--variant=extract", "--mode=root", "--format=directory", "--quiet"]);
        command.arg(format!("--architectures={arch}"));
        command.arg(format!("--include={SERVER},linux-image-{flavour}"));
        command.args([
            "--aptopt=Apt::Install-Recommends \"false\"",
            "--aptopt=Acquire::Retries \"3\"",
        ]);
        command.arg("--keyring=/usr/share/keyrings/debian-archive-keyring.gpg");
        if let Some(packages) = self.only() {
            command.arg(format!("--setup-hook={}", preferences(packages)));
        }
        command.arg(suite).arg(&tree).args(sources);
        phases.run(&format!("{self}: unpack the {which} packages"), &mut command)?;
        let mut command = as_root("sh");
        command.args(["-euc", PRUNED, "sh"]).arg(&tree).arg(&kernel);
        phases.run(&format!("{self}: prune the {which} tree"), &mut command)?;
        let unfinished = folder.join(format!("{which}.unfinished"));
        let mut command = as_root("mkfs.erofs");
        command.args(["--quiet", "-T1700000000", "-U", "11111111-2222-3333-4444-555555555555"]);
        phases.run(
            &format!("{self}: the {which} image"),
            command.arg(&unfinished).arg(&tree),
        )?;
        phases.run(&format!("{self}: tidy"), as_root("rm").arg("-rf").arg(&tree))?;
        fs::rename(&unfinished, &root).with_context(|| format!("cannot move {} into place", root.display()))
    }
}

/// A command that has apt take updates of `packages` and of nothing else.
fn preferences(packages: &str) -> String {
    let pin = |package: &str, archive: &str, priority: u32| {
        format!("Package: {package}\\nPin: release n={archive}\\nPin-Priority: {priority}\\n\\n")
    };
    let mut text = String::new();
    for archive in ["trixie-updates", "trixie-security"] {
        text += &pin(packages, archive, 990);
        text += &pin("*", archive, 1);
    }
    format!("mkdir -p \"$1\"/etc/apt/preferences.d; printf '{text}' > \"$1\"/etc/apt/preferences.d/bench")
}
