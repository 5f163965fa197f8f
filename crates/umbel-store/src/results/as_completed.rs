//! Results in the order in which they were recorded.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use umbel_core::change::Record;
use umbel_core::id::{Index, JobId};
use umbel_core::index_set::IndexSet;
use umbel_core::ranges::Ranges;

use super::records::Open;
use super::row::{Cursor, Found, ResultRow, ResultsInColumns, Wanted};
use super::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use crate::key::{At, Key, Whole};
use crate::store::scan::{Item, Items};
use crate::{Error, Store};

/// How many records a page looks at, so that it ends though nothing in them is wanted.
const PAGE_RECORDS_MAX: usize = 4096;

/// Reads results in the order in which they were recorded. What was given before a redrive ran it
/// again is given again, with its higher redrive number.
#[derive(Debug)]
pub struct AsCompleted {
    store: Store,
    job: JobId,
    /// The job's redrive number.
    redrives: u32,
    /// What each redrive made run again, once it was read.
    again: Option<BTreeMap<u32, IndexSet>>,
    cursor: Cursor,
    wanted: Wanted,
}

/// Some results in the order in which they were recorded.
#[derive(Debug)]
pub struct CompletedPage<R = ResultRow> {
    /// The results, each with the place behind it; there may be none though there are more behind.
    pub rows: Vec<(R, Cursor)>,
    /// Behind the last of them, and what else was looked at.
    pub cursor: Cursor,
    /// Whether the next page can be read at once; else all that is durable was.
    pub more: bool,
}

impl AsCompleted {
    pub(super) fn new(
        store: Store,
        (job, redrives): (JobId, u32),
        after: Cursor,
        wanted: Wanted,
    ) -> Self {
        Self {
            store,
            job,
            redrives,
            again: None,
            cursor: after,
            wanted,
        }
    }

    /// The next results, of what is durable up to the commit number `durable`.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn page(&mut self, durable: u64) -> Result<CompletedPage, Error> {
        let (rows, more) = self.fill(durable, 0..0)?;
        let rows = rows.into_iter().filter_map(|(found, cursor)| match found {
            Found::Row(row) => Some((row, cursor)),
            Found::Columns(_) => None,
        });
        Ok(self.page_of(rows.collect(), more))
    }

    /// The same; what succeeded of a record is left in its columns where that is less to read than
    /// its rows, as far as it lies in `columns_of`: nobody opens them here. Rows come of all indices.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn found_page(
        &mut self,
        durable: u64,
        columns_of: Range<Index>,
    ) -> Result<CompletedPage<Found>, Error> {
        let (rows, more) = self.fill(durable, columns_of)?;
        Ok(self.page_of(rows, more))
    }

    /// The rows of the next page, those of `columns_of` in columns, and whether there are more.
    fn fill(
        &mut self,
        durable: u64,
        columns_of: Range<Index>,
    ) -> Result<(Vec<(Found, Cursor)>, bool), Error> {
        // Whatever the caller thinks: what is not durable is not shown.
        let durable = durable.min(self.store.durable());
        let key = |at| Key::Part(Whole::Record(self.job, at), 0).encode();
        let begin = key(At {
            commit: self.cursor.commit,
            n: self.cursor.n,
        });
        let end = key(At {
            commit: durable.saturating_add(1),
            n: 0,
        });
        self.learn(begin.clone()..end.clone())?;
        let mut rows = Rows {
            columns_of: Ranges::one(columns_of),
            ..Rows::default()
        };
        let mut looked = 0;
        for item in Items::new(self.store.engine(), begin..end) {
            let Item::Whole(Whole::Record(job, at), value) = item? else {
                continue;
            };
            if looked == PAGE_RECORDS_MAX {
                return Ok((rows.rows, true));
            }
            looked += 1;
            let open = Open::decode(job, at, value)?;
            let resumed = (at.commit, at.n) == (self.cursor.commit, self.cursor.n);
            if !resumed {
                self.cursor = Cursor {
                    commit: at.commit,
                    n: at.n,
                    rows: 0,
                };
            }
            if !self.take(&open, &mut rows)? {
                return Ok((rows.rows, true));
            }
        }
        Ok((rows.rows, false))
    }

    fn page_of<R>(&self, rows: Vec<(R, Cursor)>, more: bool) -> CompletedPage<R> {
        CompletedPage {
            rows,
            cursor: self.cursor,
            more,
        }
    }

    /// Reads what redrives have made run again behind the cursor; what lies before it was given.
    /// A job that was never redriven is not read twice.
    fn learn(&mut self, keys: Range<Bytes>) -> Result<(), Error> {
        if self.again.is_some() {
            return Ok(());
        }
        let mut again: BTreeMap<u32, IndexSet> = BTreeMap::new();
        if self.redrives > 0 {
            for item in Items::new(self.store.engine(), keys) {
                let Item::Whole(Whole::Record(job, at), value) = item? else {
                    continue;
                };
                let record = Open::decode(job, at, value)?.record;
                for waiting in record.waiting.iter().filter(|_| record.redrive > 0) {
                    let known = again.entry(record.redrive).or_default();
                    known.insert_all(&waiting.indices);
                }
            }
        }
        self.again = Some(again);
        Ok(())
    }

    /// Whether a later redrive has made it run again.
    fn is_outdated(&self, redrive: u32, index: Index) -> bool {
        let again = self.again.iter().flatten();
        let mut later = again.filter(|(number, _)| **number > redrive);
        later.any(|(_, indices)| indices.contains(index))
    }

    /// Takes the wanted rows of a record from where the cursor stands in it. False when the page is
    /// full before the record ends.
    fn take(&mut self, open: &Open, rows: &mut Rows) -> Result<bool, Error> {
        if rows.is_full() {
            return Ok(false);
        }
        self.take_columns(open, rows)?;
        for (number, place) in places(&open.record, self.cursor.rows, self.wanted) {
            if rows.is_full() {
                return Ok(false);
            }
            let index = match place {
                Place::Succeeded { index, .. } | Place::Cancelled { index } => Some(index),
                Place::Failed { position } => {
                    let failed = open.record.failed.get(position as usize);
                    failed.map(|failed| failed.index)
                }
            };
            if index.is_some_and(|index| self.is_outdated(open.record.redrive, index)) {
                self.cursor.rows = number + 1;
                continue;
            }
            let row = match place {
                Place::Succeeded { index, position } => {
                    Some(open.succeeded(&**self.store.engine(), index, position)?)
                }
                Place::Failed { position } => open.failed(position),
                Place::Cancelled { index } => Some(open.cancelled(index)),
            };
            self.cursor.rows = number + 1;
            if let Some(row) = row {
                rows.push(row, self.cursor);
            }
        }
        self.cursor.rows = u32::MAX;
        Ok(true)
    }

    /// Takes what succeeded of a record as it lies, from where the cursor stands in it, if that may
    /// be and pays.
    fn take_columns(&mut self, open: &Open, rows: &mut Rows) -> Result<(), Error> {
        let record = &open.record;
        if !self.wanted.succeeded || rows.columns_of.is_empty() {
            return Ok(());
        }
        let mut meant = record.succeeded.clone();
        meant = meant.split_off(self.cursor.rows.into());
        meant = meant.intersect(&rows.columns_of);
        if self.is_any_outdated(record.redrive) {
            let mut current = Ranges::new();
            let left = meant.indices();
            left.filter(|index| !self.is_outdated(record.redrive, *index))
                .for_each(|index| current.push(index..index + 1));
            meant = current;
        }
        let Some(columns) = open.in_columns(&**self.store.engine(), meant)? else {
            return Ok(());
        };
        // Failures and what was cancelled lie behind.
        self.cursor.rows = u32::try_from(record.succeeded.len()).unwrap_or(u32::MAX);
        rows.push_columns(columns, self.cursor);
        Ok(())
    }

    /// Whether a later redrive has made anything run again.
    fn is_any_outdated(&self, redrive: u32) -> bool {
        let again = self.again.iter().flatten();
        again.into_iter().any(|(number, _)| *number > redrive)
    }
}

