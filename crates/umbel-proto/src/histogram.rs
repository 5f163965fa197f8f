//! A histogram as a column: for each bucket that counts any, buckets skipped and the count.

use umbel_core::histogram::{BUCKETS, Histogram};

use crate::varint;

/// Encodes a histogram; no bytes when it counted nothing.
pub(crate) fn encode(histogram: &Histogram) -> Vec<u8> {
    let mut column = Vec::new();
    let mut next = 0;
    for (bucket, count) in histogram.buckets() {
        varint::write(&mut column, (bucket - next) as u64);
        varint::write(&mut column, count);
        next = bucket + 1;
    }
    column
}

/// Decodes a histogram; none when the bytes are no such column, or count more than `count_max`.
pub(crate) fn decode(column: &[u8], count_max: u64) -> Option<Histogram> {
    let mut histogram = Histogram::new();
    let (mut at, mut next) = (0, 0_usize);
    while at < column.len() {
        let skipped = usize::try_from(varint::read_u64(column, &mut at)?).ok()?;
        // A bucket that counts none is not written: each histogram has one column.
        let count = Some(varint::read_u64(column, &mut at)?).filter(|&count| count > 0)?;
        let bucket = next.checked_add(skipped).filter(|&one| one < BUCKETS)?;
        let room = count_max - histogram.count();
        histogram.add_bucket(bucket, Some(count).filter(|&count| count <= room)?);
        next = bucket + 1;
    }
    Some(histogram)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bucket_that_counts_none_is_refused() {
        assert!(decode(&[3, 1], 9).is_some());
        assert_eq!(decode(&[3, 0], 9), None);
        assert_eq!(decode(&[3, 1, 0, 0], 9), None);
    }

    proptest! {
        #[test]
        fn histograms_come_back(times in vec(any::<u64>(), 0..40)) {
            let mut histogram = Histogram::new();
            times.iter().for_each(|&time| histogram.add(time >> (time % 64)));
            let column = encode(&histogram);
            prop_assert_eq!(decode(&column, times.len() as u64), Some(histogram));
            prop_assert!(times.is_empty() || decode(&column, times.len() as u64 - 1).is_none());
        }

        #[test]
        fn garbage_never_panics(noise: Vec<u8>, most: u64) {
            if let Some(histogram) = decode(&noise, most) {
                prop_assert!(histogram.count() <= most);
                prop_assert_eq!(decode(&encode(&histogram), most), Some(histogram));
            }
        }
    }
}
