//! Results in the order of the inputs.
//!
//! Records come in the order in which workers reported, and each holds a range or a list of
//! indices. A reader takes a window of indices, finds the records that concern it by their first
//! index, paints them over each other from the earliest to the latest, and gives what then lies on
//! top.

use std::ops::Range;
use std::sync::Arc;

use umbel_core::change::Record;
use umbel_core::id::{Index, JobId};
use umbel_core::limit::RECORD_SPAN_MAX;
use umbel_core::ranges::Ranges;

use super::records::{Open, ROWS_BYTES_MAX, Records};
use super::row::{Found, ResultRow, ResultsInColumns, Wanted};
use super::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use crate::key::{At, Key, Kind, under};
use crate::store::scan::Entries;
use crate::{Error, Store};

/// How many bytes of records, without columns, a window may need; it is narrowed until it does.
const WINDOW_BYTES_MAX: usize = 8 << 20;

/// What a reader does at an invocation that is not final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gaps {
    /// It goes on behind it.
    Skip,
    /// It stops there, to be asked again once more is durable.
    StopAt,
}

/// Reads results in the order of the inputs.
#[derive(Debug)]
pub struct InOrder {
    store: Store,
    records: Records,
    job: JobId,
    next: Index,
    end: Index,
    wanted: Wanted,
    gaps: Gaps,
}

/// Some results in the order of the inputs.
#[derive(Debug)]
pub struct OrderedPage<R = ResultRow> {
    /// The results; there may be none though there are more behind.
    pub rows: Vec<R>,
    /// The index at which the next page begins.
    pub next: Index,
    /// Why the page ends here.
    pub reached: Reached,
}

/// Why a page ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// It is full; the next can be read at once.
    Limit,
    /// The invocation at `next` is not final.
    Gap,
    /// Everything in the range was looked at.
    End,
}

/// What lies on top at one index, and where in which of the window's records.
#[derive(Debug, Clone, Copy)]
enum Cell {
    Open,
    Succeeded { record: u32, position: u32 },
    Failed { record: u32, position: u32 },
    Cancelled { record: u32 },
}

/// Where a record says that it concerns indices.
#[derive(Debug, Clone, Copy)]
struct Pointer {
    first: Index,
    last: Index,
    at: At,
}

impl InOrder {
    pub(super) fn new(
        store: Store,
        job: JobId,
        range: Range<Index>,
        wanted: Wanted,
        gaps: Gaps,
    ) -> Self {
        let records = Records::new(job);
        Self {
            store,
            records,
            job,
            next: range.start,
            end: range.end,
            wanted,
            gaps,
        }
    }

    /// The range now goes to `end`: more inputs were appended.
    pub fn extend(&mut self, end: Index) {
        self.end = self.end.max(end);
    }

