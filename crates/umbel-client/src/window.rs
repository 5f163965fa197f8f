//! The blocks that are on their way: sent or about to be, and not known to be durable.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::blocks::Block;

/// Bytes on their way at most, unless a single block is longer. Enough to keep the link full
/// while the coordinator's disk syncs.
const BYTES_MAX: usize = 4 << 20;
/// Blocks on their way at most.
const BLOCKS_MAX: usize = 256;

/// Blocks in order; the first `sent` of them went out over the present link.
#[derive(Debug, Default)]
pub(crate) struct Window {
    blocks: VecDeque<Block>,
    bytes: usize,
    sent: usize,
}

/// The coordinator's durable index lies within a block, where none was cut by this upload.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Straddled;

impl Window {
    /// Whether another block may be made.
    pub(crate) fn is_open(&self) -> bool {
        self.sent == self.blocks.len()
            && (self.blocks.is_empty() || self.bytes < BYTES_MAX)
            && self.blocks.len() < BLOCKS_MAX
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    pub(crate) fn push(&mut self, block: Block) {
        self.bytes += block.bytes.len();
        self.blocks.push_back(block);
    }

    /// Whether a block waits to be sent.
    pub(crate) fn has_unsent(&self) -> bool {
        self.sent < self.blocks.len()
    }

    /// The next block to send, which now counts as sent.
    pub(crate) fn send(&mut self) -> Option<(u64, Bytes)> {
        let block = self.blocks.get(self.sent)?;
        self.sent += 1;
        Some((block.first_index, block.bytes.clone()))
    }

    /// A new link knows nothing of what the old one carried.
    pub(crate) fn rewind(&mut self) {
        self.sent = 0;
    }

    /// Everything below `next_index` is durable.
    pub(crate) fn answered(&mut self, next_index: u64) -> Result<(), Straddled> {
        while let Some(block) = self.blocks.front() {
            if block.end > next_index {
                return if block.first_index < next_index {
                    Err(Straddled)
                } else {
                    Ok(())
                };
            }
            self.bytes -= block.bytes.len();
            self.blocks.pop_front();
            self.sent = self.sent.saturating_sub(1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(first_index: u64, end: u64, bytes: usize) -> Block {
        Block {
            first_index,
            end,
            bytes: vec![0; bytes].into(),
        }
    }

    fn sent(window: &mut Window) -> Vec<u64> {
        std::iter::from_fn(|| window.send())
            .map(|(first_index, _)| first_index)
            .collect()
    }

    #[test]
    fn what_is_not_answered_goes_out_again_over_a_new_link() {
        let mut window = Window::default();
        for first in [0, 10, 20] {
            window.push(block(first, first + 10, 1));
        }
        assert_eq!(sent(&mut window), [0, 10, 20]);
        assert_eq!(window.answered(10), Ok(()));
        window.rewind();
        assert_eq!(sent(&mut window), [10, 20]);
        assert_eq!(window.answered(30), Ok(()));
        assert!(window.is_empty() && window.is_open());
    }

    #[test]
    fn it_closes_by_bytes_but_one_long_block_always_passes() {
        let mut window = Window::default();
        window.push(block(0, 1, BYTES_MAX + 1));
        assert!(!window.is_open(), "unsent");
        assert_eq!(sent(&mut window), [0]);
        assert!(!window.is_open(), "full");
        assert_eq!(window.answered(1), Ok(()));
        assert!(window.is_open());
    }

    #[test]
    fn an_answer_within_a_block_is_not_of_this_upload() {
        let mut window = Window::default();
        window.push(block(0, 10, 1));
        assert_eq!(window.answered(5), Err(Straddled));
    }
}
