//! From runs, literals and images to a segment's output.

use crate::ReadAt;
use crate::error::ApplyError;
use crate::limits::BLOCK;
use crate::segment::{Origin, Range, RunKind, Segment, clip};

/// The images that a segment may read.
pub(crate) struct Images<'a> {
    pub(crate) base: Option<&'a dyn ReadAt>,
    pub(crate) base_size: u64,
    pub(crate) output: &'a dyn ReadAt,
    pub(crate) output_size: u64,
}

impl Images<'_> {
    /// Puts the bytes of all `ranges` into `reference`, in their order.
    pub(crate) fn read_reference(&self, ranges: &[Range], reference: &mut Vec<u8>) -> Result<(), ApplyError> {
        reference.clear();
        for range in ranges {
            let limit = match range.origin {
                Origin::Base => self.base_size,
                Origin::Output => self.output_size,
            };
            let at = reference.len();
            reference.resize(at + clip(range.first, range.blocks, limit) as usize, 0);
            self.read(range.origin, range.first, &mut reference[at..])?;
        }
        Ok(())
    }

    /// Fills `output` with the segment: its copies, its zeros, and `literals` where they belong.
    pub(crate) fn assemble(&self, segment: &Segment, mut literals: &[u8], output: &mut [u8]) -> Result<(), ApplyError> {
        let mut rest = output;
        for run in &segment.runs {
            let size = rest.len().min((run.blocks * BLOCK) as usize);
            let (here, after) = rest.split_at_mut(size);
            match run.kind {
                RunKind::Literal => {
                    let (bytes, left) = literals.split_at(size);
                    here.copy_from_slice(bytes);
                    literals = left;
                }
                RunKind::Base(first) => self.read(Origin::Base, first, here)?,
                RunKind::Output(first) => self.read(Origin::Output, first, here)?,
                RunKind::Zero => here.fill(0),
            }
            rest = after;
        }
        Ok(())
    }

    fn read(&self, origin: Origin, first: u64, buffer: &mut [u8]) -> Result<(), ApplyError> {
        let offset = first * u64::from(BLOCK);
        match origin {
            Origin::Base => {
                let base = self.base.ok_or(ApplyError::BaseMissing)?;
                base.read_at(offset, buffer)
                    .map_err(|source| ApplyError::ReadBase { offset, source })
            }
            Origin::Output => self
                .output
                .read_at(offset, buffer)
                .map_err(|source| ApplyError::ReadTarget { offset, source }),
        }
    }
}
