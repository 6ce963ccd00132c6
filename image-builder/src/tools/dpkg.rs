//! `dpkg`: installs package files into a tree.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::Log;
use super::root::ToolRoot;
use crate::error::Result;

/// Installs package files, which `tools` must see, into `tree`. What they depend on must be there already.
pub fn install(log: &Log, tools: &ToolRoot, tree: &Path, files: &[PathBuf]) -> Result<()> {
    let mut dpkg = tools.command("dpkg");
    // Questions have no one to answer them, and the files of the image win over what a package would change.
    dpkg.env("DEBIAN_FRONTEND", "noninteractive")
        .arg(format!("--root={}", tree.display()))
        .args(["--force-confnew", "-i"])
        .args(files);
    log.run("installing package files", &mut dpkg)
}

/// How far an installation into `tree` is: each package counts once when it is unpacked, and once more when it is configured.
pub fn steps(tree: &Path) -> u64 {
    let log = fs::read_to_string(tree.join("var/log/dpkg.log")).unwrap_or_default();
    let ends = log.lines().filter(|line| {
        [" status unpacked ", " status installed "]
            .iter()
            .any(|end| line.contains(end))
    });
    // What is unpacked over itself, as some are at the beginning, is no further step.
    ends.filter_map(|line| line.splitn(3, ' ').nth(2))
        .collect::<HashSet<_>>()
        .len() as u64
}
