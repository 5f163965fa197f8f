//! What invocations printed, in the order in which they ended: no output is read for it.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use umbel_core::id::{Index, JobId};

use super::records::Open;
use super::row::Cursor;
use super::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use crate::key::{At, Key, Whole};
use crate::store::scan::{Item, Items};
use crate::{Engine, Error, Store};

/// How many records a page looks at, so that it ends though nobody printed anything.
const PAGE_RECORDS_MAX: usize = 4096;

/// What one invocation printed in its final attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    /// Which input.
    pub index: Index,
    /// Whether it succeeded; it failed otherwise.
    pub succeeded: bool,
    /// The number of the attempt.
    pub attempt: u32,
    /// The worker that ran it; empty if none did.
    pub worker: Arc<str>,
    /// The text, in UTF-8.
    pub text: Bytes,
    /// The redrive number under which it ended.
    pub redrive: u32,
}

/// Reads the logs of a job in the order in which its invocations ended.
#[derive(Debug)]
pub struct LogReader {
    store: Store,
    job: JobId,
    range: Range<Index>,
    cursor: Cursor,
}

/// Some logs.
#[derive(Debug)]
pub struct LogPage {
    /// The logs, each with the place behind it; there may be none though there are more behind.
    pub rows: Vec<(LogRow, Cursor)>,
    /// Whether the next page can be read at once; else all that is durable was.
    pub more: bool,
}

impl LogReader {
    pub(super) fn new(store: Store, job: JobId, range: Range<Index>, after: Cursor) -> Self {
        Self {
            store,
            job,
            range,
            cursor: after,
        }
    }

    /// The next logs, of what is durable up to the commit number `durable`.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn page(&mut self, durable: u64) -> Result<LogPage, Error> {
        // Whatever the caller thinks: what is not durable is not shown.
        let durable = durable.min(self.store.durable());
        let key = |commit, n| Key::Part(Whole::Record(self.job, At { commit, n }), 0).encode();
        let begin = key(self.cursor.commit, self.cursor.n);
        let end = key(durable.saturating_add(1), 0);
        let (mut rows, mut bytes) = (Vec::new(), 0);
        let mut looked = 0;
        for item in Items::new(self.store.engine(), begin..end) {
            let Item::Whole(Whole::Record(job, at), value) = item? else {
                continue;
            };
            if looked == PAGE_RECORDS_MAX {
                return Ok(LogPage { rows, more: true });
            }
            looked += 1;
            let resumed = (at.commit, at.n) == (self.cursor.commit, self.cursor.n);
            let skip = if resumed { self.cursor.rows } else { 0 };
            let found = self.logs(&Open::decode(job, at, value)?)?;
            let mut place = Cursor {
                commit: at.commit,
                n: at.n,
                rows: skip,
            };
            for row in found.into_iter().skip(skip as usize) {
                if rows.len() >= PAGE_ROWS_MAX || bytes >= PAGE_BYTES_MAX {
                    self.cursor = place;
                    return Ok(LogPage { rows, more: true });
                }
                place.rows += 1;
                bytes += row.text.len();
                if self.range.contains(&row.index) {
                    rows.push((row, place));
                }
            }
            self.cursor = Cursor {
                rows: u32::MAX,
                ..place
            };
        }
        Ok(LogPage { rows, more: false })
    }

    /// The logs of a record: of what succeeded, then of what failed.
    fn logs(&self, open: &Open) -> Result<Vec<LogRow>, Error> {
        let engine: &dyn Engine = &**self.store.engine();
        let record = &open.record;
        let row = |index, succeeded, attempt, text| LogRow {
            index,
            succeeded,
            attempt,
            worker: Arc::clone(&record.worker),
            text,
            redrive: record.redrive,
        };
        let mut rows = Vec::new();
        if let Some(logs) = open.logs(engine)? {
            let mut reported = (0..).zip(record.reported.indices());
            for (position, text) in logs.iter() {
                let found = reported.find(|(at, _)| *at == position);
                // What was reported late does not count, nor does its log.
                let found = found.filter(|(_, index)| record.succeeded.contains(*index));
                rows.extend(found.map(|(_, index)| row(index, true, record.attempt, text)));
            }
        }
        let failed = record.failed.iter();
        rows.extend(
            failed
                .filter(|failed| !failed.failure.stderr.is_empty())
                .map(|failed| {
                    let text = Bytes::from(failed.failure.stderr.clone());
                    row(failed.index, false, failed.attempts, text)
                }),
        );
        Ok(rows)
    }
}
