//! The output of one segment while it is on its way.

use twinhull_verity::Salt;

use crate::hash::Sha256Hash;
use crate::leaves::{self, Leaf};
use crate::pages::Pages;

/// Room for the output of a segment and the hashes of its blocks, to be used again.
#[derive(Default)]
pub(super) struct Output {
    pub(super) bytes: Pages,
    leaves: Vec<Leaf>,
}

impl Output {
    /// Hashes the bytes.
    pub(super) fn hash(&mut self, salt: &Salt) -> Sha256Hash {
        leaves::hash(salt, &self.bytes, &mut self.leaves)
    }

    /// As the bytes were when they were hashed: what a consumer gets.
    pub(super) fn part(&self, offset: u64) -> Part<'_> {
        Part {
            offset,
            bytes: &self.bytes,
            leaves: &self.leaves,
        }
    }
}

/// A part of the output, found or written, whose hash was compared.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// The hash of each of its blocks, with the salt of the header: the leaves of a verity tree with that salt.
    pub leaves: &'a [Leaf],
}

impl Part<'_> {
    /// Where it ends, in bytes.
    pub const fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}
