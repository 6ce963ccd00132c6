//! Memory that a device can be read into and written from without a copy.

use std::ops::{Deref, DerefMut};

use crate::limits::BLOCK;

/// A buffer that begins at a multiple of [`BLOCK`] in memory.
#[derive(Debug, Default)]
pub struct Pages {
    room: Vec<u8>,
    start: usize,
    size: usize,
}

impl Pages {
    /// Makes it `size` bytes long. What they hold is not said.
    pub fn resize(&mut self, size: usize) {
        let alignment = BLOCK as usize;
        if self.room.len() < size + alignment {
            self.room = vec![0; size + alignment];
        }
        self.start = self.room.as_ptr().align_offset(alignment).min(alignment);
        self.size = size;
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.room[self.start..self.start + self.size]
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.room[self.start..self.start + self.size]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_begins_at_a_page() {
        let mut pages = Pages::default();
        assert!(pages.is_empty());
        for size in [1, 4096, 1 << 20, 5, 0, (1 << 20) + 1] {
            pages.resize(size);
            assert_eq!(pages.len(), size);
            assert_eq!(pages.as_ptr().addr() % 4096, 0);
            pages.fill(7);
        }
    }
}
