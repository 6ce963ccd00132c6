//! A layer of a container image as overlayfs wants it: what it removes from the layers below is marked in the kernel's way.
//!
//! Specifications: OCI image layer filesystem changeset (whiteouts); Documentation/filesystems/overlayfs.rst.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::sys::stat::{Mode, SFlag, mknod};

use super::xattr;
use crate::build::containers::Layer;
use crate::build::fetch;
use crate::error::{Doing, Error, Result};
use crate::tools::{Log, gzip, tar};

/// A file beside a name that this layer removes.
const WHITEOUT: &str = ".wh.";
/// A file in a folder of which this layer hides everything below.
const OPAQUE: &str = ".wh..wh..opq";

/// How an archive begins that is compressed.
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// How the file of a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// What unpacking a layer has shown.
#[derive(Debug)]
pub(super) struct Unpacked {
    /// How its file is compressed.
    pub(super) compression: Compression,
    /// The size of the archive when it is decompressed.
    pub(super) size: u64,
}

/// Unpacks `layer` into the new folder `diff`; `work` is a folder for the decompressed archive.
///
/// # Errors
/// It is not what the configuration of its image says; it names a path that is none.
pub(super) fn unpack(log: &Log, layer: &Layer, work: &Path, diff: &Path) -> Result<Unpacked> {
    super::super::files::make_folder(diff)?;
    let archive = work.join("layer.tar");
    let compression = compression(&layer.path).doing("read", &layer.path)?;
    match compression {
        Compression::None => fs::copy(&layer.path, &archive).map(drop).doing("copy", &layer.path)?,
        Compression::Gzip => gzip::decompress(log, &layer.path, &archive)?,
        Compression::Zstd => File::open(&layer.path)
            .and_then(|from| zstd::stream::copy_decode(from, File::create(&archive)?))
            .doing("decompress", &layer.path)?,
    }
    let size = archive.metadata().doing("look at", &archive)?.len();
    if fetch::sha256(&archive).doing("read", &archive)? != layer.content {
        return Err(Error::Content(format!(
            "the layer {} of a container image is not what its configuration says",
            layer.hash
        )));
    }
    let marks = marks(&tar::list(log, &archive)?)?;
    tar::unpack_layer(log, &archive, diff, WHITEOUT)?;
    for mark in marks {
        apply(&mark, diff)?;
    }
    fs::remove_file(&archive).doing("remove", &archive)?;
    Ok(Unpacked { compression, size })
}

/// What a layer does to those below.
#[derive(Debug, PartialEq, Eq)]
enum Mark {
    /// Removes a path.
    Removes(PathBuf),
    /// Hides all of a folder.
    Hides(PathBuf),
}

/// The marks among the names of an archive. All names must be paths below the root.
fn marks(names: &[PathBuf]) -> Result<Vec<Mark>> {
    let mut marks = Vec::new();
    for name in names {
        let path = name.strip_prefix(".").unwrap_or(name);
        let wrong = || {
            Error::Content(format!(
                "a layer of a container image names {}, which is no path in it",
                path.display()
            ))
        };
        let is_inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        if !path.components().all(is_inside) {
            return Err(wrong());
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        let file = path.file_name().unwrap_or_default().as_bytes();
        if file == OPAQUE.as_bytes() {
            marks.push(Mark::Hides(folder.to_owned()));
            continue;
        }
        match file.strip_prefix(WHITEOUT.as_bytes()) {
            Some(b"" | b"." | b"..") => return Err(wrong()),
            // Marks of aufs that mean nothing here.
            Some(aufs) if aufs.starts_with(WHITEOUT.as_bytes()) => {}
            Some(hidden) => marks.push(Mark::Removes(folder.join(OsStr::from_bytes(hidden)))),
            None => {}
        }
    }
    Ok(marks)
}

fn apply(mark: &Mark, diff: &Path) -> Result<()> {
    let (path, folder) = match mark {
        Mark::Hides(folder) => (diff.join(folder), diff.join(folder)),
        Mark::Removes(path) => {
            let path = diff.join(path);
            let folder = path.parent().unwrap_or(diff).to_owned();
            (path, folder)
        }
    };
    // Through a link of the layer, a mark could land outside of it, on this very host, with the folders that it needs.
    let there = folder
        .ancestors()
        .find(|above| above.symlink_metadata().is_ok())
        .unwrap_or(diff);
    let diff = diff.canonicalize().doing("find", diff)?;
    if !there.canonicalize().is_ok_and(|real| real.starts_with(&diff)) {
        return Err(Error::Content(format!(
            "a layer of a container image marks {} through a link that leads out of it",
            path.display()
        )));
    }
    fs::create_dir_all(&folder).doing("make the folder", &folder)?;
    match mark {
        Mark::Hides(_) => xattr::set(&folder, c"trusted.overlay.opaque", b"y").doing("mark as opaque", &folder),
        // A layer that removes a path and brings it again brings it.
        Mark::Removes(_) if path.symlink_metadata().is_ok() => Ok(()),
        Mark::Removes(_) => mknod(&path, SFlag::S_IFCHR, Mode::empty(), 0)
            .map_err(io::Error::from)
            .doing("mark as removed", &path),
    }
}

fn compression(path: &Path) -> io::Result<Compression> {
    let mut head = Vec::new();
    File::open(path)?.take(4).read_to_end(&mut head)?;
    Ok(if head.starts_with(&GZIP) {
        Compression::Gzip
    } else if head.starts_with(&ZSTD) {
        Compression::Zstd
    } else {
        Compression::None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_and_paths_that_lead_out_are_refused() {
        let marks = |names: &[&str]| marks(&names.iter().map(PathBuf::from).collect::<Vec<_>>());
        let names = [
            "./",
            "./etc/",
            "./etc/.wh.old",
            "./var/.wh..wh..opq",
            "./.wh..wh.plnk",
            "./usr/bin/app",
        ];
        assert_eq!(
            marks(&names).unwrap(),
            [Mark::Removes("etc/old".into()), Mark::Hides("var".into())]
        );
        for bad in ["../x", "a/../../x", "/etc/passwd", "a/.wh..", "a/.wh..."] {
            assert!(marks(&[bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn mark_through_a_link_never_leaves_the_layer() {
        let (diff, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(outside.path(), diff.path().join("way")).unwrap();
        for mark in [
            Mark::Removes("way/x".into()),
            Mark::Removes("way/new/x".into()),
            Mark::Hides("way".into()),
            Mark::Hides("way/new/newer".into()),
        ] {
            let error = apply(&mark, diff.path()).unwrap_err().to_string();
            assert!(error.contains("leads out of it"), "{error}");
        }
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}
