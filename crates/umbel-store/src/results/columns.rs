//! The columns of a record, opened: where each output lies, and its figures.

use bytes::Bytes;
use prost::Message;
use umbel_proto::v1::ResultColumns;

use super::row::Timing;
use crate::Error;

/// Columns of one record. Outputs stay where they came in; only their places are worked out.
#[derive(Debug, Default)]
pub(super) struct Columns {
    body: Bytes,
    /// Where each output ends in the body.
    ends: Vec<u32>,
    started_at_us: u64,
    /// Each of these is as long as `ends`, or empty where the figure is not known.
    start_offset_us: Vec<u64>,
    duration_us: Vec<u64>,
    cpu_us: Vec<u64>,
}

impl Columns {
    /// Opens the columns of `count` results.
    pub(super) fn open(bytes: Bytes, count: u64) -> Result<Self, Error> {
        let columns = ResultColumns::decode(bytes)
            .map_err(|error| damaged(format!("result columns: {error}")))?;
        let count = usize::try_from(count).map_err(|_| damaged("too many results".to_owned()))?;
        let (body, ends) = outputs(&columns.outputs)?;
        if ends.len() != count {
            return Err(damaged(format!(
                "{} outputs for {count} results",
                ends.len()
            )));
        }
        Ok(Self {
            body,
            ends,
            started_at_us: columns.started_at_us,
            start_offset_us: numbers("start", &columns.start_offset_us, count)?,
            duration_us: numbers("duration", &columns.duration_us, count)?,
            cpu_us: numbers("processor time", &columns.cpu_us, count)?,
        })
    }

    /// What they hold in memory, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.body.len() + 28 * self.ends.len()
    }

    /// The output at a position.
    pub(super) fn output(&self, position: u32) -> Result<Bytes, Error> {
        let position = position as usize;
        let begin = match position.checked_sub(1) {
            None => Some(&0),
            Some(before) => self.ends.get(before),
        };
        match (begin, self.ends.get(position)) {
            // `open` saw that the ends ascend within the body.
            (Some(begin), Some(end)) => Ok(self.body.slice(*begin as usize..*end as usize)),
            _ => Err(damaged(format!(
                "no output {position} of {}",
                self.ends.len()
            ))),
        }
    }

    /// The times at a position.
    pub(super) fn timing(&self, position: u32) -> Timing {
        let position = position as usize;
        let offset = self.start_offset_us.get(position);
        let begun = offset.map(|offset| self.started_at_us.saturating_add(*offset));
        Timing {
            started_at_us: begun.filter(|_| self.started_at_us > 0),
            duration_us: self.duration_us.get(position).copied(),
            cpu_us: self.cpu_us.get(position).copied(),
        }
    }
}

fn damaged(what: String) -> Error {
    Error::Damaged { what }
}

/// A column of varints; empty where nothing is known.
fn numbers(what: &str, column: &[u8], count: usize) -> Result<Vec<u64>, Error> {
    if column.is_empty() {
        return Ok(Vec::new());
    }
    let mut rest = column;
    let mut numbers = Vec::with_capacity(count);
    while !rest.is_empty() && numbers.len() <= count {
        let number = prost::encoding::decode_varint(&mut rest)
            .map_err(|error| damaged(format!("the {what} column: {error}")))?;
        numbers.push(number);
    }
    if numbers.len() != count {
        return Err(damaged(format!(
            "the {what} column has not {count} numbers"
        )));
    }
    Ok(numbers)
}

fn outputs(block: &Bytes) -> Result<(Bytes, Vec<u32>), Error> {
    let word = |at: usize| {
        let bytes = block
            .get(at..at + 4)
            .and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        bytes
            .map(u32::from_le_bytes)
            .ok_or_else(|| damaged("a block is too short".to_owned()))
    };
    let (count, lengths, body) = (word(4)? as usize, word(8)? as usize, word(12)? as usize);
    let lengths = block
        .get(16..16 + lengths)
        .ok_or_else(|| damaged("short".into()))?;
    let mut end = 0;
    let ends = numbers("l", lengths, count)?
        .into_iter()
        .map(|l| {
            end += l as u32;
            end
        })
        .collect();
    let begin = 16 + lengths.len();
    Ok((block.slice(begin..begin + body), ends))
}
