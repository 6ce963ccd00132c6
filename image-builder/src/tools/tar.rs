//! `tar`: unpacks a root file system.

use std::path::Path;

use super::{Log, command};
use crate::error::Result;

/// Unpacks `archive`, compressed or not, into the folder `to`, with owners by number and extended attributes.
pub fn unpack(log: &Log, archive: &Path, to: &Path) -> Result<()> {
    let mut tar = command("tar");
    tar.args([
        "--extract",
        "--numeric-owner",
        "--same-permissions",
        "--xattrs",
        "--xattrs-include=*",
    ])
    .arg("--file")
    .arg(archive)
    .arg("--directory")
    .arg(to);
    log.run("unpacking the root tarball", &mut tar)
}
