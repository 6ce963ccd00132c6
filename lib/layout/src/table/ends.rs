//! The two ends of a disk in memory, where a GPT keeps its two copies.
//!
//! The crate `gpt` reads and writes through this, so that it shapes the bytes and this project decides in which order
//! they reach the medium.

use std::io::{self, Read, Seek, SeekFrom, Write};

use super::Medium;

/// Bytes kept of each end: room for the MBR, a header and 128 entries at any sector size up to 4096.
const KEPT: usize = 64 * 1024;

#[derive(Debug, Clone)]
pub(super) struct Ends {
    size: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
    position: u64,
}

impl Ends {
    /// All-zero ends of a disk of `size` bytes; `size` is at least twice what is kept.
    pub(super) fn blank(size: u64) -> io::Result<Self> {
        if size < 2 * KEPT as u64 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{size} bytes are too small for a partition table"),
            ));
        }
        Ok(Self {
            size,
            head: vec![0; KEPT],
            tail: vec![0; KEPT],
            position: 0,
        })
    }

    /// The ends of what lies between the start of `medium` and byte `size`.
    pub(super) fn read(medium: &impl Medium, size: u64) -> io::Result<Self> {
        let mut ends = Self::blank(size)?;
        medium.read_exact_at(&mut ends.head, 0)?;
        medium.read_exact_at(&mut ends.tail, size - KEPT as u64)?;
        Ok(ends)
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    pub(super) fn head_mut(&mut self) -> &mut [u8] {
        &mut self.head
    }

    pub(super) fn tail(&self) -> &[u8] {
        &self.tail
    }

    pub(super) fn tail_mut(&mut self) -> &mut [u8] {
        &mut self.tail
    }

    pub(super) fn tail_start(&self) -> u64 {
        self.size - self.tail.len() as u64
    }

    /// The kept bytes from the current position on, and nothing when the position is in between.
    fn here(&mut self) -> &mut [u8] {
        let tail_start = self.tail_start();
        let (kept, offset) = if self.position < self.head.len() as u64 {
            (&mut self.head, self.position)
        } else if self.position >= tail_start {
            (&mut self.tail, self.position - tail_start)
        } else {
            return &mut [];
        };
        usize::try_from(offset)
            .ok()
            .and_then(|offset| kept.get_mut(offset..))
            .unwrap_or_default()
    }
}

impl Read for Ends {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let here = self.here();
        let count = buffer.len().min(here.len());
        buffer[..count].copy_from_slice(&here[..count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl Write for Ends {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let here = self.here();
        let count = buffer.len().min(here.len());
        here[..count].copy_from_slice(&buffer[..count]);
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Ends {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = target.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "seek outside the disk"))?;
        Ok(self.position)
    }
}
