//! Inputs on their way in: plain ones become blocks, blocks are checked.

use bytes::Bytes;
use umbel_core::id::{Index, JobId};
use umbel_core::limit::{BLOCK_INPUTS_MAX, CHUNK_BYTES_MAX, INPUT_BYTES_MAX, JOB_INPUTS_MAX};

use super::{Invalid, job_id};
use crate::block::{self, Block, BlockBuilder};
use crate::status::Reason;
use crate::v1;

/// A block of inputs on its way to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedBlock {
    /// The index of its first input.
    pub first: Index,
    /// How many inputs, at least 1.
    pub count: u32,
    /// The block, encoded.
    pub bytes: Bytes,
}

/// One message of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The job; the first message names it.
    pub job: Option<JobId>,
    /// The inputs, in order; none in a message that only asks where to go on.
    pub blocks: Vec<StagedBlock>,
}

/// Reads one message of an upload.
///
/// # Errors
/// When an input is over the limit (named by its index), a block is broken, or
/// an index lies beyond what a job may have.
pub fn append(wire: v1::AppendInputsRequest) -> Result<Append, Invalid> {
    let job = match wire.job_id.as_str() {
        "" => None,
        text => Some(job_id(text).ok_or_else(|| {
            Invalid::bad(
                "job_id",
                "an upload names its job by the UUID that CreateJob answered",
            )
        })?),
    };
    let blocks = match wire.content {
        None => Vec::new(),
        Some(v1::append_inputs_request::Content::Inputs(plain)) => {
            let first = first_of(wire.first_index, plain.inputs.len() as u64)?;
            encode_blocks(first, &plain.inputs)?
        }
        Some(v1::append_inputs_request::Content::Block(bytes)) => {
            vec![check_block(wire.first_index, bytes)?]
        }
    };
    Ok(Append { job, blocks })
}

/// Cuts plain inputs into blocks.
///
/// # Errors
/// When an input is over the limit; it is named by its index.
pub fn encode_blocks(first: Index, inputs: &[Bytes]) -> Result<Vec<StagedBlock>, Invalid> {
    let mut blocks = Vec::new();
    let mut builder = BlockBuilder::new();
    let mut begin = first;
    for (index, input) in (u64::from(first)..).zip(inputs) {
        if input.len() > INPUT_BYTES_MAX {
            return Err(input_too_large(index, input.len() as u64));
        }
        if builder.would_overflow(input.len()) {
            begin = finish(&mut builder, begin, &mut blocks);
        }
        builder.push(input);
    }
    if !builder.is_empty() {
        finish(&mut builder, begin, &mut blocks);
    }
    Ok(blocks)
}

fn finish(builder: &mut BlockBuilder, first: Index, blocks: &mut Vec<StagedBlock>) -> Index {
    let count = builder.count();
    blocks.push(StagedBlock {
        first,
        count,
        bytes: builder.finish(),
    });
    first.saturating_add(count)
}

fn check_block(first_index: u64, bytes: Bytes) -> Result<StagedBlock, Invalid> {
    let block = Block::parse(bytes, INPUT_BYTES_MAX).map_err(|error| match error {
        block::Error::EntryTooLong {
            position, length, ..
        } => input_too_large(first_index.saturating_add(position.into()), length),
        other => block_broken(first_index, &other.to_string()),
    })?;
    let count = block.count();
    if count > BLOCK_INPUTS_MAX {
        let problem = format!("it has {count} inputs, the limit is {BLOCK_INPUTS_MAX}");
        return Err(block_broken(first_index, &problem));
    }
    let length = block.bytes().len();
    if count > 1 && length as u64 > CHUNK_BYTES_MAX {
        let problem = format!(
            "{count} inputs have {length} bytes, the limit is {CHUNK_BYTES_MAX} unless an input is alone"
        );
        return Err(block_broken(first_index, &problem));
    }
    Ok(StagedBlock {
        first: first_of(first_index, count.into())?,
        count,
        bytes: block.bytes().clone(),
    })
}

/// The first index of some inputs, all of which a job has room for.
fn first_of(first: u64, count: u64) -> Result<Index, Invalid> {
    let end = first.saturating_add(count);
    Index::try_from(first)
        .ok()
        .filter(|_| end <= u64::from(JOB_INPUTS_MAX))
        .ok_or_else(|| too_many_inputs("first_index", end, JOB_INPUTS_MAX.into()))
}

