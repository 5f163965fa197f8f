//! The records of a job, one after the other: what they say together, and where they lie.

use std::iter::Peekable;

use bytes::Bytes;
use umbel_core::change::{JobStatus, Record};
use umbel_core::id::{Index, JobId};
use umbel_core::index_set::IndexSet;
use umbel_core::job::{Counts, Usage};
use umbel_core::limit::OUTPUT_BYTES_MAX;
use umbel_core::ranges::Ranges;
use umbel_proto::columns::Columns;
use umbel_proto::disk::{self, Stored};
use umbel_proto::logs::Logs;

use super::Checker;
use crate::Error;
use crate::key::{self, At, Key, Kind, Whole};
use crate::store::scan::{self, Item, Items};
use crate::store::write::pointers;

/// What the records of a job have said so far.
#[derive(Debug, Default)]
pub(super) struct Story {
    redrive: u32,
    succeeded: IndexSet,
    failed: IndexSet,
    cancelled: IndexSet,
    /// What became final under this redrive number.
    fresh: IndexSet,
    pub(super) usage: Usage,
}

impl Story {
    /// How many invocations are final.
    pub(super) fn final_count(&self) -> u64 {
        self.succeeded.len() + self.failed.len() + self.cancelled.len()
    }

    /// The figures that a summary of an ended job should have.
    pub(super) fn counts(&self, total: u32) -> Counts {
        Counts {
            total: total.into(),
            succeeded: self.succeeded.len(),
            failed: self.failed.len(),
            cancelled: self.cancelled.len(),
            ..Counts::default()
        }
    }

    /// Takes in the next record. Gives what it should not have said.
    fn take(&mut self, record: &Record) -> Option<String> {
        if record.redrive < self.redrive {
            return Some(format!("redrive {} after {}", record.redrive, self.redrive));
        }
        if record.redrive > self.redrive {
            self.redrive = record.redrive;
            self.fresh = IndexSet::new();
        }
        self.usage.add(record.usage);
        for waiting in &record.waiting {
            if let Some(index) = self.fresh.intersect(&waiting.indices).first() {
                return Some(format!("index {index} waits again and has ended"));
            }
            // What ended under an earlier number is run again.
            self.succeeded.remove_all(&waiting.indices);
            self.failed.remove_all(&waiting.indices);
            self.cancelled.remove_all(&waiting.indices);
        }
        let mut failed = Ranges::new();
        for one in &record.failed {
            failed.insert(one.index);
        }
        for part in [&record.succeeded, &failed, &record.cancelled] {
            if let Some(index) = self.ended(part).first() {
                let redrive = self.redrive;
                return Some(format!("index {index} ends twice under redrive {redrive}"));
            }
            self.fresh.insert_all(part);
        }
        self.succeeded.insert_all(&record.succeeded);
        self.failed.insert_all(&failed);
        self.cancelled.insert_all(&record.cancelled);
        None
    }

    /// What of these has ended, and was not made to wait again.
    fn ended(&self, ranges: &Ranges) -> Ranges {
        [&self.succeeded, &self.failed, &self.cancelled, &self.fresh]
            .into_iter()
            .fold(Ranges::new(), |ended, known| {
                ended.union(&known.intersect(ranges))
            })
    }
}

