//! `tar`: unpacks a root file system.
//!
//! It sees by itself how an archive is compressed.

use std::path::Path;
use std::process::Command;

use super::{Log, command};
use crate::error::Result;

/// Unpacks `archive`, compressed or not, into the folder `to`, with owners by number and extended attributes.
pub fn unpack(log: &Log, archive: &Path, to: &Path) -> Result<()> {
    log.run("unpacking the root tarball", &mut extraction(archive, to))
}

/// As [`unpack`], without the files whose names begin with `mark`. Links to folders that are there stay what they are.
pub fn unpack_layer(log: &Log, archive: &Path, to: &Path, mark: &str) -> Result<()> {
    let mut tar = extraction(archive, to);
    tar.arg("--keep-directory-symlink").arg(format!("--exclude={mark}*"));
    log.run("unpacking a layer of the base image", &mut tar)
}

/// The names in `archive`, one a line.
pub fn list(log: &Log, archive: &Path) -> Result<String> {
    let mut tar = command("tar");
    tar.args(["--list", "--quoting-style=literal", "--file"]).arg(archive);
    log.capture("listing a layer of the base image", &mut tar)
}

fn extraction(archive: &Path, to: &Path) -> Command {
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
    tar
}
