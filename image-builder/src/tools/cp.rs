//! `cp`: copies a tree with owners, hard links and attributes.

use std::path::Path;

use super::{Log, command};
use crate::error::Result;

/// Makes the absent folder `to` as `from`, sharing blocks where the file system can.
pub fn tree(log: &Log, from: &Path, to: &Path) -> Result<()> {
    copy(log, "copying the installed packages", "--reflink=auto", from, to)
}

/// Makes the absent folder `to` as `from`, its files being the very ones there: they take no room.
pub fn links(log: &Log, from: &Path, to: &Path) -> Result<()> {
    copy(log, "linking the modules", "--link", from, to)
}

fn copy(log: &Log, what: &str, how: &str, from: &Path, to: &Path) -> Result<()> {
    let mut cp = command("cp");
    cp.args(["-a", how, "--no-target-directory"]).arg(from).arg(to);
    log.run(what, &mut cp)
}
