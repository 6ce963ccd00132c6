//! `tar`: unpacks a root file system, packs container images.
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
    log.run("unpacking a layer of an image", &mut tar)
}

/// The names in `archive`, one a line.
pub fn list(log: &Log, archive: &Path) -> Result<String> {
    let mut tar = command("tar");
    tar.args(["--list", "--quoting-style=literal", "--file"]).arg(archive);
    log.capture("listing a layer of an image", &mut tar)
}

/// Packs the folder `from` into the new archive `to`: sorted, with nothing in it of this host or this time.
pub fn pack(log: &Log, from: &Path, to: &Path) -> Result<()> {
    let mut tar = command("tar");
    tar.args([
        "--create",
        "--format=ustar",
        "--sort=name",
        "--mtime=@0",
        "--mode=go=rX,u+rw,a-s",
    ])
    .args(["--owner=0", "--group=0", "--numeric-owner", "--file"])
    .arg(to)
    .arg("--directory")
    .arg(from)
    .arg(".");
    log.run("packing a container image", &mut tar)
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
