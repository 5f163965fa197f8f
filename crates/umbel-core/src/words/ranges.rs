//! A short, sorted list of runs of indices: what a chunk, a report or a record
//! covers. For the progress of a whole job see [`super::index_set::IndexSet`].

use std::fmt;
use std::ops::Range;

use super::id::Index;

/// Sorted, disjoint, non-empty and non-touching runs of indices.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ranges {
    runs: Vec<Run>,
}

/// One run, `begin <= i < end`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Run {
    begin: Index,
    end: Index,
}

impl Ranges {
    /// No indices.
    #[must_use]
    pub const fn new() -> Self {
        Self { runs: Vec::new() }
    }

    /// One run; none if it is empty.
    #[must_use]
    pub fn one(run: Range<Index>) -> Self {
        let mut ranges = Self::new();
        ranges.push(run);
        ranges
    }

    /// Adds a run that begins at or behind the last index held. Touching runs
    /// become one; an empty run is nothing.
    ///
    /// # Panics
    /// In debug builds, when the run begins before the end of what is held: the
    /// doors check the order of what comes from outside.
    pub fn push(&mut self, run: Range<Index>) {
        if run.start >= run.end {
            return;
        }
        if let Some(last) = self.runs.last_mut() {
            debug_assert!(last.end <= run.start, "runs are pushed in order");
            if last.end == run.start {
                last.end = run.end;
                return;
            }
        }
        self.runs.push(Run {
            begin: run.start,
            end: run.end,
        });
    }

    /// Adds one index, in any order.
    pub fn insert(&mut self, index: Index) {
        let at = self.runs.partition_point(|run| run.end < index);
        let Some(run) = self.runs.get_mut(at) else {
            self.runs.push(Run {
                begin: index,
                end: index + 1,
            });
            return;
        };
        if run.begin <= index && index < run.end {
            return;
        }
        if run.end == index {
            run.end += 1;
            let end = run.end;
            if self.runs.get(at + 1).is_some_and(|next| next.begin == end) {
                let next = self.runs.remove(at + 1);
                if let Some(run) = self.runs.get_mut(at) {
                    run.end = next.end;
                }
            }
        } else if run.begin == index + 1 {
            run.begin = index;
        } else {
            self.runs.insert(
                at,
                Run {
                    begin: index,
                    end: index + 1,
                },
            );
        }
    }

