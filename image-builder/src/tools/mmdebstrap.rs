//! `mmdebstrap`: installs packages into an empty folder.

use std::path::Path;

use twinhull_layout::Arch;

use super::{Log, command};
use crate::error::Result;

/// How much is done with the packages.
#[derive(Debug, Clone, Copy)]
pub enum Variant<'a> {
    /// Installed and configured, together with what Debian calls essential.
    Installed,
    /// Only unpacked, so that no script of theirs runs and nothing they need for one is pulled in.
    Unpacked {
        /// The file that gets the names of the package files: what is only unpacked enters no package database.
        list: &'a Path,
    },
}

/// What to install, from where.
#[derive(Debug)]
pub struct Request<'a> {
    /// Installed or unpacked.
    pub variant: Variant<'a>,
    /// The architecture of the packages.
    pub arch: Arch,
    /// The suite.
    pub suite: &'a str,
    /// Lines of sources.list.
    pub sources: &'a [String],
    /// The packages.
    pub packages: &'a [&'a str],
    /// dpkg's path-exclude patterns.
    pub exclude: &'a [String],
    /// dpkg's path-include patterns.
    pub keep: &'a [String],
}

/// Fills `target`, which must not exist, as `request` says.
pub fn run(log: &Log, request: &Request<'_>, target: &Path) -> Result<()> {
    let mut mmdebstrap = command("mmdebstrap");
    mmdebstrap
        .arg(match request.variant {
            Variant::Installed => "--variant=essential",
            Variant::Unpacked { .. } => "--variant=extract",
        })
        .arg("--mode=root")
        .arg("--format=directory")
        .arg(format!("--architectures={}", request.arch.debian()))
        .arg(format!("--include={}", request.packages.join(",")))
        .arg("--aptopt=Apt::Install-Recommends \"false\"")
        .arg("--aptopt=Acquire::Retries \"3\"")
        .arg("--keyring=/usr/share/keyrings/debian-archive-keyring.gpg");
    if let Variant::Unpacked { list } = request.variant {
        // A shell runs the hook, with the folder of the tree as its first argument; the path comes in as a variable.
        mmdebstrap.env("TWINHULL_LIST", list);
        mmdebstrap.arg("--extract-hook=ls \"$1/var/cache/apt/archives\" > \"$TWINHULL_LIST\"");
    }
    // dpkg lets the last matching pattern decide, so what is kept comes after what is left out.
    for pattern in request.exclude {
        mmdebstrap.arg(format!("--dpkgopt=path-exclude={pattern}"));
    }
    for pattern in request.keep {
        mmdebstrap.arg(format!("--dpkgopt=path-include={pattern}"));
    }
    mmdebstrap.arg(request.suite).arg(target).args(request.sources);
    let doing = match request.variant {
        Variant::Installed => "installing packages",
        Variant::Unpacked { .. } => "unpacking the kernel and the boot loader",
    };
    log.run(doing, &mut mmdebstrap)
}
