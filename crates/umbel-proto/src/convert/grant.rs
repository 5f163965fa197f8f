//! The inputs of a grant: slices of blocks, cut on one side, read on the other.

use bytes::Bytes;
use umbel_core::id::Index;
use umbel_core::ranges::Ranges;

use super::Invalid;
use super::ranges::index;
use crate::block::{self, Block, Entries};
use crate::v1;

/// The inputs of a grant, as a worker has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inputs {
    /// Input i is the decimal number `begin + i`.
    Range {
        /// The number that input 0 is.
        begin: u64,
    },
    /// Slices of blocks that cover the grant's indices, in their order.
    Slices(Vec<InputSlice>),
}

/// Inputs of consecutive indices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputSlice {
    /// The index of the first.
    pub first: Index,
    /// How many, at least 1.
    pub count: u32,
    /// Their lengths, a varint each.
    pub lengths: Bytes,
    /// Their bytes.
    pub body: Bytes,
}

impl InputSlice {
    /// Its inputs.
    ///
    /// # Errors
    /// When the columns do not fit each other: its invocations cannot be run.
    pub fn entries(&self) -> Result<Entries, block::Error> {
        Entries::new(self.count, self.lengths.clone(), self.body.clone())
    }
}

/// Cuts what a grant needs out of a block whose first input has the index `first`.
/// Nothing is copied.
pub fn cut(block: &Block, first: Index, indices: &Ranges, slices: &mut Vec<v1::InputSlice>) {
    let held = Ranges::one(first..first.saturating_add(block.count()));
    let wanted = held.intersect(indices);
    let positions = wanted.runs().map(|run| run.start - first..run.end - first);
    for (run, (lengths, body)) in wanted.runs().zip(block.slices(positions)) {
        slices.push(v1::InputSlice {
            first_index: run.start.into(),
            count: (run.end - run.start).into(),
            lengths,
            body,
        });
    }
}

/// Reads slices that must cover `indices`; their bytes are looked at when they run.
pub(super) fn parse_slices(
    wire: Vec<v1::InputSlice>,
    indices: &Ranges,
) -> Result<Vec<InputSlice>, Invalid> {
    let field = "grant.slices";
    let mut slices = Vec::with_capacity(wire.len());
    let mut covered = Ranges::new();
    for slice in wire {
        let first = index(field, slice.first_index)?;
        let end = index(field, slice.first_index.saturating_add(slice.count))?;
        if end <= first || covered.last().is_some_and(|last| first <= last) {
            return Err(Invalid::broken(field, "the slices are not in order"));
        }
        covered.push(first..end);
        slices.push(InputSlice {
            first,
            count: end - first,
            lengths: slice.lengths,
            body: slice.body,
        });
    }
    if covered != *indices {
        return Err(Invalid::broken(
            field,
            format!("they cover {covered:?}, the grant is for {indices:?}"),
        ));
    }
    Ok(slices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::BlockBuilder;

    fn block(first: Index, count: u32) -> Block {
        let mut builder = BlockBuilder::new();
        for index in first..first + count {
            builder.push(index.to_string().as_bytes());
        }
        Block::parse(builder.finish(), 100).unwrap()
    }

    fn indices() -> Ranges {
        let mut indices = Ranges::one(2..5);
        indices.push(8..13);
        indices.push(190..191);
        indices
    }

    fn slices() -> Vec<v1::InputSlice> {
        let mut slices = Vec::new();
        cut(&block(0, 10), 0, &indices(), &mut slices);
        cut(&block(10, 90), 10, &indices(), &mut slices);
        cut(&block(100, 100), 100, &indices(), &mut slices);
        slices
    }

    #[test]
    fn slices_over_several_blocks_hold_the_inputs_asked_for() {
        let parsed = parse_slices(slices(), &indices()).unwrap();
        let mut found = Vec::new();
        for slice in parsed {
            let entries = slice.entries().unwrap();
            found.extend(entries.iter().map(<[u8]>::to_vec));
        }
        let expected: Vec<Vec<u8>> = indices().indices().map(|i| i.to_string().into()).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn slices_that_do_not_cover_the_grant_are_refused() {
        let mut short = slices();
        short.pop();
        let mut turned = slices();
        turned.reverse();
        let mut twice = slices();
        twice.push(twice[0].clone());
        let mut empty = slices();
        empty[0].count = 0;
        for wrong in [short, turned, twice, empty, Vec::new()] {
            assert!(parse_slices(wrong, &indices()).is_err());
        }
    }
}
