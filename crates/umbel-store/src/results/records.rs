//! Records that a reader has open, so that a record is read and decoded once though many pages
//! look at it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use umbel_core::change::Record;
use umbel_core::id::JobId;
use umbel_core::ranges::Ranges;
use umbel_proto::columns::{Columns, Place};
use umbel_proto::disk;
use umbel_proto::logs::Logs;

use super::PAGE_BYTES_MAX;
use super::row::{Outcome, ResultRow, ResultsInColumns, Timing};
use crate::key::{At, Whole};
use crate::store::scan;
use crate::{Engine, Error};

/// Fewer results of a record than so many are not worth columns of their own.
const COLUMNS_FROM: u64 = 16;

/// How many bytes of rows a reader keeps, and reads anew for one page.
pub(super) const ROWS_BYTES_MAX: usize = 16 << 20;

/// A record as it was read, and its rows once somebody wanted an output.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) at: At,
    pub(super) record: Record,
    /// What it takes in memory without rows, roughly.
    pub(super) bytes: usize,
    place: disk::Columns,
    log_parts: u32,
    rows: OnceLock<Rows>,
}

/// The opened columns of a record.
#[derive(Debug)]
struct Rows {
    columns: Columns,
    places: Vec<Place>,
    /// What they take in memory, roughly.
    bytes: usize,
}

impl Open {
    /// Decodes a record of `job`; the reader knows the function from the job.
    pub(super) fn decode(job: JobId, at: At, value: Bytes) -> Result<Self, Error> {
        let bytes = value.len();
        let stored = disk::decode_record(job, Arc::default(), value)?;
        Ok(Self {
            at,
            record: stored.record,
            bytes,
            place: stored.columns,
            log_parts: stored.log_parts,
            rows: OnceLock::new(),
        })
    }

    /// The row of the success at `position` of what was reported.
    pub(super) fn succeeded(
        &self,
        engine: &dyn Engine,
        index: u32,
        position: u32,
    ) -> Result<ResultRow, Error> {
        let rows = self.rows(engine)?;
        let place = rows.places.get(position as usize);
        let place = place.ok_or_else(|| Error::Damaged {
            what: format!(
                "a record of job {} without its output {position}",
                self.record.job
            ),
        })?;
        let row = rows.columns.row(place);
        Ok(ResultRow {
            index,
            outcome: Outcome::Succeeded(row.output),
            attempts: self.record.attempt,
            version: self.record.version,
            arm: self.arm(),
            worker: Arc::clone(&self.record.worker),
            function: Arc::clone(&self.record.function),
            redrive: self.record.redrive,
            timing: Timing {
                started_at_us: Some(row.started_at_us).filter(|us| *us > 0),
                duration_us: row.duration_us,
                cpu_us: row.cpu_us,
                cold_start: row.cold_start,
            },
        })
    }

    fn arm(&self) -> Option<Arc<str>> {
        self.record.arm.as_ref().map(|arm| Arc::clone(&arm.name))
    }

    /// What the successes printed, where it was kept.
    pub(super) fn logs(&self, engine: &dyn Engine) -> Result<Option<Logs>, Error> {
        if self.log_parts == 0 {
            return Ok(None);
        }
        let job = self.record.job;
        let what = || format!("the logs of a record of job {job}");
        let bytes = scan::load(engine, Whole::Logs(job, self.at))?.unwrap_or_default();
        if scan::count(bytes.len()) != self.log_parts {
            return Err(Error::Missing { what: what() });
        }
        let logs = Logs::parse_stored(bytes, self.record.reported.len());
        logs.map(Some).map_err(|error| Error::Damaged {
            what: format!("{}: {error}", what()),
        })
    }

    /// The row of the failure at `position` of the record's failures.
    pub(super) fn failed(&self, position: u32) -> Option<ResultRow> {
        let failed = self.record.failed.get(position as usize)?;
        Some(ResultRow {
            index: failed.index,
            outcome: Outcome::Failed(failed.failure.clone()),
            attempts: failed.attempts,
            version: self.record.version,
            arm: self.arm(),
            worker: Arc::clone(&self.record.worker),
            function: Arc::clone(&self.record.function),
            redrive: self.record.redrive,
            timing: Timing {
                started_at_us: Some(failed.started_at_us).filter(|us| *us > 0),
                duration_us: Some(failed.duration_us).filter(|_| failed.started_at_us > 0),
                cpu_us: failed.cpu_us,
                cold_start: failed.cold_start,
            },
        })
    }

