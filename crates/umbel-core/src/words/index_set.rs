//! The progress of a whole job: sets of indices that stay small whether a job
//! ends in order or at random (at most a bit for each index).

use std::fmt;
use std::ops::Range;

use roaring::RoaringBitmap;

use super::id::Index;
use super::ranges::Ranges;

/// A set of indices, as compressed bitmaps.
#[derive(Clone, Default, PartialEq)]
pub struct IndexSet {
    bits: RoaringBitmap,
}

impl IndexSet {
    /// No indices.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one index; tells whether it was new.
    pub fn insert(&mut self, index: Index) -> bool {
        self.bits.insert(index)
    }

    /// Adds runs; tells how many indices were new.
    pub fn insert_all(&mut self, ranges: &Ranges) -> u64 {
        ranges.runs().map(|run| self.bits.insert_range(run)).sum()
    }

    /// Removes runs; tells how many indices were held.
    pub fn remove_all(&mut self, ranges: &Ranges) -> u64 {
        ranges.runs().map(|run| self.bits.remove_range(run)).sum()
    }

    /// Removes all that another set holds.
    pub fn subtract(&mut self, other: &Self) {
        self.bits -= &other.bits;
    }

    /// Whether it holds an index.
    #[must_use]
    pub fn contains(&self, index: Index) -> bool {
        self.bits.contains(index)
    }

    /// How many indices.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.bits.len()
    }

    /// Whether there is no index.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bits.is_empty()
    }

    /// The first index.
    #[must_use]
    pub fn first(&self) -> Option<Index> {
        self.bits.min()
    }

    /// The last index.
    #[must_use]
    pub fn last(&self) -> Option<Index> {
        self.bits.max()
    }

    /// How many of a run's indices it holds.
    #[must_use]
    pub fn count_within(&self, run: Range<Index>) -> u64 {
        self.bits.range_cardinality(run)
    }

    /// The runs of consecutive indices, ascending.
    pub fn runs(&self) -> impl Iterator<Item = Range<Index>> + '_ {
        let mut bits = self.bits.iter();
        std::iter::from_fn(move || bits.next_range().map(|run| *run.start()..run.end() + 1))
    }

    /// What of these it holds.
    #[must_use]
    pub fn intersect(&self, ranges: &Ranges) -> Ranges {
        let mut both = Ranges::new();
        for run in ranges.runs() {
            if self.bits.contains_range(run.clone()) {
                both.push(run);
                continue;
            }
            let mut bits = self.bits.range(run);
            while let Some(held) = bits.next_range() {
                both.push(*held.start()..held.end() + 1);
            }
        }
        both
    }

    /// Takes out the first indices: at most `count` in at most `runs` runs whose
    /// first and last are less than `span` apart.
    pub fn take_first(&mut self, count: u64, runs: usize, span: u32) -> Ranges {
        let mut taken = Ranges::new();
        let mut left = count;
        let mut bits = self.bits.iter();
        while left > 0 && taken.run_count() < runs {
            let Some(run) = bits.next_range() else { break };
            let (begin, end) = (*run.start(), run.end() + 1);
            let limit = taken.first().unwrap_or(begin).saturating_add(span);
            let fits = u64::from(end.min(limit).saturating_sub(begin)).min(left);
            if fits == 0 {
                break;
            }
            // Both bounds of `fits` are lengths within an index's width.
            taken.push(begin..begin + Index::try_from(fits).unwrap_or(0));
            left -= fits;
        }
        drop(bits);
        self.remove_all(&taken);
        taken
    }
}

impl FromIterator<Index> for IndexSet {
    fn from_iter<I: IntoIterator<Item = Index>>(indices: I) -> Self {
        Self {
            bits: indices.into_iter().collect(),
        }
    }
}

impl fmt::Debug for IndexSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.runs()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_respects_count_runs_and_span() {
        let mut set = IndexSet::new();
        for run in [0..10, 20..30, 90..95] {
            set.insert_all(&Ranges::one(run));
        }
        let taken = set.take_first(15, 8, 50);
        assert_eq!(taken.runs().collect::<Vec<_>>(), [0..10, 20..25]);
        let taken = set.take_first(100, 8, 50);
        assert_eq!(taken, Ranges::one(25..30), "90 lies beyond the span");
        let taken = set.take_first(2, 8, 50);
        assert_eq!(taken, Ranges::one(90..92));
        assert_eq!(set.len(), 3);
    }

    #[test]
    fn a_job_half_done_at_random_costs_about_a_bit_each() {
        let mut set = IndexSet::new();
        for index in (0..1_000_000).step_by(2) {
            set.insert(index);
        }
        assert_eq!(set.len(), 500_000);
        assert_eq!(
            set.intersect(&Ranges::one(10..13))
                .runs()
                .collect::<Vec<_>>(),
            [10..11, 12..13]
        );
        assert_eq!(set.count_within(0..100), 50);
    }
}
