//! `cp`: copies a tree with owners, hard links and attributes, sharing blocks where the file system can.

use std::path::Path;

use super::{Log, command};
use crate::error::Result;

/// Copies the content of `from` into the folder `to`.
pub fn tree(log: &Log, from: &Path, to: &Path) -> Result<()> {
    let mut cp = command("cp");
    cp.args(["-a", "--reflink=auto", "--no-target-directory"])
        .arg(from)
        .arg(to);
    log.run("copying the tree", &mut cp)
}