    /// The next results, of what is durable up to the commit number `durable`.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn page(&mut self, durable: u64) -> Result<OrderedPage, Error> {
        let page = self.found_page(durable, false)?;
        let rows = page.rows.into_iter().filter_map(|found| match found {
            Found::Row(row) => Some(row),
            Found::Columns(_) => None,
        });
        Ok(OrderedPage {
            rows: rows.collect(),
            next: page.next,
            reached: page.reached,
        })
    }

    /// The same; `in_columns` leaves what succeeded of a record in its columns where that is less
    /// to read than its rows: nobody opens them here. A record may be given more than once, each
    /// time with others of its invocations.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn found_page(
        &mut self,
        durable: u64,
        in_columns: bool,
    ) -> Result<OrderedPage<Found>, Error> {
        // Whatever the caller thinks: what is not durable is not shown.
        let durable = durable.min(self.store.durable());
        let window_end = self.end.min(self.next.saturating_add(PAGE_ROWS_MAX as u32));
        if self.next >= self.end {
            return Ok(self.ended(Vec::new(), Reached::End));
        }
        let pointers = self.pointers(window_end, durable)?;
        if pointers.is_empty() {
            if self.gaps == Gaps::StopAt {
                return Ok(self.ended(Vec::new(), Reached::Gap));
            }
            self.next = self.seek(window_end, durable)?;
            let reached = if self.next >= self.end {
                Reached::End
            } else {
                Reached::Limit
            };
            return Ok(self.ended(Vec::new(), reached));
        }
        let (records, window_end) = self.load(&pointers, window_end)?;
        let cells = paint(&records, self.next..window_end);
        let page = self.emit(&records, &cells, in_columns)?;
        let next = self.next;
        self.records
            .retain(|record| last(record).is_some_and(|last| last >= next));
        Ok(page)
    }

    fn ended(&self, rows: Vec<Found>, reached: Reached) -> OrderedPage<Found> {
        OrderedPage {
            rows,
            next: self.next,
            reached,
        }
    }

    /// The durable records that concern the window, by first index.
    fn pointers(&self, window_end: Index, durable: u64) -> Result<Vec<Pointer>, Error> {
        let begin = self.next.saturating_sub(RECORD_SPAN_MAX - 1);
        let mut pointers = Vec::new();
        for pointer in self.scan(begin, Some(window_end)) {
            let pointer = pointer?;
            if pointer.at.commit <= durable && pointer.last >= self.next {
                pointers.push(pointer);
            }
        }
        Ok(pointers)
    }

    /// Where the next durable record begins behind an empty window; the end, if there is none.
    fn seek(&self, begin: Index, durable: u64) -> Result<Index, Error> {
        for pointer in self.scan(begin, None) {
            let pointer = pointer?;
            if pointer.at.commit <= durable {
                return Ok(pointer.first.min(self.end));
            }
        }
        Ok(self.end)
    }

    fn scan(
        &self,
        begin: Index,
        end: Option<Index>,
    ) -> impl Iterator<Item = Result<Pointer, Error>> + use<> {
        let key = |index| Key::ByIndex(self.job, index, At { commit: 0, n: 0 }).encode();
        let end = end.map_or_else(|| under(Kind::ByIndex, self.job).end, key);
        Entries::new(self.store.engine(), key(begin)..end).map(|entry| {
            let (key, value) = entry?;
            let last = <[u8; 4]>::try_from(&value[..]).map(Index::from_be_bytes);
            match (key, last) {
                (Key::ByIndex(_, first, at), Ok(last)) => Ok(Pointer { first, last, at }),
                (key, _) => Err(Error::Damaged {
                    what: format!("the value of {key:?}"),
                }),
            }
        })
    }

    /// Reads the records, from the earliest to the latest. Where they are too large for memory the
    /// window ends before the first one that was not read.
    fn load(
        &mut self,
        pointers: &[Pointer],
        mut window_end: Index,
    ) -> Result<(Vec<Arc<Open>>, Index), Error> {
        let mut records: Vec<Arc<Open>> = Vec::new();
        let mut bytes = 0;
        for pointer in pointers {
            if bytes > WINDOW_BYTES_MAX && pointer.first > self.next {
                window_end = window_end.min(pointer.first);
                break;
            }
            let open = self.records.load(&**self.store.engine(), pointer.at)?;
            bytes += open.bytes;
            records.push(open);
        }
        records.sort_unstable_by_key(|open| (open.record.redrive, open.at));
        records.dedup_by_key(|open| open.at);
        Ok((records, window_end))
    }

    fn emit(
        &mut self,
        records: &[Arc<Open>],
        cells: &[Cell],
        in_columns: bool,
    ) -> Result<OrderedPage<Found>, Error> {
        let mut rows = Vec::new();
        let (mut bytes, mut read) = (0, 0);
        // Where the columns at hand were found not to pay, up to their end.
        let (mut at, mut by_row_to) = (0, if in_columns { 0 } else { cells.len() });
        while let Some(cell) = cells.get(at) {
            // Where indices lie scattered over records, each row may need another one's outputs.
            if bytes >= PAGE_BYTES_MAX || read >= ROWS_BYTES_MAX {
                return Ok(self.ended(rows, Reached::Limit));
            }
            if matches!(cell, Cell::Open) && self.gaps == Gaps::StopAt {
                return Ok(self.ended(rows, Reached::Gap));
            }
            if at >= by_row_to {
                let like = like(cells.get(at..).unwrap_or_default());
                if let Some(columns) = self.columns(records, *cell, like)? {
                    bytes += columns.bytes();
                    rows.push(Found::Columns(columns));
                    self.next += like;
                    at += like as usize;
                    continue;
                }
                by_row_to = at + like as usize;
            }
            let unread = match cell {
                Cell::Succeeded { record, .. } => records.get(*record as usize),
                Cell::Open | Cell::Failed { .. } | Cell::Cancelled { .. } => None,
            };
            let unread = unread.filter(|open| open.rows_bytes() == 0);
            if let Some(row) = self.row(records, *cell)? {
                bytes += row.bytes();
                rows.push(Found::Row(row));
            }
            read += unread.map_or(0, |open| open.rows_bytes());
            self.next += 1;
            at += 1;
        }
        let reached = if self.next >= self.end {
            Reached::End
        } else {
            Reached::Limit
        };
        Ok(self.ended(rows, reached))
    }

    /// The next `count` results in their columns, which are one record's, if that pays.
    fn columns(
        &self,
        records: &[Arc<Open>],
        cell: Cell,
        count: u32,
    ) -> Result<Option<ResultsInColumns>, Error> {
        let Cell::Succeeded { record, .. } = cell else {
            return Ok(None);
        };
        let open = records.get(record as usize);
        let Some(open) = open.filter(|_| self.wanted.succeeded) else {
            return Ok(None);
        };
        let meant = Ranges::one(self.next..self.next + count);
        open.in_columns(&**self.store.engine(), meant)
    }

    /// The row at the next index, if there is one and it is wanted.
    fn row(&self, records: &[Arc<Open>], cell: Cell) -> Result<Option<ResultRow>, Error> {
        let open = |record: u32| records.get(record as usize);
        Ok(match cell {
            Cell::Succeeded { record, position } if self.wanted.succeeded => match open(record) {
                Some(open) => {
                    let engine = &**self.store.engine();
                    Some(open.succeeded(engine, self.next, position)?)
                }
                None => None,
            },
            Cell::Failed { record, position } if self.wanted.failed => {
                open(record).and_then(|open| open.failed(position))
            }
            Cell::Cancelled { record } if self.wanted.cancelled => {
                open(record).map(|open| open.cancelled(self.next))
            }
            Cell::Open | Cell::Succeeded { .. } | Cell::Failed { .. } | Cell::Cancelled { .. } => {
                None
            }
        })
    }
}

