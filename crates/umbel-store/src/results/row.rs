//! One result.

use std::sync::Arc;

use bytes::Bytes;
use umbel_core::cold_start::ColdStart;
use umbel_core::id::Index;
use umbel_core::outcome::Failure;
use umbel_core::ranges::Ranges;

/// The final outcome of an invocation as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultRow {
    /// Which input.
    pub index: Index,
    /// How it ended.
    pub outcome: Outcome,
    /// Attempts that were made; 0: not known.
    pub attempts: u32,
    /// The number of the version that ran, of a published function.
    pub version: Option<u32>,
    /// The arm that it ran for, where rules or a split decided.
    pub arm: Option<Arc<str>>,
    /// The worker that ran the final attempt; empty if none did.
    pub worker: Arc<str>,
    /// What ran it, if the job had been redriven; empty: what the job was accepted with.
    pub function: Arc<str>,
    /// The redrive number under which it ended.
    pub redrive: u32,
    /// Times of the final attempt.
    pub timing: Timing,
}

impl ResultRow {
    /// What it takes of a page.
    pub(super) fn bytes(&self) -> usize {
        match &self.outcome {
            Outcome::Succeeded(output) => output.len(),
            Outcome::Failed(failure) => failure.message.len() + failure.stderr.len(),
            Outcome::Cancelled => 0,
        }
    }
}

/// What succeeded of a record, in the columns in which a worker reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultsInColumns {
    /// What the columns hold.
    pub reported: Ranges,
    /// What of it is meant.
    pub meant: Ranges,
    /// The columns, as they lie in the store.
    pub columns: Bytes,
    /// Attempts that were made.
    pub attempts: u32,
    /// The number of the version that ran, of a published function.
    pub version: Option<u32>,
    /// The arm that they ran for, where rules or a split decided.
    pub arm: Option<Arc<str>>,
    /// The worker that ran the final attempts.
    pub worker: Arc<str>,
    /// What ran them, if the job had been redriven; empty: what the job was accepted with.
    pub function: Arc<str>,
}

/// A result, or many of them as they lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// One result.
    Row(ResultRow),
    /// What succeeded of a record.
    Columns(ResultsInColumns),
}

impl Found {
    /// The last of its indices.
    #[must_use]
    pub fn last(&self) -> Index {
        match self {
            Self::Row(row) => row.index,
            Self::Columns(columns) => columns.meant.last().unwrap_or_default(),
        }
    }
}

/// About how long a run of indices is on the wire.
const RUN_BYTES: usize = 20;

impl ResultsInColumns {
    /// About how long they are on the wire.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let runs = self.reported.run_count() + self.meant.run_count();
        self.columns.len() + runs * RUN_BYTES
    }
}

/// How an invocation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// With this output, which is a part of the block that the worker sent.
    Succeeded(Bytes),
    /// For good, with this failure.
    Failed(Failure),
    /// With its job.
    Cancelled,
}

/// Times of an attempt, as far as they are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// When it began, in microseconds since 1970.
    pub started_at_us: Option<u64>,
    /// How long it ran, in microseconds.
    pub duration_us: Option<u64>,
    /// Its processor time in microseconds.
    pub cpu_us: Option<u64>,
    /// What it took to have an instance, where none stood ready.
    pub cold_start: Option<ColdStart>,
}

/// A place in the story of a job: behind some rows of a record. The default is its beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    /// The commit of the record.
    pub commit: u64,
    /// Its position in the commit.
    pub n: u32,
    /// How many rows of it lie before the place; the largest number stands behind all of them.
    pub rows: u32,
}

/// Which results are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Those that succeeded.
    pub succeeded: bool,
    /// Those that failed.
    pub failed: bool,
    /// Those that were cancelled.
    pub cancelled: bool,
}

impl Wanted {
    /// All of them.
    pub const ALL: Self = Self {
        succeeded: true,
        failed: true,
        cancelled: true,
    };
}