/// There are more inputs than there may be.
#[must_use]
pub fn too_many_inputs(field: &str, count: u64, limit: u64) -> Invalid {
    Invalid::new(
        Reason::TooManyInputs,
        field,
        format!("{count} inputs are too many, the limit is {limit}"),
        &[("count", &count), ("limit", &limit)],
    )
}

pub(super) fn input_too_large(index: u64, bytes: u64) -> Invalid {
    Invalid::new(
        Reason::InputTooLarge,
        "inputs",
        format!(
            "input {index} has {bytes} bytes, the limit is {INPUT_BYTES_MAX}; store large data elsewhere and send its address"
        ),
        &[
            ("index", &index),
            ("bytes", &bytes),
            ("limit", &INPUT_BYTES_MAX),
        ],
    )
}

fn block_broken(first_index: u64, problem: &str) -> Invalid {
    Invalid::new(
        Reason::BlockBroken,
        "block",
        format!("the block at index {first_index} is broken: {problem}"),
        &[("first_index", &first_index), ("problem", &problem)],
    )
}

#[cfg(test)]
mod tests {
    use v1::append_inputs_request::Content;

    use super::*;

    fn message(first_index: u64, content: Option<Content>) -> v1::AppendInputsRequest {
        v1::AppendInputsRequest {
            job_id: String::new(),
            first_index,
            content,
        }
    }

    fn plain(inputs: Vec<Bytes>) -> Option<Content> {
        Some(Content::Inputs(v1::Inputs { inputs }))
    }

    #[test]
    fn plain_inputs_become_blocks_without_a_gap() {
        let inputs: Vec<Bytes> = (0..9_000).map(|i| Bytes::from(i.to_string())).collect();
        let blocks = append(message(7, plain(inputs.clone()))).unwrap().blocks;
        assert_eq!(blocks.len(), 3);
        let mut next = 7;
        let mut found = Vec::new();
        for staged in blocks {
            assert_eq!(staged.first, next);
            next += staged.count;
            let block = Block::parse(staged.bytes, INPUT_BYTES_MAX).unwrap();
            found.extend(block.entries().shared());
        }
        assert_eq!(found, inputs);
    }

    #[test]
    fn an_encoded_block_passes_as_it_came() {
        let mut builder = BlockBuilder::new();
        builder.push(b"a");
        builder.push(b"b");
        let bytes = builder.finish();
        let staged = append(message(5, Some(Content::Block(bytes.clone()))));
        let expected = StagedBlock {
            first: 5,
            count: 2,
            bytes,
        };
        assert_eq!(staged.unwrap().blocks, [expected]);
    }

    #[test]
    fn an_input_over_the_limit_is_named_by_its_index() {
        let long = Bytes::from(vec![0; INPUT_BYTES_MAX + 1]);
        let mut builder = BlockBuilder::new();
        builder.push(b"a");
        builder.push(&long);
        let block = Some(Content::Block(builder.finish()));
        for content in [plain(vec![Bytes::new(), long]), block] {
            let error = append(message(40, content)).unwrap_err();
            assert_eq!(error.reason, Reason::InputTooLarge);
            assert_eq!(error.metadata["index"], "41");
        }
    }

    #[test]
    fn a_block_that_lies_or_has_too_much_is_refused() {
        let mut many = BlockBuilder::new();
        (0..=BLOCK_INPUTS_MAX).for_each(|_| many.push(&[]));
        let mut large = BlockBuilder::new();
        (0..2).for_each(|_| large.push(&vec![0; 600 << 10]));
        for bytes in [
            Bytes::from_static(b"garbage"),
            many.finish(),
            large.finish(),
        ] {
            let error = append(message(3, Some(Content::Block(bytes)))).unwrap_err();
            assert_eq!(error.reason, Reason::BlockBroken);
            assert_eq!(error.metadata["first_index"], "3");
        }
    }

    #[test]
    fn an_index_beyond_a_job_is_refused() {
        for first in [u64::from(JOB_INPUTS_MAX), u64::MAX] {
            let error = append(message(first, plain(vec![Bytes::new()]))).unwrap_err();
            assert_eq!(error.reason, Reason::TooManyInputs);
        }
    }

    #[test]
    fn a_job_is_named_by_its_uuid() {
        let mut opening = message(0, None);
        opening.job_id = "nightly".into();
        assert_eq!(append(opening).unwrap_err().field, "job_id");
    }
}
