//! The single changes that a replacement is made of. Each is noted in [`crate::record`] where that is compiled in.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

#[cfg(feature = "record")]
use crate::record::{Change, note};

/// A new, empty file.
pub(crate) fn create(path: &Path, mode: u32) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    #[cfg(feature = "record")]
    note(Change::Create(path.to_owned()));
    Ok(file)
}

/// All of `bytes` at the end of `file`, which is the one at `path`.
#[cfg_attr(not(feature = "record"), expect(unused_variables, reason = "only to be noted"))]
pub(crate) fn write(file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    #[cfg(feature = "record")]
    note(Change::Write(path.to_owned(), bytes.to_vec()));
    Ok(())
}

/// The content of `file`, which is the one at `path`, to the medium.
#[cfg_attr(not(feature = "record"), expect(unused_variables, reason = "only to be noted"))]
pub(crate) fn flush(file: &File, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    #[cfg(feature = "record")]
    note(Change::Flush(path.to_owned()));
    Ok(())
}

/// `to` is what `from` was.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    #[cfg(feature = "record")]
    note(Change::Rename(from.to_owned(), to.to_owned()));
    Ok(())
}

/// No file at `path` any more.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    #[cfg(feature = "record")]
    note(Change::Remove(path.to_owned()));
    Ok(())
}

/// An empty directory.
pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    #[cfg(feature = "record")]
    note(Change::CreateDirectory(path.to_owned()));
    Ok(())
}

/// The names in a directory to the medium.
pub(crate) fn flush_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    #[cfg(feature = "record")]
    note(Change::FlushDirectory(path.to_owned()));
    Ok(())
}
