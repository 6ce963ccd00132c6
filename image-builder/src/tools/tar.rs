//! `tar`: unpacks a root file system, packs container images, keeps trees.
//!
//! It sees by itself how an archive is compressed.

use std::path::Path;
use std::process::Command;

use super::root::ToolRoot;
use super::{Log, command};
use crate::error::Result;

/// How kept trees are compressed: they are written once and read in every build.
const COMPRESSION: &str = "--zstd";

/// Unpacks `archive`, compressed or not, into the folder `to`, with owners by number and extended attributes.
pub fn unpack(log: &Log, archive: &Path, to: &Path) -> Result<()> {
    log.run("unpacking the root tarball", extract(&mut command("tar"), archive, to))
}

/// As [`unpack`], without the files whose names begin with `mark`. Links to folders that are there stay what they are.
pub fn unpack_layer(log: &Log, archive: &Path, to: &Path, mark: &str) -> Result<()> {
    let mut tar = command("tar");
    extract(&mut tar, archive, to)
        .arg("--keep-directory-symlink")
        .arg(format!("--exclude={mark}*"));
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

/// Packs the folder `from` into the new archive `to`, with all that [`restore`] needs to make it the same again.
pub fn keep(log: &Log, tools: &ToolRoot, from: &Path, to: &Path) -> Result<()> {
    let mut tar = tools.command("tar");
    tar.args([
        "--create",
        // The only one with times to the nanosecond and extended attributes.
        "--format=posix",
        "--numeric-owner",
        "--xattrs",
        "--xattrs-include=*",
        COMPRESSION,
        "--file",
    ])
    .arg(to)
    .arg("--directory")
    .arg(from)
    .arg(".");
    log.run("keeping the installed packages", &mut tar)
}

/// Unpacks what [`keep`] packed into the folder `to`.
pub fn restore(log: &Log, tools: &ToolRoot, archive: &Path, to: &Path) -> Result<()> {
    let mut tar = tools.command("tar");
    extract(&mut tar, archive, to).arg(COMPRESSION);
    log.run("unpacking the installed packages", &mut tar)
}

fn extract<'a>(tar: &'a mut Command, archive: &Path, to: &Path) -> &'a mut Command {
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
    .arg(to)
}
