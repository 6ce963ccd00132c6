//! `mkfs.erofs`: the read-only file system of the root.

use std::path::Path;

use uuid::Uuid;

use super::Log;
use super::root::ToolRoot;
use crate::error::Result;

/// Writes `tree` as an uncompressed erofs image with one time stamp for every file, in seconds since 1970.
///
/// Uncompressed, because a compressed image shares far fewer blocks with the next release.
pub fn run(log: &Log, tools: &ToolRoot, tree: &Path, image: &Path, uuid: Uuid, time: u64) -> Result<()> {
    let mut mkfs = tools.command("mkfs.erofs");
    mkfs.args(["--quiet", "-d1", &format!("-T{time}"), &format!("-U{uuid}")])
        .arg(image)
        .arg(tree);
    log.run("writing the root file system", &mut mkfs)
}
