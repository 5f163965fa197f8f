//! What invocations that succeeded have printed: a column beside their results, for those of which
//! it is kept and that printed anything.

use bytes::Bytes;
use prost::Message;
use umbel_core::limit::LOG_BYTES_MAX;

use crate::block::{self, Block, BlockBuilder};
use crate::v1::LogColumns;
use crate::varint;

/// Why bytes are no column of logs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// They are no `LogColumns`.
    #[error("the logs cannot be decoded: {0}")]
    Encoding(String),
    /// The texts are no block.
    #[error("the logs are broken: {0}")]
    Texts(#[from] block::Error),
    /// The positions are not those of the texts.
    #[error("the positions of {texts} logs among {count} results are broken")]
    Positions {
        /// The texts.
        texts: u32,
        /// The results.
        count: u64,
    },
}

/// Encodes logs, one behind the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogsBuilder {
    positions: Vec<u32>,
    texts: BlockBuilder,
}

impl LogsBuilder {
    /// Adds the log of the result at a position, which is behind all before; its end, if it is long.
    pub(crate) fn push(&mut self, position: u32, text: &str) {
        let excess = text.len().saturating_sub(LOG_BYTES_MAX);
        let begin = (excess..=text.len()).find(|&at| text.is_char_boundary(at));
        let text = text.get(begin.unwrap_or(text.len())..).unwrap_or_default();
        self.positions.push(position);
        self.texts.push(text.as_bytes());
    }

    /// Adds the logs of others, whose results come behind `before` results.
    pub(crate) fn append(&mut self, before: u32, other: &Self) {
        let positions = other.positions.iter();
        self.positions
            .extend(positions.map(|position| before + position));
        self.texts.append(&other.texts);
    }

    /// About how many bytes they will have, encoded.
    pub(crate) fn bytes(&self) -> usize {
        self.texts.bytes() + 2 * self.positions.len()
    }

    /// Encodes what was added and begins anew; no bytes when there is none.
    pub(crate) fn finish(&mut self) -> Bytes {
        if self.positions.is_empty() {
            return Bytes::new();
        }
        let (mut skipped, mut next) = (Vec::new(), 0);
        for position in self.positions.drain(..) {
            varint::write(&mut skipped, u64::from(position - next));
            next = position + 1;
        }
        let columns = LogColumns {
            positions: skipped.into(),
            texts: self.texts.finish(),
        };
        columns.encode_to_vec().into()
    }
}

/// Logs, known to fit their results.
#[derive(Clone, Debug)]
pub struct Logs {
    /// Ascending, one for each text.
    positions: Vec<u32>,
    texts: Block,
}

impl Logs {
    /// Takes in logs from outside of some of `count` results.
    ///
    /// # Errors
    /// When a log is longer than it may be, or belongs to no result.
    pub fn parse(bytes: Bytes, count: u64) -> Result<Self, Error> {
        let columns = decode(bytes)?;
        let texts = Block::parse(columns.texts, LOG_BYTES_MAX)?;
        Self::of(&columns.positions, texts, count)
    }

    /// Takes in logs that were parsed before they were stored.
    ///
    /// # Errors
    /// When they were damaged since.
    pub fn parse_stored(bytes: Bytes, count: u64) -> Result<Self, Error> {
        let columns = decode(bytes)?;
        let texts = Block::parse_stored(columns.texts)?;
        Self::of(&columns.positions, texts, count)
    }

    fn of(column: &[u8], texts: Block, count: u64) -> Result<Self, Error> {
        let broken = || Error::Positions {
            texts: texts.count(),
            count,
        };
        let (mut positions, mut at, mut next) = (Vec::new(), 0, 0_u64);
        while at < column.len() {
            let skipped = varint::read_u64(column, &mut at).ok_or_else(broken)?;
            let position = next.checked_add(skipped).filter(|&one| one < count);
            let position = position.ok_or_else(broken)?;
            positions.push(u32::try_from(position).map_err(|_| broken())?);
            next = position + 1;
        }
        if positions.len() != texts.count() as usize {
            return Err(broken());
        }
        Ok(Self { positions, texts })
    }

    /// The logs, each with the position of its result.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Bytes)> + '_ {
        let positions = self.positions.iter().copied();
        positions.zip(self.texts.entries().shared())
    }

    /// The log of one result, if it was kept.
    #[must_use]
    pub fn find(&self, position: u32) -> Option<Bytes> {
        let at = self.positions.binary_search(&position).ok()?;
        self.texts.entries().shared().nth(at)
    }
}

fn decode(bytes: Bytes) -> Result<LogColumns, Error> {
    LogColumns::decode(bytes).map_err(|error| Error::Encoding(error.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;

    fn build<'a>(logs: impl Iterator<Item = (u32, &'a String)>) -> LogsBuilder {
        let mut builder = LogsBuilder::default();
        logs.for_each(|(position, text)| builder.push(position, text));
        builder
    }

    proptest! {
        #[test]
        fn logs_come_back(logs in btree_map(0_u32..90, ".{1,9}", 1..20), cut in 0_u32..90) {
            let mut builder = build(logs.range(..cut).map(|(at, text)| (*at, text)));
            let tail = build(logs.range(cut..).map(|(at, text)| (at - cut, text)));
            builder.append(cut, &tail);
            let bytes = builder.finish();
            prop_assert_eq!(builder.finish(), Bytes::new());
            let found = Logs::parse(bytes.clone(), 90).unwrap();
            let expected = logs.iter().map(|(at, text)| (*at, Bytes::from(text.clone())));
            prop_assert_eq!(found.iter().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
            let stored = Logs::parse_stored(bytes, 90).unwrap();
            for position in 0..90 {
                let expected = logs.get(&position).map(|text| Bytes::from(text.clone()));
                prop_assert_eq!(stored.find(position), expected);
            }
        }

        #[test]
        fn garbage_never_panics(noise: Vec<u8>, positions: Vec<u8>, texts in vec(".{0,3}", 0..4)) {
            let mut block = BlockBuilder::new();
            texts.iter().for_each(|text| block.push(text.as_bytes()));
            let columns = LogColumns {
                positions: positions.into(),
                texts: block.finish(),
            };
            for bytes in [noise, columns.encode_to_vec()] {
                if let Ok(logs) = Logs::parse(bytes.clone().into(), 9) {
                    prop_assert!(logs.iter().all(|(position, _)| position < 9));
                }
                drop(Logs::parse_stored(bytes.into(), 9));
            }
        }
    }

    #[test]
    fn the_end_of_a_long_log_is_kept() {
        let mut builder = LogsBuilder::default();
        builder.push(0, &format!("{}end", "ü".repeat(LOG_BYTES_MAX)));
        let logs = Logs::parse(builder.finish(), 1).unwrap();
        let text = logs.find(0).unwrap();
        assert!(text.len() <= LOG_BYTES_MAX && text.ends_with(b"end"));
        assert!(std::str::from_utf8(&text).is_ok());
    }

    #[test]
    fn a_log_of_no_result_is_refused() {
        let mut builder = LogsBuilder::default();
        builder.push(4, "text");
        let error = Logs::parse(builder.finish(), 4).unwrap_err();
        assert_eq!(error, Error::Positions { texts: 1, count: 4 });
    }
}
