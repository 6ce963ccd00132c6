//! A disk on its way through a recording: what is durable, what may or may not be, and every state that a power cut can leave.
//!
//! Between two flushes a disk may write what it was given in any order, or not at all, and may be cut within a request at any
//! sector. So a state is: everything that is durable, plus any part of what is pending.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::{SECTOR, WriteLog};
use crate::error::{Error, Result};

/// A write that is not durable yet. Its data stays in the recording: an update writes more than one wants to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write {
    /// Byte of the disk at which it begins.
    pub offset: u64,
    /// How many bytes it writes: whole sectors.
    pub length: u64,
    /// Byte of the recording at which its data begins.
    data: u64,
}

impl Write {
    /// Its first `sectors` sectors: what a cut in its middle leaves.
    #[must_use]
    pub fn torn(self, sectors: u64) -> Self {
        Self {
            length: self.length.min(sectors * SECTOR),
            ..self
        }
    }

    /// How many sectors it writes.
    pub fn sectors(self) -> u64 {
        self.length / SECTOR
    }

    /// Whether it writes to any byte of `range`.
    pub fn touches(self, range: &Range<u64>) -> bool {
        self.offset < range.end && self.offset + self.length > range.start
    }
}

/// A disk image that is taken through a recording.
#[derive(Debug)]
pub struct Replay {
    log: WriteLog,
    path: PathBuf,
    disk: File,
    pending: Vec<Write>,
}

impl Replay {
    /// Replays `log` over the image at `disk`, which must be as it was when the recording began, and is changed.
    pub fn new(log: WriteLog, disk: &Path) -> Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .open(disk)
            .map_err(|source| Error::file("open the disk", disk, source))?;
        Ok(Self {
            log,
            path: disk.to_owned(),
            disk: file,
            pending: Vec::new(),
        })
    }

    /// The disk.
    pub fn disk(&self) -> &Path {
        &self.path
    }

    /// Takes up requests until the next flush; false when nothing is left. What is pending then is what a cut just before the
    /// flush can lose. [`Replay::flush`] goes on.
    pub fn until_flush(&mut self) -> Result<bool> {
        while let Some(request) = self.log.next_request()? {
            let write = Write {
                offset: request.offset,
                length: request.length,
                data: request.data,
            };
            if write.length > 0 {
                if request.durable {
                    // Later states all have it. That it may overtake older writes is seen in the subsets of those.
                    self.apply(write)?;
                } else {
                    self.pending.push(write);
                }
            }
            if request.flush {
                return Ok(true);
            }
        }
        Ok(!self.pending.is_empty())
    }

    /// The writes that a cut at this moment may lose, oldest first.
    pub fn pending(&self) -> &[Write] {
        &self.pending
    }

    /// Makes durable what is pending.
    pub fn flush(&mut self) -> Result<()> {
        for write in std::mem::take(&mut self.pending) {
            self.apply(write)?;
        }
        Ok(())
    }

    /// Looks at the disk with these writes on top of what is durable, in this order, and takes them away again.
    pub fn with<T>(&self, writes: &[Write], look: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        let mut before = Vec::with_capacity(writes.len());
        let mut seen = Ok(());
        for write in writes {
            // Each is read before the next is applied: undone in the opposite order, overlaps come out right.
            match self.replaced_by(*write) {
                Ok(data) => before.push((write.offset, data)),
                Err(error) => {
                    seen = Err(error);
                    break;
                }
            }
            seen = self.apply(*write);
            if seen.is_err() {
                break;
            }
        }
        let seen = seen.and_then(|()| look(&self.path));
        for (offset, data) in before.iter().rev() {
            self.write(*offset, data)?;
        }
        seen
    }

    /// Applies writes to a copy of the disk at `path`.
    pub fn write_to(&self, path: &Path, writes: &[Write]) -> Result<()> {
        let failed = |source| Error::file("write", path, source);
        let copy = File::options().write(true).open(path).map_err(failed)?;
        for write in writes {
            let data = self.log.read(write.data, write.length)?;
            copy.write_all_at(&data, write.offset).map_err(failed)?;
        }
        Ok(())
    }

    fn replaced_by(&self, write: Write) -> Result<Vec<u8>> {
        let mut data = vec![0; usize::try_from(write.length).unwrap_or(usize::MAX)];
        self.disk
            .read_exact_at(&mut data, write.offset)
            .map_err(|source| Error::file("read", &self.path, source))?;
        Ok(data)
    }

    fn apply(&self, write: Write) -> Result<()> {
        self.write(write.offset, &self.log.read(write.data, write.length)?)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.disk
            .write_all_at(data, offset)
            .map_err(|source| Error::file("write", &self.path, source))
    }
}

#[cfg(test)]
mod tests {
    use super::super::recorded;
    use super::*;

    fn replay(folder: &Path, raw: &[(u64, &[u8], u64)]) -> Replay {
        let (log, disk) = (folder.join("log"), folder.join("disk"));
        recorded::write(&log, raw);
        std::fs::write(&disk, [0; 8 * 512]).unwrap();
        Replay::new(WriteLog::open(&log).unwrap(), &disk).unwrap()
    }

    fn bytes(replay: &Replay) -> Vec<u8> {
        std::fs::read(replay.disk()).unwrap()
    }

    #[test]
    fn nothing_is_durable_before_its_flush() {
        let folder = tempfile::tempdir().unwrap();
        let mut replay = replay(folder.path(), &[(1, &[7; 512], 0), (0, &[], recorded::A_FLUSH)]);
        assert!(replay.until_flush().unwrap());
        assert_eq!(bytes(&replay), [0; 8 * 512]);
        replay.flush().unwrap();
        assert_eq!(bytes(&replay)[512..1024], [7; 512]);
        assert!(!replay.until_flush().unwrap());
    }

    #[test]
    fn a_state_is_seen_and_then_undone_also_where_writes_overlap() {
        let folder = tempfile::tempdir().unwrap();
        let mut replay = replay(folder.path(), &[(1, &[1; 1024], 0), (2, &[2; 1024], 0)]);
        assert!(replay.until_flush().unwrap());
        let pending = replay.pending().to_vec();
        assert_eq!(pending.len(), 2);
        let seen = replay.with(&pending, |disk| Ok(std::fs::read(disk).unwrap())).unwrap();
        assert_eq!((seen[512], seen[1024], seen[1536]), (1, 2, 2));
        assert_eq!(bytes(&replay), [0; 8 * 512]);
        let torn = [pending[0].torn(1)];
        let seen = replay.with(&torn, |disk| Ok(std::fs::read(disk).unwrap())).unwrap();
        assert_eq!((seen[512], seen[1024]), (1, 0));
    }
}
