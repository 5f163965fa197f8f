//! How times are spread, in bounded memory: buckets whose width grows with the time, so that a
//! quantile is off by at most a sixteenth of itself whatever it is.

/// Buckets that double in width every so many.
const STEPS: u64 = 8;
/// Times of so many bits and more share the last bucket: some nineteen hours of microseconds.
const BITS_MAX: u32 = 36;
/// How many buckets there are.
pub const BUCKETS: usize = 272;

const _: () = assert!(BUCKETS == ((BITS_MAX - 2) as usize) * STEPS as usize);

/// The bucket of a time in microseconds.
#[must_use]
pub fn bucket(time_us: u64) -> usize {
    if time_us < STEPS {
        return time_us as usize;
    }
    let bits = time_us.ilog2();
    if bits >= BITS_MAX {
        return BUCKETS - 1;
    }
    // The leading bit says which doubling, the three behind it which step.
    let step = (time_us >> (bits - 3)) & (STEPS - 1);
    ((u64::from(bits) - 2) * STEPS + step) as usize
}

/// The times of a bucket, without its end; the last has all that are longer too.
#[must_use]
pub fn span(bucket: usize) -> std::ops::Range<u64> {
    let bucket = bucket.min(BUCKETS - 1) as u64;
    if bucket < STEPS {
        return bucket..bucket + 1;
    }
    let shift = bucket / STEPS - 1;
    let begin = (STEPS + bucket % STEPS) << shift;
    begin..begin + (1 << shift)
}

/// The time in the middle of a bucket.
fn middle(bucket: usize) -> u64 {
    let span = span(bucket);
    span.start + (span.end - span.start - 1) / 2
}

/// Counts of times by bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Up to the last bucket that was ever counted in.
    counts: Vec<u64>,
    count: u64,
}

impl Histogram {
    /// No times.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            counts: Vec::new(),
            count: 0,
        }
    }

    /// Counts one time.
    pub fn add(&mut self, time_us: u64) {
        self.add_bucket(bucket(time_us), 1);
    }

    /// Counts so many times in a bucket; one that there is not counts as the last.
    pub fn add_bucket(&mut self, bucket: usize, count: u64) {
        let bucket = bucket.min(BUCKETS - 1);
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        if let Some(at) = self.counts.get_mut(bucket) {
            *at = at.saturating_add(count);
        }
        self.count = self.count.saturating_add(count);
    }

    /// Counts all times of another.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in other.buckets() {
            self.add_bucket(bucket, count);
        }
    }

    /// What has been counted since it was `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = Self::new();
        let mut before = earlier.buckets().peekable();
        for (bucket, count) in self.buckets() {
            while before.next_if(|(other, _)| *other < bucket).is_some() {}
            let known = before.next_if(|(other, _)| *other == bucket);
            let more = count.saturating_sub(known.map_or(0, |(_, count)| count));
            if more > 0 {
                since.add_bucket(bucket, more);
            }
        }
        since
    }

    /// How many times were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether none was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The buckets that were counted in, ascending.
    pub fn buckets(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        let counts = self.counts.iter().copied().enumerate();
        counts.filter(|(_, count)| *count > 0)
    }

    /// The time that so many hundredths of all times do not exceed; none if there are none.
    #[must_use]
    pub fn percentile_us(&self, percent: u64) -> Option<u64> {
        let rank = u128::from(self.count) * u128::from(percent.min(100));
        let rank = u64::try_from(rank.div_ceil(100)).unwrap_or(u64::MAX).max(1);
        let mut below = 0_u64;
        for (bucket, count) in self.buckets() {
            below = below.saturating_add(count);
            if below >= rank {
                return Some(middle(bucket));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_near_its_times_and_buckets_ascend() {
        let mut last = 0;
        for time_us in (0..5_000).chain((13..36).flat_map(|bits| {
            let octave = 1_u64 << bits;
            [octave, octave + octave / 3, 2 * octave - 1]
        })) {
            let bucket = bucket(time_us);
            assert!(bucket >= last, "{time_us}");
            last = bucket;
            assert!(span(bucket).contains(&time_us), "{time_us}");
            let off = middle(bucket).abs_diff(time_us);
            assert!(off * 16 <= time_us, "{time_us} is {}", middle(bucket));
        }
        assert_eq!(last, BUCKETS - 1);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_those_of_what_was_counted() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.percentile_us(50), None);
        for time_us in 1..=100 {
            histogram.add(time_us * 1_000);
        }
        for (percent, expected) in [(50, 50_000_u64), (95, 95_000), (99, 99_000), (0, 1_000)] {
            let found = histogram.percentile_us(percent).unwrap();
            assert!(found.abs_diff(expected) * 10 < expected, "{found}");
        }
    }

    #[test]
    fn what_was_counted_apart_is_counted_together() {
        let (mut one, mut other) = (Histogram::new(), Histogram::new());
        one.add(3);
        other.add(3);
        other.add(1 << 50);
        one.merge(&other);
        assert_eq!(one.count(), 3);
        assert_eq!(
            one.buckets().collect::<Vec<_>>(),
            [(3, 2), (BUCKETS - 1, 1)]
        );
        assert_eq!(one.since(&other).buckets().collect::<Vec<_>>(), [(3, 1)]);
        assert_eq!(one.since(&one), Histogram::new());
        assert_eq!(one.since(&Histogram::new()), one);
        one.add_bucket(usize::MAX, 1);
        assert_eq!(one.buckets().last(), Some((BUCKETS - 1, 2)));
    }
}
