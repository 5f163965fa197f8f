//! Runs of indices as distances and lengths, so that small numbers stay small.

use umbel_core::ranges::Ranges;

use super::{Error, wire};

pub(super) fn encode(ranges: &Ranges) -> wire::Runs {
    let mut pairs = Vec::with_capacity(2 * ranges.run_count());
    let mut end = 0;
    for run in ranges.runs() {
        pairs.push(run.start - end);
        pairs.push(run.end - run.start);
        end = run.end;
    }
    wire::Runs { pairs }
}

/// As [`encode`]; nothing where there is no index.
pub(super) fn encode_some(ranges: &Ranges) -> Option<wire::Runs> {
    (!ranges.is_empty()).then(|| encode(ranges))
}

pub(super) fn decode(kind: &'static str, runs: Option<wire::Runs>) -> Result<Ranges, Error> {
    let pairs = runs.unwrap_or_default().pairs;
    let (pairs, rest) = pairs.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Error::new(
            kind,
            "its runs have a distance without a length",
        ));
    }
    let mut ranges = Ranges::new();
    let mut end = 0_u32;
    for [distance, length] in pairs {
        let begin = end.checked_add(*distance);
        let next = begin.and_then(|begin| begin.checked_add(*length));
        let (Some(begin), Some(next)) = (begin, next) else {
            return Err(Error::new(kind, "its runs go beyond the largest index"));
        };
        ranges.push(begin..next);
        end = next;
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::disk::testing;

    proptest! {
        #[test]
        fn runs_come_back(ranges in testing::ranges()) {
            prop_assert_eq!(decode("test", Some(encode(&ranges))).unwrap(), ranges);
        }
    }

    #[test]
    fn runs_that_lie_are_refused() {
        let odd = wire::Runs {
            pairs: vec![1, 2, 3],
        };
        assert!(decode("test", Some(odd)).is_err());
        let far = wire::Runs {
            pairs: vec![u32::MAX, 2],
        };
        assert!(decode("test", Some(far)).is_err());
    }
}
