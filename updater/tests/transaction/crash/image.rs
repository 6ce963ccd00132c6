//! A disk in pages that copies share, so that a state costs what it differs by.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

const PAGE: usize = 4096;

type Page = [u8; PAGE];

#[derive(Clone)]
pub(super) struct Image {
    pages: Vec<Arc<Page>>,
}

impl Image {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let page = |chunk: &[u8]| Arc::new(Page::try_from(chunk).unwrap());
        Self {
            pages: bytes.chunks_exact(PAGE).map(page).collect(),
        }
    }

    pub(super) fn size(&self) -> u64 {
        (self.pages.len() * PAGE) as u64
    }

    fn parts(offset: u64, length: usize) -> impl Iterator<Item = (usize, usize, std::ops::Range<usize>)> {
        let offset = usize::try_from(offset).unwrap();
        let mut done = 0;
        std::iter::from_fn(move || {
            if done == length {
                return None;
            }
            let (page, within) = ((offset + done) / PAGE, (offset + done) % PAGE);
            let count = (PAGE - within).min(length - done);
            let range = done..done + count;
            done += count;
            Some((page, within, range))
        })
    }

    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) {
        for (page, within, range) in Self::parts(offset, buffer.len()) {
            let count = range.len();
            buffer[range].copy_from_slice(&self.pages[page][within..within + count]);
        }
    }

    pub(super) fn bytes(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.read(offset, &mut bytes);
        bytes
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        for (page, within, range) in Self::parts(offset, bytes.len()) {
            let count = range.len();
            let new = &bytes[range];
            if self.pages[page][within..within + count] != *new {
                Arc::make_mut(&mut self.pages[page])[within..within + count].copy_from_slice(new);
            }
        }
    }

    pub(super) fn holds(&self, offset: u64, bytes: &[u8]) -> bool {
        Self::parts(offset, bytes.len()).all(|(page, within, range)| {
            let count = range.len();
            self.pages[page][within..within + count] == bytes[range]
        })
    }

    /// The same for the same content (FNV over words, and over pages).
    pub(super) fn differs(&self, other: &Self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for (number, (page, before)) in self.pages.iter().zip(&other.pages).enumerate() {
            if Arc::ptr_eq(page, before) || page == before {
                continue;
            }
            hash = (hash ^ number as u64).wrapping_mul(0x0100_0000_01b3);
            for word in page.chunks_exact(8) {
                let word = u64::from_le_bytes(word.try_into().unwrap());
                hash = (hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
            }
        }
        hash
    }
}

/// A part of a disk as a volume.
pub(super) struct Volume {
    pub(super) image: Image,
    pub(super) start: u64,
    pub(super) size: u64,
    pub(super) position: u64,
}

impl Read for Volume {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(self.position)).unwrap();
        let count = buffer.len().min(left);
        self.image.read(self.start + self.position, &mut buffer[..count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl Write for Volume {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(self.position)).unwrap();
        let count = buffer.len().min(left);
        self.image.write(self.start + self.position, &buffer[..count]);
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Volume {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.size.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
