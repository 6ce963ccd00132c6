//! Every write and flush that a machine's disk has seen, as QEMU's block driver `blklogwrites` records them.
//!
//! Format: the kernel's `Documentation/admin-guide/device-mapper/log-writes.rst`, version 1. A superblock in the first
//! sector; then for each request a sector that describes it, followed by its data. All numbers are little-endian.

mod replay;

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

pub use replay::{Replay, Write};

use crate::error::{Error, Result};

/// `0x6a736677736872`: what the superblock begins with.
const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
/// Sector of log and disk alike; QEMU's default for `log-sector-size`.
const SECTOR: u64 = 512;

/// All earlier requests are on the medium before this one ends.
const FLUSH: u64 = 1;
/// The request itself is on the medium before it ends.
const FORCE_UNIT_ACCESS: u64 = 2;
/// The content of these sectors does not matter any more. Carries no data.
const DISCARD: u64 = 4;
/// A note. Carries no request.
const MARK: u64 = 8;

/// The largest request that is believed: what a guest sends at once is far smaller.
const LARGEST: u64 = 256 << 20;

/// One request that the disk has seen, in the order in which they ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Byte of the disk at which it begins.
    pub offset: u64,
    /// Bytes that it writes; 0 for a pure flush.
    pub length: u64,
    /// Byte of the log at which its data begins.
    data: u64,
    /// Whether everything before it is durable once it has ended.
    pub flush: bool,
    /// Whether it is itself durable once it has ended.
    pub durable: bool,
}

/// A recording, read from front to back.
#[derive(Debug)]
pub struct WriteLog {
    path: PathBuf,
    file: File,
    left: u64,
    position: u64,
}

impl WriteLog {
    /// Opens the recording of a machine that is off.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|source| Error::file("open the write log", path, source))?;
        let mut log = Self {
            path: path.to_owned(),
            file,
            left: 0,
            position: SECTOR,
        };
        let [magic, version, requests, sector] = log.numbers(0)?;
        // The size of a sector has 32 bits; what follows it is not defined.
        let sector = sector & u64::from(u32::MAX);
        if (magic, version, sector) != (MAGIC, VERSION, SECTOR) {
            return Err(log.unfit(format_args!(
                "it is no write log of version {VERSION} with sectors of {SECTOR} bytes (magic {magic:#x}, version {version}, \
                 sectors of {sector})"
            )));
        }
        log.left = requests;
        Ok(log)
    }

    /// The next request that changes the disk or makes changes durable.
    pub fn next_request(&mut self) -> Result<Option<Request>> {
        while self.left > 0 {
            self.left -= 1;
            let [sector, sectors, flags, note] = self.numbers(self.position)?;
            let (offset, length) = match (sector.checked_mul(SECTOR), sectors.checked_mul(SECTOR)) {
                (Some(offset), Some(length)) if length <= LARGEST || flags & DISCARD != 0 => (offset, length),
                _ => return Err(self.unfit(format_args!("a request of {sectors} sectors at sector {sector}"))),
            };
            let data = self.position + SECTOR;
            if flags & MARK != 0 {
                self.position = data + note.div_ceil(SECTOR) * SECTOR;
                continue;
            }
            if flags & DISCARD != 0 {
                self.position = data;
                continue;
            }
            self.position = data + length;
            return Ok(Some(Request {
                offset,
                length,
                data,
                flush: flags & FLUSH != 0,
                durable: flags & FORCE_UNIT_ACCESS != 0,
            }));
        }
        Ok(None)
    }

    /// `length` bytes of the recording, at most [`LARGEST`].
    fn read(&self, position: u64, length: u64) -> Result<Vec<u8>> {
        let mut data = vec![0; usize::try_from(length).map_err(|error| self.unfit(error))?];
        self.file
            .read_exact_at(&mut data, position)
            .map_err(|source| Error::file("read the write log", &self.path, source))?;
        Ok(data)
    }

    fn numbers(&self, position: u64) -> Result<[u64; 4]> {
        let mut bytes = [0; 32];
        self.file
            .read_exact_at(&mut bytes, position)
            .map_err(|source| Error::file("read the write log", &self.path, source))?;
        let mut numbers = [0; 4];
        for (number, bytes) in numbers.iter_mut().zip(bytes.chunks_exact(8)) {
            let mut eight = [0; 8];
            eight.copy_from_slice(bytes);
            *number = u64::from_le_bytes(eight);
        }
        Ok(numbers)
    }

    fn unfit(&self, reason: impl std::fmt::Display) -> Error {
        Error::Expectation(format!("write log {}: {reason}", self.path.display()))
    }
}

#[cfg(test)]
pub(crate) mod recorded {
    //! Recordings made by hand.

    use std::path::Path;

    use super::{FLUSH, MAGIC, SECTOR, VERSION};

    /// A recording of these requests: first sector, data of whole sectors (or none), flags.
    pub(crate) fn write(path: &Path, requests: &[(u64, &[u8], u64)]) {
        let mut bytes = Vec::new();
        let sector = |numbers: [u64; 4]| {
            let mut sector: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            sector.resize(usize::try_from(SECTOR).unwrap(), 0);
            sector
        };
        bytes.extend(sector([MAGIC, VERSION, requests.len() as u64, SECTOR]));
        for (first, data, flags) in requests {
            bytes.extend(sector([*first, data.len() as u64 / SECTOR, *flags, 0]));
            bytes.extend_from_slice(data);
        }
        std::fs::write(path, bytes).unwrap();
    }

    /// The flags of a pure flush.
    pub(crate) const A_FLUSH: u64 = FLUSH;
}

#[cfg(test)]
mod tests {
    use super::recorded::{A_FLUSH, write};
    use super::*;

    fn requests(raw: &[(u64, &[u8], u64)]) -> Result<Vec<Request>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        write(&path, raw);
        let mut log = WriteLog::open(&path)?;
        let mut all = Vec::new();
        while let Some(request) = log.next_request()? {
            all.push(request);
        }
        Ok(all)
    }

    #[test]
    fn requests_come_in_order_with_their_place_and_data() {
        let found = requests(&[(2, &[7; 1024], 0), (0, &[], A_FLUSH), (9, &[8; 512], FORCE_UNIT_ACCESS)]).unwrap();
        assert_eq!(found.len(), 3);
        assert_eq!((found[0].offset, found[0].length, found[0].flush), (1024, 1024, false));
        assert!(found[1].flush && found[1].length == 0);
        assert!(found[2].durable && found[2].offset == 9 * 512);
    }

    #[test]
    fn a_discard_has_no_data_and_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        write(&path, &[(0, &[], DISCARD), (1, &[5; 512], 0)]);
        // The discard covers many sectors, none of which is in the log.
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[512 + 8..512 + 16].copy_from_slice(&1_000_000u64.to_le_bytes());
        std::fs::write(&path, bytes).unwrap();
        let mut log = WriteLog::open(&path).unwrap();
        assert_eq!(log.next_request().unwrap().unwrap().offset, 512);
        assert_eq!(log.next_request().unwrap(), None);
    }

    #[test]
    fn what_is_no_log_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, [0; 4096]).unwrap();
        assert!(WriteLog::open(&path).unwrap_err().to_string().contains("no write log"));
    }

    #[test]
    fn a_log_without_its_end_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        write(&path, &[(1, &[5; 512], 0), (2, &[6; 512], 0)]);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..3 * 512]).unwrap();
        let mut log = WriteLog::open(&path).unwrap();
        assert!(log.next_request().unwrap().is_some());
        assert!(log.next_request().is_err(), "the superblock promises a second request");
    }
}
