//! Makes the kernel forget what it holds of a file or disk, so that the next read comes from the medium.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

mod ioctl {
    // linux/fs.h: BLKFLSBUF
    nix::ioctl_none!(flush_buffers, 0x12, 97);
}

/// Forgets `length` bytes from `offset`; they were flushed before. On a block device, its buffers too.
pub(crate) fn forget(file: &File, offset: u64, length: u64) -> io::Result<()> {
    let offset = i64::try_from(offset).map_err(io::Error::other)?;
    let length = i64::try_from(length).map_err(io::Error::other)?;
    posix_fadvise(file, offset, length, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    // SAFETY: the request takes no argument, and the descriptor is open as long as `file` is borrowed.
    match unsafe { ioctl::flush_buffers(file.as_raw_fd()) } {
        // A plain file has no such request, and one without the right to it has at least been advised above.
        Ok(_) | Err(Errno::ENOTTY | Errno::EINVAL | Errno::EACCES | Errno::EPERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
