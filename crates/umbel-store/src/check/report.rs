//! What a check found.

use std::fmt;

use umbel_core::id::JobId;

use crate::store::scan::{self, Item};

/// How many problems are kept with their words; all are counted.
pub const PROBLEMS_KEPT_MAX: usize = 1_000;

/// After how many keys progress is told.
const PROGRESS_EVERY_KEYS: u64 = 50_000;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The job, if it belongs to one.
    pub job: Option<JobId>,
    /// The key in words; empty where `what` names it.
    pub key: String,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(job) = self.job {
            write!(f, "job {job}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)
    }
}

/// How far a check has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Jobs that were checked.
    pub jobs: u64,
    /// Keys that were read.
    pub keys: u64,
    /// Bytes of their values.
    pub bytes: u64,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What was looked at.
    pub looked_at: Progress,
    /// The first [`PROBLEMS_KEPT_MAX`] problems.
    pub problems: Vec<Problem>,
    /// How many there are.
    pub problems_count: u64,
}

/// A report that is being made.
pub(super) struct Making<'a> {
    report: Report,
    told_keys: u64,
    progress: &'a mut dyn FnMut(Progress),
}

impl<'a> Making<'a> {
    pub(super) fn new(progress: &'a mut dyn FnMut(Progress)) -> Self {
        Self {
            report: Report::default(),
            told_keys: 0,
            progress,
        }
    }

    pub(super) fn finish(self) -> Report {
        self.report
    }

    pub(super) fn problem(
        &mut self,
        job: Option<JobId>,
        key: impl Into<String>,
        what: impl Into<String>,
    ) {
        self.report.problems_count += 1;
        if self.report.problems.len() < PROBLEMS_KEPT_MAX {
            self.report.problems.push(Problem {
                job,
                key: key.into(),
                what: what.into(),
            });
        }
    }

    /// Counts what was read.
    pub(super) fn count(&mut self, item: &Item) {
        let (keys, bytes) = match item {
            Item::Whole(_, value) => (u64::from(scan::count(value.len())), value.len()),
            Item::Short(_, value) => (1, value.len()),
        };
        self.report.looked_at.keys += keys;
        self.report.looked_at.bytes += bytes as u64;
        if self.report.looked_at.keys >= self.told_keys + PROGRESS_EVERY_KEYS {
            self.told_keys = self.report.looked_at.keys;
            (self.progress)(self.report.looked_at);
        }
    }

    pub(super) fn count_job(&mut self) {
        self.report.looked_at.jobs += 1;
    }
}
