//! Runs of indices on the session's wire.

use umbel_core::id::Index;
use umbel_core::limit::{JOB_INPUTS_MAX, RECORD_SPAN_MAX};
use umbel_core::ranges::Ranges;

use super::Invalid;
use crate::v1;

/// Reads runs that belong to one lease: ascending, disjoint, not empty, at most
/// `count_max` indices that lie close together.
pub(super) fn ranges(
    field: &str,
    wire: &[v1::IndexRange],
    count_max: u32,
) -> Result<Ranges, Invalid> {
    let mut ranges = Ranges::new();
    let (mut behind, mut count) = (0, 0);
    for run in wire {
        let (begin, end) = (index(field, run.begin)?, index(field, run.end)?);
        if begin >= end || begin < behind {
            return Err(Invalid::broken(
                field,
                format!("the run {begin}..{end} is empty or not behind what comes before it"),
            ));
        }
        behind = end;
        count += end - begin;
        ranges.push(begin..end);
    }
    if count > count_max {
        return Err(Invalid::broken(
            field,
            format!("it holds {count} indices, the limit is {count_max}"),
        ));
    }
    check_span(field, ranges.first(), ranges.last())?;
    Ok(ranges)
}

/// What lies in one record lies close together.
pub(super) fn check_span(
    field: &str,
    first: Option<Index>,
    last: Option<Index>,
) -> Result<(), Invalid> {
    match first.zip(last) {
        Some((first, last)) if last - first >= RECORD_SPAN_MAX => Err(Invalid::broken(
            field,
            format!("indices {first} and {last} are too far apart, the limit is {RECORD_SPAN_MAX}"),
        )),
        _ => Ok(()),
    }
}

/// Reads an index, or the end of a run.
pub(super) fn index(field: &str, wire: u64) -> Result<Index, Invalid> {
    Index::try_from(wire)
        .ok()
        .filter(|&index| index <= JOB_INPUTS_MAX)
        .ok_or_else(|| {
            Invalid::broken(
                field,
                format!("index {wire} is beyond the {JOB_INPUTS_MAX} inputs of a job"),
            )
        })
}

pub(super) fn wire_ranges(ranges: &Ranges) -> Vec<v1::IndexRange> {
    let runs = ranges.runs();
    runs.map(|run| v1::IndexRange {
        begin: run.start.into(),
        end: run.end.into(),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;

    fn runs(pairs: &[(u64, u64)]) -> Vec<v1::IndexRange> {
        let pairs = pairs.iter();
        pairs
            .map(|&(begin, end)| v1::IndexRange { begin, end })
            .collect()
    }

    proptest! {
        #[test]
        fn ranges_come_back(indices in btree_set(0u32..500, 0..200)) {
            let mut expected = Ranges::new();
            indices.iter().for_each(|&index| expected.insert(index));
            prop_assert_eq!(ranges("r", &wire_ranges(&expected), 200), Ok(expected));
        }

        #[test]
        fn garbage_is_refused_or_sorted(pairs in vec((0u64..200, 0u64..200), 0..6)) {
            if let Ok(ranges) = ranges("r", &runs(&pairs), 200) {
                let sum: u64 = pairs.iter().map(|&(begin, end)| end - begin).sum();
                prop_assert_eq!(ranges.len(), sum);
            }
        }
    }

    #[test]
    fn each_way_to_lie_is_refused() {
        let max = u64::from(JOB_INPUTS_MAX);
        for (pairs, words) in [
            (&[(3, 3)][..], "3..3 is empty"),
            (&[(4, 3)], "4..3 is empty"),
            (&[(0, 5), (4, 6)], "not behind"),
            (&[(5, 6), (0, 1)], "not behind"),
            (&[(0, max + 1)], "beyond"),
            (&[(0, u64::MAX)], "beyond"),
            (&[(0, 101)], "the limit is 100"),
            (&[(0, 1), (65_536, 65_537)], "too far apart"),
        ] {
            let error = ranges("r", &runs(pairs), 100).unwrap_err();
            assert!(error.message.contains(words), "{pairs:?}: {error}");
        }
    }
}
