//! What a list of changes says, read as simply as possible: one cell an invocation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use umbel_core::change::{
    Change, FailedRecord, JobRecord, JobStatus, KeptRequest, LeaseRecord, Record,
};
use umbel_core::history::History;
use umbel_core::id::{Index, JobId, LeaseId};
use umbel_core::job::{Counts, JobState, Source, Usage};
use umbel_core::limit::OUTPUT_BYTES_MAX;
use umbel_proto::columns::Columns;

/// Where one invocation stands by what was recorded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Waiting { history: History, due_ms: u64 },
    Succeeded { output: Bytes, attempts: u32 },
    Failed(Box<FailedRecord>),
    Cancelled,
}

impl Cell {
    const FRESH: Self = Self::Waiting {
        history: History::FRESH,
        due_ms: 0,
    };

    pub(crate) fn is_final(&self) -> bool {
        !matches!(self, Self::Waiting { .. })
    }
}

/// One job by what was recorded.
#[derive(Clone, Debug)]
pub(crate) struct JobCells {
    pub(crate) record: Arc<JobRecord>,
    pub(crate) status: JobStatus,
    pub(crate) cells: Vec<Cell>,
    pub(crate) usage: Usage,
}

/// All that changes have said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) functions: BTreeSet<String>,
    pub(crate) jobs: BTreeMap<JobId, JobCells>,
    pub(crate) leases: BTreeMap<LeaseId, LeaseRecord>,
    /// Jobs that were forgotten.
    pub(crate) deleted: BTreeSet<JobId>,
    /// Request ids that outlive their jobs.
    pub(crate) requests: BTreeMap<String, KeptRequest>,
}

impl Ledger {
    /// Takes in a change.
    ///
    /// # Panics
    /// When it contradicts what was said before.
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::JobCreated(record) => self.create(record),
            Change::Appended { job, block } => {
                let job = self.job(*job);
                assert_eq!(
                    block.first as usize,
                    job.cells.len(),
                    "a block leaves no gap"
                );
                let end = job.cells.len() + block.count as usize;
                job.cells.resize(end, Cell::FRESH);
            }
            Change::JobStatus { job, status } => {
                let known = &mut self.job(*job).status;
                assert!(
                    !known.state.is_final(),
                    "an ended job ends again: {status:?}"
                );
                assert!(
                    known.sealed.is_none() || known.sealed == status.sealed,
                    "a seal changed: {known:?}, {status:?}"
                );
                *known = status.clone();
            }
            Change::Recorded(record) => self.record(record),
            Change::Granted(lease) => {
                let before = self.leases.insert(lease.lease, lease.clone());
                assert!(before.is_none(), "lease {} was granted twice", lease.lease);
            }
            Change::LeaseEnded(lease) => {
                let known = self.leases.remove(lease);
                assert!(known.is_some(), "lease {lease} ended and was not there");
            }
            Change::FunctionSeen(name) => {
                assert!(self.functions.insert(name.clone()), "{name} was seen twice");
            }
            Change::RequestKept { request_id, kept } => {
                let before = self.requests.insert(request_id.clone(), *kept);
                assert_eq!(before, None, "request {request_id:?} is kept twice");
                assert!(self.deleted.contains(&kept.job), "its job is gone");
            }
            Change::RequestForgotten(request_id) => {
                let known = self.requests.remove(request_id);
                assert!(known.is_some(), "request {request_id:?} was not kept");
            }
            Change::JobDeleted(job) => {
                let gone = self.jobs.remove(job);
                assert!(
                    gone.is_some_and(|job| job.status.state.is_final()),
                    "job {job} was deleted and had not ended"
                );
                self.deleted.insert(*job);
            }
        }
    }

    fn create(&mut self, record: &Arc<JobRecord>) {
        let (cells, sealed) = match record.source {
            Source::Range { count, .. } => (vec![Cell::FRESH; count as usize], Some(count)),
            Source::Blocks => (Vec::new(), None),
        };
        let status = JobStatus {
            state: JobState::Running,
            sealed,
            failure: None,
            started_ms: None,
            finished_ms: None,
            redrives: 0,
            summary: None,
        };
        let usage = Usage::default();
        let job = JobCells {
            record: Arc::clone(record),
            status,
            cells,
            usage,
        };
        let before = self.jobs.insert(record.id, job);
        assert!(before.is_none(), "job {} was created twice", record.id);
    }

    fn job(&mut self, job: JobId) -> &mut JobCells {
        match self.jobs.get_mut(&job) {
            Some(job) => job,
            None => panic!("a change is of job {job}, which is not there"),
        }
    }

    fn record(&mut self, record: &Record) {
        let id = record.job;
        let job = self.job(id);
        job.usage.add(record.usage);
        let max_attempts = job.record.spec.policy.max_attempts;
        let mut end = |index: Index, cell: Cell| {
            let Some(known) = job.cells.get_mut(index as usize) else {
                panic!("{index} of job {id} was recorded, which there is not");
            };
            assert!(
                !known.is_final(),
                "{index} of job {id} was {known:?} and became {cell:?}"
            );
            *known = cell;
        };
        for (index, output) in outputs(record) {
            end(
                index,
                Cell::Succeeded {
                    output,
                    attempts: record.attempt,
                },
            );
        }
        for failed in &record.failed {
            end(failed.index, Cell::Failed(Box::new(failed.clone())));
        }
        for waiting in &record.waiting {
            let (history, due_ms) = (waiting.history, waiting.due_ms);
            assert!(
                u32::from(history.failed) < max_attempts,
                "{:?} of job {id} waits for an attempt behind the last of {max_attempts}",
                waiting.indices
            );
            for index in waiting.indices.indices() {
                end(index, Cell::Waiting { history, due_ms });
            }
        }
        for index in record.cancelled.indices() {
            end(index, Cell::Cancelled);
        }
    }
}

/// What succeeded by a record, each with its output.
fn outputs(record: &Record) -> Vec<(Index, Bytes)> {
    if record.succeeded.is_empty() {
        return Vec::new();
    }
    let count = record.reported.len();
    let columns = Columns::parse(record.columns.clone(), count, OUTPUT_BYTES_MAX);
    let columns = match columns {
        Ok(columns) => columns,
        Err(error) => panic!("the columns of a record of job {}: {error}", record.job),
    };
    let rows = record.reported.indices().zip(columns.rows());
    let rows = rows.filter(|(index, _)| record.succeeded.contains(*index));
    let outputs: Vec<_> = rows.map(|(index, row)| (index, row.output)).collect();
    assert_eq!(
        outputs.len() as u64,
        record.succeeded.len(),
        "what succeeded was reported"
    );
    outputs
}

impl JobCells {
    /// Its invocations by state; `leased` of those that wait are leased.
    pub(crate) fn counts(&self, leased: u64) -> Counts {
        let count =
            |of: fn(&Cell) -> bool| self.cells.iter().filter(|cell| of(cell)).count() as u64;
        Counts {
            total: self.cells.len() as u64,
            waiting: count(|cell| !cell.is_final()).saturating_sub(leased),
            leased,
            succeeded: count(|cell| matches!(cell, Cell::Succeeded { .. })),
            failed: count(|cell| matches!(cell, Cell::Failed(_))),
            cancelled: count(|cell| matches!(cell, Cell::Cancelled)),
        }
    }
}