    /// The row of an invocation that ended with its job.
    pub(super) fn cancelled(&self, index: u32) -> ResultRow {
        ResultRow {
            index,
            outcome: Outcome::Cancelled,
            attempts: 0,
            version: None,
            arm: None,
            worker: Arc::default(),
            function: Arc::clone(&self.record.function),
            redrive: self.record.redrive,
            timing: Timing::default(),
        }
    }

    /// The rows of the columns, in the order of what was reported; read when they are first wanted.
    fn rows(&self, engine: &dyn Engine) -> Result<&Rows, Error> {
        if let Some(rows) = self.rows.get() {
            return Ok(rows);
        }
        let job = self.record.job;
        let damaged = |what: String| Error::Damaged {
            what: format!("the outputs of a record of job {job}: {what}"),
        };
        let bytes = self.columns(engine)?;
        let columns = Columns::parse_stored(bytes).map_err(|error| damaged(error.to_string()))?;
        let places: Vec<Place> = columns.places().collect();
        let reported = self.record.reported.len();
        if places.len() as u64 != reported {
            return Err(damaged(format!("{} for {reported} results", places.len())));
        }
        let bytes = columns.bytes() + places.len() * size_of::<Place>();
        let rows = Rows {
            columns,
            places,
            bytes,
        };
        Ok(self.rows.get_or_init(|| rows))
    }

    /// The columns of what was reported, unopened.
    pub(super) fn columns(&self, engine: &dyn Engine) -> Result<Bytes, Error> {
        let disk::Columns::Parts(parts) = self.place else {
            return Ok(self.record.columns.clone());
        };
        let job = self.record.job;
        let bytes = scan::load(engine, Whole::Columns(job, self.at))?.unwrap_or_default();
        if scan::count(bytes.len()) != parts {
            let what = format!("the outputs of a record of job {job}");
            return Err(Error::Missing { what });
        }
        Ok(bytes)
    }

    /// What is `meant` of the successes in their columns, unopened; none where its rows are less to
    /// read, or the columns are very long.
    pub(super) fn in_columns(
        &self,
        engine: &dyn Engine,
        meant: Ranges,
    ) -> Result<Option<ResultsInColumns>, Error> {
        let record = &self.record;
        if meant.len() < COLUMNS_FROM || 2 * meant.len() < record.reported.len() {
            return Ok(None);
        }
        let columns = self.columns(engine)?;
        Ok((columns.len() <= PAGE_BYTES_MAX).then(|| ResultsInColumns {
            reported: record.reported.clone(),
            meant,
            columns,
            attempts: record.attempt,
            version: record.version,
            arm: self.arm(),
            worker: Arc::clone(&record.worker),
            function: Arc::clone(&record.function),
        }))
    }

    /// What the rows take in memory, roughly; 0 before they are read.
    pub(super) fn rows_bytes(&self) -> usize {
        self.rows.get().map_or(0, |rows| rows.bytes)
    }
}

/// The open records of one reader.
#[derive(Debug)]
pub(super) struct Records {
    job: JobId,
    open: BTreeMap<At, Arc<Open>>,
}

impl Records {
    pub(super) fn new(job: JobId) -> Self {
        Self {
            job,
            open: BTreeMap::new(),
        }
    }

    /// The record at a place, read if it is not open.
    pub(super) fn load(&mut self, engine: &dyn Engine, at: At) -> Result<Arc<Open>, Error> {
        if let Some(open) = self.open.get(&at) {
            return Ok(Arc::clone(open));
        }
        let job = self.job;
        let value = scan::load(engine, Whole::Record(job, at))?.ok_or_else(|| Error::Missing {
            what: format!("a record of job {job}"),
        })?;
        let open = Arc::new(Open::decode(job, at, value)?);
        self.open.insert(at, Arc::clone(&open));
        Ok(open)
    }

    /// Closes what is not `wanted` any more, and everything once it holds too many bytes.
    pub(super) fn retain(&mut self, wanted: impl Fn(&Record) -> bool) {
        self.open.retain(|_, open| wanted(&open.record));
        let rows: usize = self.open.values().map(|open| open.rows_bytes()).sum();
        if rows > ROWS_BYTES_MAX {
            self.open.clear();
        }
    }
}
