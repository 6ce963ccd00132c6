//! Files and block devices past the page cache.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

use crate::limits::BLOCK;
use crate::source::{ReadAt, Target};

/// Fewer bytes go through the page cache: it gathers them, where each alone would wait for the device.
const LEAST: usize = 64 * 1024;

/// A file or block device whose large reads and writes pass the page cache by: the kernel copies nothing, and what
/// the host's programs have in the cache stays there, instead of an image that nobody reads soon.
///
/// That takes whole blocks of [`BLOCK`] bytes, at a multiple of that in the file and in memory ([`Pages`](crate::Pages)); all else goes through
/// the page cache, as does everything where the file system has no other way. The kernel keeps both in agreement.
#[derive(Debug)]
pub struct DirectFile {
    cached: File,
    direct: Option<File>,
}

impl DirectFile {
    /// Opens `path` as `options` say.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: &Path, options: &OpenOptions) -> io::Result<Self> {
        let cached = options.open(path)?;
        let direct = options.clone().custom_flags(OFlag::O_DIRECT.bits()).open(path).ok();
        Ok(Self { cached, direct })
    }

    /// The file, for all that is neither reading nor writing. To flush it is to flush both ways.
    pub const fn file(&self) -> &File {
        &self.cached
    }

    /// The way past the cache, if these bytes can take it.
    fn way(&self, offset: u64, bytes: &[u8]) -> Option<&File> {
        let block = BLOCK as usize;
        let fits = bytes.len() >= LEAST
            && bytes.len().is_multiple_of(block)
            && offset.is_multiple_of(u64::from(BLOCK))
            && bytes.as_ptr().addr().is_multiple_of(block);
        self.direct.as_ref().filter(|_| fits)
    }
}

/// Whether the file system, or a device with larger sectors, has no such way after all.
fn refused(result: &io::Result<()>) -> bool {
    matches!(result, Err(error) if error.kind() == io::ErrorKind::InvalidInput)
}

impl ReadAt for DirectFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if let Some(direct) = self.way(offset, buffer) {
            let read = direct.read_exact_at(buffer, offset);
            if !refused(&read) {
                return read;
            }
        }
        self.cached.read_exact_at(buffer, offset)
    }
}

impl Target for DirectFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if let Some(direct) = self.way(offset, bytes) {
            let written = direct.write_all_at(bytes, offset);
            if !refused(&written) {
                return written;
            }
        }
        self.cached.write_all_at(bytes, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::Pages;

    #[test]
    fn both_ways_agree() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let options = OpenOptions::new().read(true).write(true).clone();
        let direct = DirectFile::open(file.path(), &options).unwrap();
        let mut pages = Pages::default();
        pages.resize(1 << 20);
        for (index, byte) in pages.iter_mut().enumerate() {
            *byte = u8::try_from(index % 251).unwrap();
        }
        assert!(direct.way(0, &pages).is_some(), "this file system can do it");
        assert!(direct.way(0, &pages[4096..4096 + LEAST]).is_some());
        for (offset, bytes) in [
            (512, &pages[..]),
            (0, &pages[1..]),
            (0, &pages[..LEAST - 4096]),
            (0, &pages[..=LEAST]),
        ] {
            assert!(direct.way(offset, bytes).is_none());
        }
        direct.write_at(0, &pages).unwrap();
        // Through the cache, then past it, over one another.
        direct.write_at(5000, b"cached").unwrap();
        pages[5000..5006].copy_from_slice(b"cached");
        let mut read = Pages::default();
        read.resize(1 << 20);
        direct.read_at(0, &mut read).unwrap();
        assert!(read[..] == pages[..]);
        direct.write_at(0, &pages[8192..8192 + LEAST]).unwrap();
        let mut few = [0; 100];
        direct.read_at(1, &mut few).unwrap();
        assert_eq!(few, pages[8193..8293]);
        let end = direct.read_at(1 << 20, &mut read).unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }
}
