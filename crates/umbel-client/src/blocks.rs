//! Inputs become blocks here, on the client's processor.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{BoxStream, Fuse, Stream, StreamExt as _};
use tokio::time::{Sleep, sleep};
use umbel_core::limit::INPUT_BYTES_MAX;
use umbel_proto::block::BlockBuilder;

use crate::error::{Error, SourceError};

/// Inputs, or why there are no more.
pub(crate) type Source<'a> = BoxStream<'a, Result<Bytes, SourceError>>;

/// How long a block waits for company when its source has nothing more to give just now.
pub(crate) const LINGER: Duration = Duration::from_millis(20);

/// Consecutive inputs, encoded.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) first_index: u64,
    /// One past its last index.
    pub(crate) end: u64,
    pub(crate) bytes: Bytes,
}

/// The blocks of a source. Polling it may stop at any time without losing an input.
pub(crate) struct Blocks<'a> {
    source: Fuse<Source<'a>>,
    builder: BlockBuilder,
    /// The index of the first input in `builder`.
    first_index: u64,
    /// Inputs below this are durable already and are only counted.
    skip_until: u64,
    /// The input that did not fit into the block before it.
    held: Option<Bytes>,
    linger: Option<Pin<Box<Sleep>>>,
    failed: bool,
}

impl<'a> Blocks<'a> {
    pub(crate) fn new(source: Source<'a>) -> Self {
        Self {
            source: source.fuse(),
            builder: BlockBuilder::new(),
            first_index: 0,
            skip_until: 0,
            held: None,
            linger: None,
            failed: false,
        }
    }

    /// How many inputs the source has given so far.
    pub(crate) fn taken(&self) -> u64 {
        self.first_index + u64::from(self.builder.count()) + u64::from(self.held.is_some())
    }

    /// Leaves out the inputs below `index`; they are only counted.
    pub(crate) const fn skip_until(&mut self, index: u64) {
        self.skip_until = index;
    }

    fn next_index(&self) -> u64 {
        self.first_index + u64::from(self.builder.count())
    }

    /// Takes an input in; gives the block that has become full without it.
    fn push(&mut self, input: Bytes) -> Result<Option<Block>, Error> {
        if self.builder.is_empty() && self.first_index < self.skip_until {
            self.first_index += 1;
            return Ok(None);
        }
        if input.len() > INPUT_BYTES_MAX {
            return Err(Error::InputTooLarge {
                index: self.next_index(),
                bytes: input.len(),
                max: INPUT_BYTES_MAX,
            });
        }
        if self.builder.would_overflow(input.len()) {
            let block = self.cut();
            self.held = Some(input);
            return Ok(block);
        }
        self.builder.push(&input);
        Ok(None)
    }

    fn cut(&mut self) -> Option<Block> {
        self.linger = None;
        if self.builder.is_empty() {
            return None;
        }
        let first_index = self.first_index;
        self.first_index = self.next_index();
        Some(Block {
            first_index,
            end: self.first_index,
            bytes: self.builder.finish(),
        })
    }
}

impl Stream for Blocks<'_> {
    type Item = Result<Block, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.failed {
            return Poll::Ready(None);
        }
        if let Some(input) = self.held.take() {
            self.builder.push(&input);
        }
        loop {
            let pushed = match self.source.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(input))) => self.push(input),
                Poll::Ready(Some(Err(error))) => Err(Error::Source(error)),
                Poll::Ready(None) => return Poll::Ready(self.cut().map(Ok)),
                Poll::Pending if self.builder.is_empty() => return Poll::Pending,
                Poll::Pending => {
                    let linger = self.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
                    ready!(linger.as_mut().poll(cx));
                    return Poll::Ready(self.cut().map(Ok));
                }
            };
            match pushed {
                Ok(None) => {}
                Ok(Some(block)) => return Poll::Ready(Some(Ok(block))),
                Err(error) => {
                    self.failed = true;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use umbel_core::limit::{BLOCK_BYTES_TARGET, BLOCK_INPUTS_MAX};
    use umbel_proto::block;

    use super::*;

    fn blocks(inputs: Vec<Vec<u8>>) -> Blocks<'static> {
        Blocks::new(
            stream::iter(inputs)
                .map(|input| Ok(Bytes::from(input)))
                .boxed(),
        )
    }

    async fn spans(blocks: Blocks<'_>) -> Vec<(u64, u64)> {
        blocks
            .map(|block| block.map(|block| (block.first_index, block.end)).unwrap())
            .collect()
            .await
    }

    #[tokio::test]
    async fn blocks_are_full_before_the_next_begins() {
        let max = u64::from(BLOCK_INPUTS_MAX);
        let many = vec![Vec::new(); BLOCK_INPUTS_MAX as usize + 3];
        assert_eq!(spans(blocks(many)).await, [(0, max), (max, max + 3)]);
        let long = vec![
            vec![0; BLOCK_BYTES_TARGET],
            vec![1],
            vec![0; BLOCK_BYTES_TARGET],
        ];
        assert_eq!(spans(blocks(long)).await, [(0, 1), (1, 2), (2, 3)]);
    }

    #[tokio::test]
    async fn inputs_come_out_as_they_went_in() {
        let mut blocks = blocks(vec![b"a".to_vec(), Vec::new(), b"\0\n".to_vec()]);
        let block = blocks.next().await.unwrap().unwrap();
        let parsed = block::Block::parse(block.bytes, INPUT_BYTES_MAX).unwrap();
        let inputs: Vec<&[u8]> = parsed.entries().iter().collect();
        assert_eq!(inputs, [&b"a"[..], b"", b"\0\n"]);
        assert!(blocks.next().await.is_none());
    }

    #[tokio::test]
    async fn what_is_durable_is_counted_and_left_out() {
        let mut blocks = blocks(vec![vec![1], vec![2], vec![3]]);
        blocks.skip_until(2);
        let block = blocks.next().await.unwrap().unwrap();
        assert_eq!((block.first_index, block.end, blocks.taken()), (2, 3, 3));
    }

    #[tokio::test]
    async fn an_input_over_the_limit_is_named_by_index() {
        let mut blocks = blocks(vec![vec![0], vec![0; INPUT_BYTES_MAX + 1]]);
        let error = blocks.next().await.unwrap().unwrap_err();
        assert!(
            matches!(error, Error::InputTooLarge { index: 1, .. }),
            "{error}"
        );
        assert!(blocks.next().await.is_none());
    }

    #[tokio::test]
    async fn a_source_that_pauses_does_not_hold_back_what_it_gave() {
        let source = stream::iter([Ok(Bytes::from("early"))]).chain(stream::pending());
        let mut blocks = Blocks::new(source.boxed());
        let block = blocks.next().await.unwrap().unwrap();
        assert_eq!((block.first_index, block.end), (0, 1));
    }
}