    /// Whether there is no index.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many indices.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.runs
            .iter()
            .map(|run| u64::from(run.end - run.begin))
            .sum()
    }

    /// How many runs.
    #[must_use]
    pub fn run_count(&self) -> usize {
        self.runs.len()
    }

    /// The first index.
    #[must_use]
    pub fn first(&self) -> Option<Index> {
        self.runs.first().map(|run| run.begin)
    }

    /// The last index.
    #[must_use]
    pub fn last(&self) -> Option<Index> {
        self.runs.last().map(|run| run.end - 1)
    }

    /// The runs, ascending.
    pub fn runs(&self) -> impl DoubleEndedIterator<Item = Range<Index>> + '_ {
        self.runs.iter().map(|run| run.begin..run.end)
    }

    /// The indices, ascending.
    pub fn indices(&self) -> impl Iterator<Item = Index> + '_ {
        self.runs().flatten()
    }

    /// Whether it holds an index.
    #[must_use]
    pub fn contains(&self, index: Index) -> bool {
        let at = self.runs.partition_point(|run| run.end <= index);
        self.runs.get(at).is_some_and(|run| run.begin <= index)
    }

    /// How many indices lie before this one: its position in a column.
    #[must_use]
    pub fn rank(&self, index: Index) -> u64 {
        let before = self.runs.iter().take_while(|run| run.begin < index);
        before
            .map(|run| u64::from(run.end.min(index) - run.begin))
            .sum()
    }

    /// What both hold.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let mut both = Self::new();
        let (mut a, mut b) = (0, 0);
        while let (Some(left), Some(right)) = (self.runs.get(a), other.runs.get(b)) {
            both.push(left.begin.max(right.begin)..left.end.min(right.end));
            if left.end <= right.end {
                a += 1;
            } else {
                b += 1;
            }
        }
        both
    }

    /// What this holds and the other does not.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let mut rest = Self::new();
        let mut b = 0;
        for run in &self.runs {
            let mut begin = run.begin;
            while other.runs.get(b).is_some_and(|cut| cut.end <= begin) {
                b += 1;
            }
            let mut at = b;
            while let Some(cut) = other.runs.get(at).filter(|cut| cut.begin < run.end) {
                rest.push(begin..cut.begin.max(begin));
                begin = begin.max(cut.end);
                at += 1;
            }
            rest.push(begin.min(run.end)..run.end);
        }
        rest
    }

    /// What either holds.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut all: Vec<Run> = self.runs.iter().chain(&other.runs).copied().collect();
        all.sort_unstable();
        let mut union = Self::new();
        for run in all {
            match union.runs.last_mut() {
                Some(last) if run.begin <= last.end => last.end = last.end.max(run.end),
                _ => union.runs.push(run),
            }
        }
        union
    }

    /// Cuts behind the first `count` indices: the head stays, the tail is returned.
    #[must_use]
    pub fn split_off(&mut self, count: u64) -> Self {
        let mut tail = Self::new();
        let mut left = count;
        let mut keep = 0;
        for run in &mut self.runs {
            let length = u64::from(run.end - run.begin);
            if left >= length {
                left -= length;
                keep += 1;
                continue;
            }
            // `left` is shorter than this run, so it fits an index.
            let cut = run.begin + Index::try_from(left).unwrap_or(0);
            tail.push(cut..run.end);
            run.end = cut;
            if left > 0 {
                keep += 1;
            }
            left = 0;
        }
        self.runs.truncate(keep);
        tail
    }
}

/// Collects runs that ascend, as [`Ranges::push`] does.
impl FromIterator<Range<Index>> for Ranges {
    fn from_iter<I: IntoIterator<Item = Range<Index>>>(runs: I) -> Self {
        let mut ranges = Self::new();
        for run in runs {
            ranges.push(run);
        }
        ranges
    }
}

impl fmt::Debug for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.runs()).finish()
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.begin, self.end)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn of(indices: &BTreeSet<Index>) -> Ranges {
        let mut ranges = Ranges::new();
        for &index in indices {
            ranges.insert(index);
        }
        ranges
    }

    fn set() -> impl Strategy<Value = BTreeSet<Index>> {
        proptest::collection::btree_set(0u32..40, 0..30)
    }

    fn canonical(ranges: &Ranges) {
        for pair in ranges.runs.windows(2) {
            assert!(
                pair[0].end < pair[1].begin,
                "{ranges:?} touches or overlaps"
            );
        }
        assert!(
            ranges.runs.iter().all(|run| run.begin < run.end),
            "{ranges:?} has an empty run"
        );
    }

    proptest! {
        #[test]
        fn ranges_behave_as_sets(a in set(), b in set(), count in 0u64..40) {
            let (ra, rb) = (of(&a), of(&b));
            canonical(&ra);
            for (ranges, expected) in [
                (ra.intersect(&rb), a.intersection(&b).copied().collect::<Vec<_>>()),
                (ra.minus(&rb), a.difference(&b).copied().collect()),
                (ra.union(&rb), a.union(&b).copied().collect()),
            ] {
                canonical(&ranges);
                prop_assert_eq!(ranges.indices().collect::<Vec<_>>(), expected);
            }
            let mut head = ra.clone();
            let tail = head.split_off(count);
            canonical(&head);
            canonical(&tail);
            prop_assert_eq!(head.len(), ra.len().min(count));
            prop_assert_eq!(&head.union(&tail), &ra);
            for index in 0..40 {
                prop_assert_eq!(ra.contains(index), a.contains(&index));
                prop_assert_eq!(ra.rank(index), a.range(..index).count() as u64);
            }
        }
    }
}
