//! What came of copies, held against what came of what they are copies of.

use umbel_core::id::{Index, JobId};
use umbel_core::limit::JOB_INPUTS_MAX;
use umbel_core::outcome::Failure;
use umbel_core::shadow::ShadowOf;
use umbel_route::same_output;
use umbel_store::{Error, Gaps, Outcome, Reached, ResultRow, Store, Wanted};

/// A job and the job of its copies.
#[derive(Clone, Debug)]
pub(crate) struct Copies {
    pub(crate) of: ShadowOf,
    pub(crate) job: JobId,
    /// How many there are.
    pub(crate) count: Index,
}

/// An input, and how it ended twice.
#[derive(Debug)]
pub(crate) struct Pair {
    /// The index of the input in its job.
    pub(crate) index: Index,
    /// The index of its copy.
    pub(crate) copy: Index,
    pub(crate) outcome: Outcome,
    pub(crate) shadow: Outcome,
}

impl Pair {
    /// Whether both ended in the same way: with the same output, or the same failure but for its
    /// words.
    pub(crate) fn is_same(&self) -> bool {
        let kind = |failure: &Failure| (failure.kind, failure.error_type.clone());
        match (&self.outcome, &self.shadow) {
            (Outcome::Succeeded(one), Outcome::Succeeded(other)) => same_output(one, other),
            (Outcome::Failed(one), Outcome::Failed(other)) => kind(one) == kind(other),
            _ => false,
        }
    }
}

/// What ended, with an output or a failure.
const ENDED: Wanted = Wanted {
    cancelled: false,
    ..Wanted::ALL
};

/// Reads the pairs of which both have ended, in the order of the inputs, page by page.
pub(crate) struct Pairs {
    store: Store,
    copies: Copies,
    reader: umbel_store::InOrder,
    /// The next index to look at, and the number that its copy would have.
    next: (Index, Index),
}

impl Pairs {
    pub(crate) fn new(store: &Store, copies: Copies) -> Self {
        let reader = store.in_order(copies.job, 0..copies.count, ENDED, Gaps::Skip);
        Self {
            store: store.clone(),
            copies,
            reader,
            next: (0, 0),
        }
    }

    /// Some pairs, maybe none, and whether there may be more.
    pub(crate) fn page(&mut self) -> Result<(Vec<Pair>, bool), Error> {
        let page = self.reader.page(self.store.durable())?;
        let more = page.reached == Reached::Limit;
        let copies: Vec<(Index, ResultRow)> = page
            .rows
            .into_iter()
            .map(|row| (self.index_of(row.index), row))
            .collect();
        let (Some((first, _)), Some((last, _))) = (copies.first(), copies.last()) else {
            return Ok((Vec::new(), more));
        };
        let range = *first..last.saturating_add(1);
        Ok((self.paired(range, copies)?, more))
    }

    /// The index in the job of a copy; copies are asked for in their order.
    fn index_of(&mut self, copy: Index) -> Index {
        let (mut index, mut number) = self.next;
        loop {
            // Somebody may have appended inputs of another kind.
            let is_last = index >= JOB_INPUTS_MAX;
            if self.copies.of.takes(index) || is_last {
                if number == copy || is_last {
                    self.next = (index.saturating_add(1), number.saturating_add(1));
                    return index;
                }
                number += 1;
            }
            index += 1;
        }
    }

    /// The pairs of some copies with what lies in a range of their job.
    fn paired(
        &self,
        range: std::ops::Range<Index>,
        copies: Vec<(Index, ResultRow)>,
    ) -> Result<Vec<Pair>, Error> {
        let mut pairs = Vec::with_capacity(copies.len());
        let mut copies = copies.into_iter().peekable();
        let mut reader = self
            .store
            .in_order(self.copies.of.job, range, ENDED, Gaps::Skip);
        loop {
            let page = reader.page(self.store.durable())?;
            for row in page.rows {
                while copies.next_if(|(index, _)| *index < row.index).is_some() {}
                if let Some((index, copy)) = copies.next_if(|(index, _)| *index == row.index) {
                    pairs.push(Pair {
                        index,
                        copy: copy.index,
                        outcome: row.outcome,
                        shadow: copy.outcome,
                    });
                }
            }
            if page.reached != Reached::Limit {
                return Ok(pairs);
            }
        }
    }
}
