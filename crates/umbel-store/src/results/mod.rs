//! Results as they are read: straight from the store, never beyond what is durable.
//!
//! All of it waits for the disk: call it from threads that may.

mod as_completed;
mod in_order;
mod logs;
mod records;
mod row;

pub use as_completed::{AsCompleted, CompletedPage};
pub use in_order::{Gaps, InOrder, OrderedPage, Reached};
pub use logs::{LogPage, LogReader, LogRow};
pub use row::{Cursor, Found, Outcome, ResultRow, ResultsInColumns, Timing, Wanted};

use std::ops::Range;

use umbel_core::id::{Index, JobId};

use crate::{Error, Store};

/// How many rows a page has at most.
const PAGE_ROWS_MAX: usize = 4096;

/// How many bytes of outputs and failures a page has at most; the first row is always given.
const PAGE_BYTES_MAX: usize = 4 << 20;

impl Store {
    /// Reads the results of a job in the order of its inputs.
    #[must_use]
    pub fn in_order(&self, job: JobId, range: Range<Index>, wanted: Wanted, gaps: Gaps) -> InOrder {
        InOrder::new(self.clone(), job, range, wanted, gaps)
    }

    /// Reads what the invocations of a range printed, in the order in which they ended, from behind
    /// `after`.
    #[must_use]
    pub fn logs(&self, job: JobId, range: Range<Index>, after: Cursor) -> LogReader {
        LogReader::new(self.clone(), job, range, after)
    }

    /// Reads the results of a job in the order in which they were recorded, from behind `after`.
    /// It was redriven `redrives` times: what a redrive has made run again is left out.
    #[must_use]
    pub fn as_completed(
        &self,
        job: JobId,
        redrives: u32,
        after: Cursor,
        wanted: Wanted,
    ) -> AsCompleted {
        AsCompleted::new(self.clone(), (job, redrives), after, wanted)
    }

    /// The result of one invocation; none while it is not final.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn result(&self, job: JobId, index: Index) -> Result<Option<ResultRow>, Error> {
        let Some(end) = index.checked_add(1) else {
            return Ok(None);
        };
        let mut reader = self.in_order(job, index..end, Wanted::ALL, Gaps::StopAt);
        Ok(reader.page(self.durable())?.rows.pop())
    }
}

#[cfg(test)]
mod tests;
