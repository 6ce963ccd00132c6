//! Cuts a stream of bytes of any chunking into whole blocks.

use crate::BLOCK_SIZE;

/// What did not yet fill a block.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    pending: Vec<u8>,
}

impl Blocks {
    /// Calls `each` for every block that `bytes` completes, in order.
    pub(crate) fn push<E>(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        if !self.pending.is_empty() {
            let take = bytes.len().min(BLOCK_SIZE - self.pending.len());
            let (head, rest) = bytes.split_at(take);
            self.pending.extend_from_slice(head);
            bytes = rest;
            if self.pending.len() < BLOCK_SIZE {
                return Ok(());
            }
            each(&self.pending)?;
            self.pending.clear();
        }
        let mut whole = bytes.chunks_exact(BLOCK_SIZE);
        for block in whole.by_ref() {
            each(block)?;
        }
        self.pending.extend_from_slice(whole.remainder());
        Ok(())
    }

    /// Whether the stream stopped within a block.
    pub(crate) fn within_block(&self) -> bool {
        !self.pending.is_empty()
    }
}
