//! `dpkg`: installs package files into a tree.

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
