//! Files with holes. A hole of a GiB costs as much to read as a GiB of zeros, so it is asked for and passed over.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{Whence, lseek};

/// How much is moved before its room is given back, in bytes.
const MOVED: u64 = 16 << 20;

/// The next stretch of data from `at` on: all of the rest where the file system knows nothing of holes.
pub(super) fn data(file: &File, at: u64, size: u64) -> io::Result<Option<(u64, u64)>> {
    if at >= size {
        return Ok(None);
    }
    let seek = |to: u64, whence, without_holes| match lseek(file.as_fd(), i64::try_from(to).unwrap_or(i64::MAX), whence)
    {
        Ok(found) => Ok(Some(u64::try_from(found).unwrap_or(0))),
        Err(nix::errno::Errno::ENXIO) => Ok(None),
        Err(nix::errno::Errno::EINVAL) => Ok(Some(without_holes)),
        Err(error) => Err(io::Error::from(error)),
    };
    let Some(start) = seek(at, Whence::SeekData, at)? else {
        return Ok(None);
    };
    Ok(Some((start, seek(start, Whence::SeekHole, size)?.unwrap_or(size))))
}

/// The content of a file from its beginning to its end, of whose holes the kernel is not asked for the zeros: it would find memory
/// for each of them.
#[derive(Debug)]
pub(super) struct Reader {
    file: File,
    size: u64,
    at: u64,
    /// The stretch of data that begins or ends next.
    data: (u64, u64),
}

impl Reader {
    /// Begins to read `file`, whose size is not to change meanwhile.
    pub(super) fn new(file: File) -> io::Result<Self> {
        Ok(Self {
            size: file.metadata()?.len(),
            file,
            at: 0,
            data: (0, 0),
        })
    }

    /// How much there is to read, in bytes.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.data.1 {
            self.data = data(&self.file, self.at, self.size)?.unwrap_or((self.size, self.size));
        }
        let (start, end) = self.data;
        let is_hole = self.at < start;
        let ahead = if is_hole { start } else { end.min(self.size) } - self.at;
        let wanted = buffer.len().min(usize::try_from(ahead).unwrap_or(usize::MAX));
        let buffer = &mut buffer[..wanted];
        if is_hole {
            buffer.fill(0);
        } else {
            self.file.read_exact_at(buffer, self.at)?;
        }
        self.at += wanted as u64;
        Ok(wanted)
    }
}

/// Copies what is not zero of the `size` bytes of `from` at `from_start` to `to` at `to_start`, and says whether that was anything.
pub(super) fn copy(from: &File, from_start: u64, size: u64, to: &File, to_start: u64) -> io::Result<bool> {
    const PIECE: usize = 64 * 1024;
    let mut piece = vec![0; PIECE];
    let (mut at, mut anything) = (from_start, false);
    let all = from_start + size;
    while let Some((start, end)) = data(from, at, all)? {
        at = start;
        let end = end.min(all);
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
            let piece = &mut piece[..wanted];
            from.read_exact_at(piece, at)?;
            if piece.iter().any(|byte| *byte != 0) {
                to.write_all_at(piece, to_start + (at - from_start))?;
                anything = true;
            }
            at += wanted as u64;
        }
    }
    Ok(anything)
}

/// Moves the content of the file `from`, which is gone then, to `to` at `to_start`.
///
/// What has been copied gives its room back at once where the file system can do that: the two together need hardly more than one.
pub(super) fn move_into(from: &Path, to: &File, to_start: u64) -> io::Result<()> {
    let mut source = File::options().read(true).write(true).open(from)?;
    let size = source.metadata()?.len();
    let mut target = to;
    target.seek(SeekFrom::Start(to_start))?;
    let mut at = 0;
    while at < size {
        let copied = io::copy(&mut (&mut source).take(MOVED), &mut target)?;
        if copied == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let place = i64::try_from(at).and_then(|at| Ok((at, i64::try_from(copied)?)));
        if let Ok((at, copied)) = place {
            // One that cannot make holes only needs more room.
            let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            let _ = fallocate(&source, hole, at, copied);
        }
        at += copied;
    }
    fs::remove_file(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_not_copied() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        let mut content = vec![0; 300_000];
        content[200_000] = 5;
        fs::write(&from, &content).unwrap();
        let to = File::create_new(folder.path().join("to")).unwrap();
        let source = File::open(&from).unwrap();
        let size = source.metadata().unwrap().len();
        assert!(copy(&source, 0, size, &to, 4096).unwrap());
        let written = fs::read(folder.path().join("to")).unwrap();
        assert_eq!(written[4096 + 200_000], 5);
        assert!(written.iter().filter(|byte| **byte != 0).count() == 1);
    }

    #[test]
    fn what_is_read_with_its_holes_is_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for (size, places) in [
            (0, &[][..]),
            (1 << 20, &[]),
            (3 << 20, &[0, 1 << 20, (3 << 20) - 1]),
            ((3 << 20) + 5, &[5000, (2 << 20) - 1]),
        ] {
            let file = File::create(&path).unwrap();
            file.set_len(size).unwrap();
            for place in places {
                file.write_all_at(&[7], *place).unwrap();
            }
            let mut reader = Reader::new(File::open(&path).unwrap()).unwrap();
            let (mut read, mut piece) = (Vec::new(), vec![1; 70_001]);
            loop {
                match reader.read(&mut piece).unwrap() {
                    0 => break,
                    count => read.extend_from_slice(&piece[..count]),
                }
            }
            assert!(read == fs::read(&path).unwrap(), "{size}");
        }
    }

    #[test]
    fn moved_content_is_whole_and_its_file_gone() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        let size = 2 * usize::try_from(MOVED).unwrap() + 12345;
        let content: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
        fs::write(&from, &content).unwrap();
        let path = folder.path().join("to");
        let to = File::create_new(&path).unwrap();
        move_into(&from, &to, 4096).unwrap();
        assert!(!from.exists());
        let moved = fs::read(&path).unwrap();
        assert!(moved[..4096].iter().all(|byte| *byte == 0) && moved[4096..] == content);
    }

    #[test]
    fn a_part_is_copied_whatever_holes_are_around_it() {
        let folder = tempfile::tempdir().unwrap();
        let from = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(folder.path().join("from"))
            .unwrap();
        from.set_len(64 << 20).unwrap();
        for (at, byte) in [(5 << 20, 1), ((6 << 20) - 1, 2), (6 << 20, 3), (20 << 20, 4)] {
            from.write_all_at(&[byte], at).unwrap();
        }
        let to = folder.path().join("to");
        let copied = |start: u64, size: u64| {
            let file = File::create(&to).unwrap();
            let anything = copy(&from, start, size, &file, 100).unwrap();
            let bytes = fs::read(&to).unwrap();
            let found = bytes.iter().enumerate().filter(|(_, byte)| **byte != 0);
            (anything, found.map(|(at, byte)| (at, *byte)).collect::<Vec<_>>())
        };
        let part = (5 << 20) + 1 - (1 << 20);
        assert_eq!(copied((1 << 20) + 1, part - 2), (false, vec![]));
        // Ends before the byte that is 3, begins before the one that is 1.
        assert_eq!(
            copied(4 << 20, 2 << 20),
            (true, vec![(100 + (1 << 20), 1), (100 + (2 << 20) - 1, 2)])
        );
        assert_eq!(copied(30 << 20, 34 << 20), (false, vec![]));
    }
}
