//! `mmdebstrap`: installs packages into an empty folder.

use std::path::Path;

use twinhull_layout::Arch;

use super::Log;
use super::root::ToolRoot;
use crate::error::Result;

/// What to install, from where.
#[derive(Debug)]
pub struct Request<'a> {
    /// The architecture of the packages.
    pub arch: Arch,
    /// The suite.
    pub suite: &'a str,
    /// The line of sources.list of an archive that has these packages and no others.
    pub source: &'a str,
    /// The packages.
    pub packages: &'a [&'a str],
    /// dpkg's path-exclude patterns.
    pub exclude: &'a [String],
    /// dpkg's path-include patterns.
    pub keep: &'a [String],
}

/// Fills `target`, which must not exist, as `request` says: with every package of the archive, installed and configured.
pub fn run(log: &Log, tools: &ToolRoot, request: &Request<'_>, target: &Path) -> Result<()> {
    let mut mmdebstrap = tools.command("mmdebstrap");
    mmdebstrap
        .arg("--variant=essential")
        .arg("--mode=root")
        .arg("--format=directory")
        // That programs of another architecture run here is seen to by `binfmt`, before any work.
        .arg("--skip=check/qemu")
        .arg(format!("--architectures={}", request.arch.debian()))
        .arg(format!("--include={}", request.packages.join(",")))
        .arg("--aptopt=Apt::Install-Recommends \"false\"");
    // dpkg lets the last matching pattern decide, so what is kept comes after what is left out.
    for pattern in request.exclude {
        mmdebstrap.arg(format!("--dpkgopt=path-exclude={pattern}"));
    }
    for pattern in request.keep {
        mmdebstrap.arg(format!("--dpkgopt=path-include={pattern}"));
    }
    mmdebstrap.arg(request.suite).arg(target).arg(request.source);
    log.run("installing packages", &mut mmdebstrap)
}