/// The last index that a record concerns.
fn last(record: &Record) -> Option<Index> {
    let failed = record.failed.iter().map(|failed| failed.index).max();
    let waiting = record
        .waiting
        .iter()
        .filter_map(|waiting| waiting.indices.last())
        .max();
    [
        record.succeeded.last(),
        record.cancelled.last(),
        failed,
        waiting,
    ]
    .into_iter()
    .flatten()
    .max()
}

/// How many cells from the first on are successes of the same record as it; 1 if it is none.
fn like(cells: &[Cell]) -> u32 {
    let record_of = |cell: &Cell| match cell {
        Cell::Succeeded { record, .. } => Some(*record),
        Cell::Open | Cell::Failed { .. } | Cell::Cancelled { .. } => None,
    };
    let first = cells.first().and_then(record_of);
    let like = cells.iter().take_while(|cell| record_of(cell) == first);
    match first {
        // A window is shorter than an index is large.
        Some(_) => like.count() as u32,
        None => 1,
    }
}

/// Paints the records over each other; the last one is on top.
fn paint(records: &[Arc<Open>], window: Range<Index>) -> Vec<Cell> {
    let mut cells = vec![Cell::Open; window.len()];
    for (number, open) in records.iter().enumerate() {
        let number = number as u32;
        let record = &open.record;
        for waiting in &record.waiting {
            paint_runs(&mut cells, &window, &waiting.indices, |_| Cell::Open);
        }
        paint_runs(&mut cells, &window, &record.cancelled, |_| {
            Cell::Cancelled { record: number }
        });
        let reported = &record.reported;
        for run in record.succeeded.runs() {
            let run = clip(run, &window);
            if run.is_empty() {
                continue;
            }
            // A run of successes lies within one run of what was reported, so that positions in
            // the columns ascend with the indices.
            let position = reported.rank(run.start) as u32;
            for (offset, cell) in slice(&mut cells, &window, run).iter_mut().enumerate() {
                *cell = Cell::Succeeded {
                    record: number,
                    position: position + offset as u32,
                };
            }
        }
        for (position, failed) in record.failed.iter().enumerate() {
            if window.contains(&failed.index)
                && let Some(cell) = cells.get_mut((failed.index - window.start) as usize)
            {
                *cell = Cell::Failed {
                    record: number,
                    position: position as u32,
                };
            }
        }
    }
    cells
}

fn paint_runs(
    cells: &mut [Cell],
    window: &Range<Index>,
    ranges: &Ranges,
    cell: impl Fn(Index) -> Cell,
) {
    for run in ranges.runs() {
        let run = clip(run, window);
        if !run.is_empty() {
            slice(cells, window, run.clone()).fill(cell(run.start));
        }
    }
}

fn clip(run: Range<Index>, window: &Range<Index>) -> Range<Index> {
    run.start.max(window.start)..run.end.min(window.end)
}

/// The cells of a run that was clipped to the window and is not empty.
fn slice<'a>(cells: &'a mut [Cell], window: &Range<Index>, run: Range<Index>) -> &'a mut [Cell] {
    let begin = (run.start - window.start) as usize;
    let end = (run.end - window.start) as usize;
    cells.get_mut(begin..end).unwrap_or_default()
}
