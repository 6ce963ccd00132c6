//! `tar`: unpacks a root file system, packs container images.
//!
//! It sees by itself how an archive is compressed.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::sealed::{FILE, FOLDER, sealed};
use super::{Log, command};
use crate::error::{Doing, Error, Result};

/// Unpacks `archive`, compressed or not, into the folder `to`, with owners by number and extended attributes. Whatever is in it,
/// nothing outside of `to` is written or linked to.
pub fn unpack(log: &Log, archive: &Path, to: &Path) -> Result<()> {
    extract(
        log,
        "unpacking an archive, which may reach nothing outside of its tree,",
        archive,
        to,
        &[],
    )
}

/// As [`unpack`], without the files whose names begin with `mark`. Links to folders that are there stay what they are.
pub fn unpack_layer(log: &Log, archive: &Path, to: &Path, mark: &str) -> Result<()> {
    let options = ["--keep-directory-symlink".to_owned(), format!("--exclude={mark}*")];
    extract(
        log,
        "unpacking a layer of an image, which may reach nothing outside of its tree,",
        archive,
        to,
        &options,
    )
}

/// The names in `archive`.
pub fn list(log: &Log, archive: &Path) -> Result<Vec<PathBuf>> {
    let root = empty()?;
    let mut tar = sealed("tar", root.path(), archive, None);
    // A name may hold the end of a line, so what ends a line must not be part of one.
    tar.args(["--list", "--quoting-style=escape", "--file", FILE]);
    let names = log.capture("listing a layer of an image", &mut tar)?;
    let names = names.lines().map(|line| {
        unescape(line).ok_or_else(|| {
            Error::Content(format!(
                "a layer of an image has the name {line}, which nobody can read"
            ))
        })
    });
    names.collect()
}

/// The name that `line` of a list stands for.
fn unescape(line: &str) -> Option<PathBuf> {
    let mut name = Vec::new();
    let mut rest = line.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            name.push(*first);
            continue;
        }
        let (kind, after) = rest.split_first()?;
        rest = after;
        name.push(match kind {
            b'\\' => b'\\',
            b'a' => 7,
            b'b' => 8,
            b't' => b'\t',
            b'n' => b'\n',
            b'v' => 11,
            b'f' => 12,
            b'r' => b'\r',
            b'0'..=b'3' => {
                let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
                rest = &rest[2..];
                (kind - b'0') << 6 | u8::from_str_radix(digits, 8).ok()?
            }
            _ => return None,
        });
    }
    Some(PathBuf::from(OsString::from_vec(name)))
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

fn extract(log: &Log, doing: &str, archive: &Path, to: &Path, options: &[String]) -> Result<()> {
    let root = empty()?;
    let mut tar = sealed("tar", root.path(), archive, Some(to));
    tar.args([
        "--extract",
        "--numeric-owner",
        "--same-permissions",
        "--xattrs",
        "--xattrs-include=*",
    ])
    .args(["--file", FILE, "--directory", FOLDER])
    .args(options);
    log.run(doing, &mut tar)
}

/// A folder for the root of a program.
fn empty() -> Result<TempDir> {
    tempfile::tempdir().doing("make a folder in", &std::env::temp_dir())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn names_of_a_list_are_those_of_the_archive() {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::create(&folder.path().join("log")).unwrap();
        let tree = folder.path().join("tree");
        let names: [&[u8]; 7] = [
            b"plain",
            b"q\nr",
            b"back\\slash",
            b"back\\nslash",
            b"\xff\x01\x7f",
            "gr\u{fc}\u{df} \"'".as_bytes(),
            b"\t\r\x07 end ",
        ];
        std::fs::create_dir(&tree).unwrap();
        for name in names {
            std::fs::write(tree.join(OsStr::from_bytes(name)), "").unwrap();
        }
        let archive = folder.path().join("archive");
        pack(&log, &tree, &archive).unwrap();
        let mut found = list(&log, &archive).unwrap();
        found.retain(|name| name != Path::new("./"));
        found.sort();
        let mut wanted: Vec<PathBuf> = names.map(|name| Path::new(".").join(OsStr::from_bytes(name))).into();
        wanted.sort();
        assert_eq!(found, wanted);
    }
}