impl Checker<'_> {
    /// Walks the records of a job in the order of their commits, beside the columns that lie apart,
    /// and holds the pointers by index against them.
    pub(super) fn records(
        &mut self,
        job: JobId,
        total: u32,
        status: Option<&JobStatus>,
    ) -> Result<Story, Error> {
        let mut story = Story::default();
        let mut columns = self.walk(key::under(Kind::Columns, job)).peekable();
        let (mut pointers, mut logs) = (0, 0);
        for item in self.walk(key::under(Kind::Record, job)) {
            let Some(Item::Whole(Whole::Record(_, at), value)) = self.note(Some(job), item)? else {
                continue;
            };
            let apart = self.columns_at(job, &mut columns, at)?;
            let stored = match disk::decode_record(job, std::sync::Arc::default(), value) {
                Ok(stored) => stored,
                Err(error) => {
                    self.report.problem(Some(job), name(at), error.to_string());
                    continue;
                }
            };
            let record = &stored.record;
            let last = last(record);
            if last.is_some_and(|last| last >= total) {
                let what = format!("it tells of index {last:?} of {total}");
                self.report.problem(Some(job), name(at), what);
            }
            let redrives = status.map_or(0, |status| status.redrives);
            if record.redrive > redrives {
                let what = format!("redrive {} of {redrives}", record.redrive);
                self.report.problem(Some(job), name(at), what);
            }
            if let Some(what) = story.take(record) {
                self.report.problem(Some(job), name(at), what);
            }
            self.outputs(job, at, &stored, apart);
            logs += u64::from(self.logs(job, at, &stored)?);
            pointers += self.pointers_of(job, at, record)?;
        }
        while let Some((at, _)) = self.next_columns(job, &mut columns, None)? {
            self.report
                .problem(Some(job), outputs(at), "they belong to no record");
        }
        self.pointers(job, pointers)?;
        self.all_logs(job, logs)?;
        Ok(story)
    }

    /// The columns that lie beside the record at `at`; those before it belong to none.
    fn columns_at(
        &mut self,
        job: JobId,
        columns: &mut Peekable<Items>,
        at: At,
    ) -> Result<Option<Bytes>, Error> {
        while let Some((found, value)) = self.next_columns(job, columns, Some(at))? {
            if found == at {
                return Ok(Some(value));
            }
            self.report
                .problem(Some(job), outputs(found), "they belong to no record");
        }
        Ok(None)
    }

    /// The next columns, unless they lie behind `until`.
    fn next_columns(
        &mut self,
        job: JobId,
        columns: &mut Peekable<Items>,
        until: Option<At>,
    ) -> Result<Option<(At, Bytes)>, Error> {
        loop {
            if let Some(Ok(Item::Whole(Whole::Columns(_, at), _))) = columns.peek()
                && until.is_some_and(|until| *at > until)
            {
                return Ok(None);
            }
            let Some(item) = columns.next() else {
                return Ok(None);
            };
            if let Some(Item::Whole(Whole::Columns(_, at), value)) = self.note(Some(job), item)? {
                return Ok(Some((at, value)));
            }
        }
    }

    /// Reads the outputs of a record, wherever they lie.
    fn outputs(&mut self, job: JobId, at: At, stored: &Stored, apart: Option<Bytes>) {
        let bytes = match (stored.columns, apart) {
            (disk::Columns::Inline, None) => stored.record.columns.clone(),
            (disk::Columns::Parts(parts), Some(bytes)) => {
                let found = scan::count(bytes.len());
                if found != parts {
                    let what = format!("{found} parts of {parts}");
                    return self.report.problem(Some(job), outputs(at), what);
                }
                bytes
            }
            (disk::Columns::Inline, Some(_)) => {
                let what = "they lie apart, and their record has its own";
                return self.report.problem(Some(job), outputs(at), what);
            }
            (disk::Columns::Parts(parts), None) => {
                let what = format!("all {parts} parts are missing");
                return self.report.problem(Some(job), outputs(at), what);
            }
        };
        let reported = stored.record.reported.len();
        if reported == 0 && bytes.is_empty() {
            return;
        }
        if let Err(error) = Columns::parse(bytes, reported, OUTPUT_BYTES_MAX) {
            self.report
                .problem(Some(job), outputs(at), error.to_string());
        }
    }

    /// Reads the logs of a record; tells whether there should be any.
    fn logs(&mut self, job: JobId, at: At, stored: &Stored) -> Result<bool, Error> {
        if stored.log_parts == 0 {
            return Ok(false);
        }
        let bytes = scan::load(&*self.engine, Whole::Logs(job, at))?.unwrap_or_default();
        let found = scan::count(bytes.len());
        let what = if found == stored.log_parts {
            let parsed = Logs::parse(bytes, stored.record.reported.len());
            parsed.err().map(|error| error.to_string())
        } else {
            Some(format!("{found} parts of {}", stored.log_parts))
        };
        if let Some(what) = what {
            self.report
                .problem(Some(job), format!("logs of {}", name(at)), what);
        }
        Ok(true)
    }

    /// Walks the logs: there are none but those of the `expected` many records that have some.
    fn all_logs(&mut self, job: JobId, expected: u64) -> Result<(), Error> {
        let mut found = 0;
        for item in self.walk(key::under(Kind::Logs, job)) {
            found += u64::from(self.note(Some(job), item)?.is_some());
        }
        if found > expected {
            let what = format!("{} belong to no record", found - expected);
            self.report.problem(Some(job), "logs", what);
        }
        Ok(())
    }

    /// Looks for the pointers to a record; tells how many there should be.
    fn pointers_of(&mut self, job: JobId, at: At, record: &Record) -> Result<u64, Error> {
        let mut count = 0;
        for (first, last) in pointers(record) {
            count += 1;
            let value = self.engine.get(&Key::ByIndex(job, first, at).encode())?;
            let what = match value {
                None => "it is missing".to_owned(),
                Some(value) if value[..] == last.to_be_bytes() => continue,
                Some(value) => format!("it says {value:?}, its record ends at {last}"),
            };
            self.report.problem(Some(job), pointer(first, at), what);
        }
        Ok(count)
    }

    /// Walks the pointers: there is none but those of the `expected` many that records have.
    fn pointers(&mut self, job: JobId, expected: u64) -> Result<(), Error> {
        let mut found = 0;
        for item in self.walk(key::under(Kind::ByIndex, job)) {
            found += u64::from(self.note(Some(job), item)?.is_some());
        }
        if found == expected {
            return Ok(());
        }
        // Some lead nowhere: only now is it worth a look at each one's record.
        for item in self.walk(key::under(Kind::ByIndex, job)) {
            let Ok(Item::Short(Key::ByIndex(_, first, at), _)) = item else {
                continue;
            };
            let value = scan::load(&*self.engine, Whole::Record(job, at))?;
            let stored =
                value.map(|value| disk::decode_record(job, std::sync::Arc::default(), value));
            let what = match stored {
                None => "its record is not there",
                Some(Ok(stored))
                    if pointers(&stored.record)
                        .iter()
                        .all(|(begin, _)| *begin != first) =>
                {
                    "its record does not tell of that index"
                }
                // The record was told of before.
                Some(_) => continue,
            };
            self.report.problem(Some(job), pointer(first, at), what);
        }
        Ok(())
    }
}

/// The last index that a record names.
fn last(record: &Record) -> Option<Index> {
    let failed = record.failed.iter().map(|failed| failed.index).max();
    let waiting = record
        .waiting
        .iter()
        .filter_map(|waiting| waiting.indices.last());
    [
        record.reported.last(),
        record.cancelled.last(),
        failed,
        waiting.max(),
    ]
    .into_iter()
    .flatten()
    .max()
}

fn name(at: At) -> String {
    format!("record {} of commit {}", at.n, at.commit)
}

fn outputs(at: At) -> String {
    format!("outputs of {}", name(at))
}

fn pointer(first: Index, at: At) -> String {
    format!("pointer from index {first} to {}", name(at))
}
