//! Files with holes. A hole of a GiB costs as much to read as a GiB of zeros, so it is asked for and passed over.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use nix::unistd::{Whence, lseek};

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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

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