/// The rows of a page as it fills.
#[derive(Default)]
struct Rows {
    rows: Vec<(Found, Cursor)>,
    bytes: usize,
    /// Of which indices columns may be given.
    columns_of: Ranges,
}

impl Rows {
    fn is_full(&self) -> bool {
        self.rows.len() >= PAGE_ROWS_MAX || self.bytes >= PAGE_BYTES_MAX
    }

    fn push(&mut self, row: ResultRow, cursor: Cursor) {
        self.bytes += row.bytes();
        self.rows.push((Found::Row(row), cursor));
    }

    fn push_columns(&mut self, columns: ResultsInColumns, cursor: Cursor) {
        self.bytes += columns.bytes();
        self.rows.push((Found::Columns(columns), cursor));
    }
}

/// Where in its record a row lies.
enum Place {
    Succeeded { index: Index, position: u32 },
    Failed { position: u32 },
    Cancelled { index: Index },
}

/// The wanted rows of a record behind the first `skip`, each with its number among all rows of the
/// record: successes, then failures, then what was cancelled.
fn places(record: &Record, skip: u32, wanted: Wanted) -> impl Iterator<Item = (u32, Place)> {
    let succeeded_count = record.succeeded.len() as u32;
    let failed_count = record.failed.len() as u32;
    let limit = |wanted: bool| if wanted { usize::MAX } else { 0 };

    let succeeded = behind(record.succeeded.runs(), skip)
        .flat_map(|run| {
            let position = record.reported.rank(run.start) as u32;
            (position..).zip(run)
        })
        .map(|(position, index)| Place::Succeeded { index, position });
    let succeeded = (skip.min(succeeded_count)..)
        .zip(succeeded)
        .take(limit(wanted.succeeded));

    let skip = skip.saturating_sub(succeeded_count);
    let failed = (skip.min(failed_count)..failed_count)
        .map(move |position| (succeeded_count + position, Place::Failed { position }))
        .take(limit(wanted.failed));

    let skip = skip
        .saturating_sub(failed_count)
        .min(record.cancelled.len() as u32);
    let cancelled = behind(record.cancelled.runs(), skip)
        .flatten()
        .map(|index| Place::Cancelled { index });
    let number = succeeded_count + failed_count + skip;
    let cancelled = (number..).zip(cancelled).take(limit(wanted.cancelled));
    succeeded.chain(failed).chain(cancelled)
}

/// The runs without their first `skip` indices.
fn behind(
    runs: impl Iterator<Item = Range<Index>>,
    skip: u32,
) -> impl Iterator<Item = Range<Index>> {
    let mut skip = skip;
    runs.filter_map(move |run| {
        let length = run.end - run.start;
        let cut = skip.min(length);
        skip -= cut;
        (cut < length).then_some(run.start + cut..run.end)
    })
}
