//! What a list of changes says, read as simply as possible: one cell an invocation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use umbel_core::change::{
    Change, FailedRecord, JobRecord, JobStatus, KeptRequest, LeaseRecord, Record,
};
use umbel_core::function::VersionId;
use umbel_core::history::History;
use umbel_core::id::{Index, JobId, LeaseId};
use umbel_core::job::Target;
use umbel_core::job::{BlockRef, Counts, JobState, Source, Usage};
use umbel_core::limit::OUTPUT_BYTES_MAX;
use umbel_core::redrive::Filter;
use umbel_proto::columns::Columns;

use super::published::{Pins, Published, Way};

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
    /// Under which redrive number each ended the last time.
    under: BTreeMap<Index, u32>,
    /// What the latest redrive must make wait again and has not yet, with the version that it keeps.
    again: BTreeMap<Index, Way>,
    /// When it was accepted or redriven, in changes.
    pub(super) since: u64,
    /// The version that it keeps to whatever its target comes to mean.
    pub(super) keeps: Option<VersionId>,
    /// And the ways that its target led then, if it keeps to what it meant.
    pub(super) ways: BTreeSet<Way>,
    /// What each ran the last time, as far as it was recorded.
    ran: BTreeMap<Index, Way>,
    /// The versions that each was leased with, in turns too that were lost with a coordinator: a
    /// worker may have begun it, and offer it to the next.
    pub(super) granted: BTreeMap<Index, BTreeSet<Way>>,
    /// The version of what was leased when the coordinator died.
    pub(super) held: BTreeMap<Index, Way>,
}

/// A redrive that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) filter: Filter,
    /// Whether it names another target.
    pub(crate) elsewhere: bool,
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
    /// What redrives were asked for, by their request ids.
    pub(crate) asked: Arc<BTreeMap<String, Asked>>,
    pub(crate) published: Published,
    pub(crate) pins: Pins,
    /// How many changes there were.
    pub(crate) changes: u64,
}

impl Ledger {
    /// Takes in a change.
    ///
    /// # Panics
    /// When it contradicts what was said before.
    pub(crate) fn apply(&mut self, change: &Change) {
        self.changes += 1;
        match change {
            Change::JobCreated(record) => self.create(record),
            Change::Appended { job, block } => self.append(*job, block),
            Change::JobStatus { job, status } => {
                if status.redrives > self.job(*job).status.redrives {
                    return self.redrive(*job, status);
                }
                let job = self.job(*job);
                job.all_wait_again();
                if status.state == JobState::Succeeded {
                    job.judge_success();
                }
                let known = &mut job.status;
                assert!(
                    !known.state.is_final(),
                    "an ended job ends again: {status:?}"
                );
                assert_eq!(known.redrives, status.redrives, "nobody redrove it");
                assert_eq!(known.redriven, status.redriven, "nobody redrove it");
                assert!(
                    known.sealed.is_none() || known.sealed == status.sealed,
                    "a seal changed: {known:?}, {status:?}"
                );
                *known = status.clone();
            }
            Change::Recorded(record) => self.record(record),
            Change::Granted(lease) => {
                self.judge_version(lease);
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
            Change::Function(_)
            | Change::FunctionRemoved(_)
            | Change::Published(_)
            | Change::VersionRetired { .. }
            | Change::VersionRemoved(_)
            | Change::ArtifactRemoved(_)
            | Change::AliasMoved(_)
            | Change::AliasRemoved { .. }
            | Change::Rollout(_)
            | Change::RolloutRemoved { .. } => self.apply_published(change),
            // What rollouts make of them is compared after each restart.
            Change::ArmCell { .. } | Change::ArmMarked { .. } | Change::ArmForgotten(_) => {}
        }
    }

    fn append(&mut self, job: JobId, block: &BlockRef) {
        let job = self.job(job);
        assert_eq!(
            block.first as usize,
            job.cells.len(),
            "a block leaves no gap"
        );
        let end = job.cells.len() + block.count as usize;
        job.cells.resize(end, Cell::FRESH);
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
            redriven: None,
            pinned: None,
            routing: None,
            summary: None,
        };
        let usage = Usage::default();
        let job = JobCells {
            record: Arc::clone(record),
            status,
            cells,
            usage,
            under: BTreeMap::new(),
            again: BTreeMap::new(),
            since: self.changes,
            keeps: None,
            ways: BTreeSet::new(),
            ran: BTreeMap::new(),
            granted: BTreeMap::new(),
            held: BTreeMap::new(),
        };
        let mut job = job;
        job.keeps = self.pin(&job);
        job.ways = self.pinned_ways(&job);
        let plan = job
            .keeps
            .and_then(|_| self.published.plan(&record.spec.target));
        assert_eq!(
            (record.version, record.routing.is_some()),
            (job.keeps, plan.is_some()),
            "what job {} is pinned to",
            record.id
        );
        let before = self.jobs.insert(record.id, job);
        assert!(before.is_none(), "job {} was created twice", record.id);
    }

    fn job(&mut self, job: JobId) -> &mut JobCells {
        match self.jobs.get_mut(&job) {
            Some(job) => job,
            None => panic!("a change is of job {job}, which is not there"),
        }
    }

    /// A job that ended badly runs again.
    fn redrive(&mut self, id: JobId, status: &JobStatus) {
        let asked = Arc::clone(&self.asked);
        let (changes, published) = (self.changes, self.published.clone());
        let pins = self.pins.contains(&id.0[15]);
        let job = self.job(id);
        let known = &job.status;
        assert!(
            matches!(known.state, JobState::Failed | JobState::Cancelled)
                && status.state == JobState::Running
                && status.redrives == known.redrives + 1
                && status.sealed == u32::try_from(job.cells.len()).ok(),
            "job {id} was {known:?} and was redriven as {status:?}"
        );
        let redriven = status.redriven.as_ref();
        let asked = redriven.and_then(|redriven| asked.get(&redriven.request_id));
        let Some(Asked { filter, elsewhere }) = asked else {
            panic!("nobody asked for {redriven:?}");
        };
        job.all_wait_again();
        let cells = (0..).zip(&job.cells);
        let chosen = cells.filter(|(index, cell)| chooses(filter, *index, cell));
        let chosen =
            chosen.map(|(index, _)| (index, job.kept(&published, status, index, *elsewhere)));
        job.again = chosen.collect();
        job.since = changes;
        job.held.clear();
        if !elsewhere {
            assert!(
                !pins || job.keeps.is_none_or(|id| published.takes_jobs(id)),
                "job {id} is pinned to what was deleted and runs again"
            );
            job.keeps = job.keeps.filter(|id| published.takes_jobs(*id));
            if job.keeps.is_none() {
                job.ways.clear();
            }
        }
        let found = redriven.map(|redriven| redriven.invocations);
        assert_eq!(found, Some(job.again.len() as u64), "what is redriven");
        job.status = status.clone();
        if *elsewhere {
            self.job(id).keeps = None;
            let keeps = self.jobs.get(&id).and_then(|job| self.pin(job));
            self.job(id).keeps = keeps;
            let ways = self.jobs.get(&id).map(|job| self.pinned_ways(job));
            self.job(id).ways = ways.unwrap_or_default();
        }
    }

    fn record(&mut self, record: &Record) {
        let id = record.job;
        let ran = record.version.and_then(|number| {
            let name = record.function.split('@').next().unwrap_or_default();
            Some(self.published.numbered(name, number)?.id)
        });
        assert_eq!(
            ran.is_some(),
            record.version.is_some(),
            "a version that is there ran"
        );
        let job = self.job(id);
        assert_eq!(record.redrive, job.status.redrives, "a record of job {id}");
        if !job.again.is_empty() {
            return job.wait_again(record);
        }
        job.usage.add(record.usage);
        job.note_ran(record, ran);
        let max_attempts = job.record.spec.policy.max_attempts;
        let mut end = |index: Index, cell: Cell| {
            let Some(known) = job.cells.get_mut(index as usize) else {
                panic!("{index} of job {id} was recorded, which there is not");
            };
            assert!(
                !known.is_final(),
                "{index} of job {id} was {known:?} and became {cell:?}"
            );
            if cell.is_final() {
                let before = job.under.insert(index, record.redrive);
                assert!(
                    before.is_none_or(|before| before < record.redrive),
                    "{index} of job {id} ended twice under redrive {before:?}"
                );
            }
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

/// Whether a redrive that was asked for runs an invocation again.
fn chooses(filter: &Filter, index: Index, cell: &Cell) -> bool {
    let within = match &filter.indices {
        Some(indices) => indices.contains(index),
        None => true,
    };
    let any_state = !filter.failed && !filter.cancelled;
    within
        && match cell {
            Cell::Failed(failed) if !filter.types.is_empty() => {
                filter.types.contains(&failed.failure.error_type)
            }
            Cell::Failed(_) => filter.failed || any_state,
            Cell::Cancelled => filter.cancelled || (any_state && filter.types.is_empty()),
            Cell::Waiting { .. } | Cell::Succeeded { .. } => false,
        }
}

impl JobCells {
    /// Takes in what a redrive makes wait again.
    fn wait_again(&mut self, record: &Record) {
        let id = self.record.id;
        let other = record.succeeded.len() + record.cancelled.len() + record.failed.len() as u64;
        assert_eq!(other, 0, "job {id} is not yet redriven in whole");
        for waiting in &record.waiting {
            assert_eq!(waiting.due_ms, 0, "what is redriven is due: {waiting:?}");
            for index in waiting.indices.indices() {
                let Some(version) = self.again.remove(&index) else {
                    panic!("{index} of job {id} was not to be redriven")
                };
                let (arm, version) = version;
                let history = History::redriven(version, arm);
                assert_eq!(waiting.history, history, "{index} of job {id} is redriven");
                self.ran.insert(index, (arm, version));
                if let Some(cell) = self.cells.get_mut(index as usize) {
                    *cell = Cell::Waiting { history, due_ms: 0 };
                }
            }
        }
    }

    /// Which version each ran the last time, as far as a record says.
    fn note_ran(&mut self, record: &Record, ran: Option<VersionId>) {
        let arm = record.arm.as_ref().map(|arm| arm.id);
        let failed = record.failed.iter();
        let failed = failed.map(|failed| (failed.index, (arm, ran)));
        let waiting = record.waiting.iter().flat_map(|waiting| {
            let way = (waiting.history.arm, waiting.history.version);
            waiting.indices.indices().map(move |index| (index, way))
        });
        self.ran.extend(failed.chain(waiting));
    }

    /// The arm and the version that an invocation keeps through a redrive.
    fn kept(
        &self,
        published: &Published,
        status: &JobStatus,
        index: Index,
        elsewhere: bool,
    ) -> Way {
        let Some((arm, Some(version))) = self.ran.get(&index).copied() else {
            return (None, None);
        };
        let name = published
            .version(version)
            .map(|version| version.function.as_str());
        let latest = status
            .redriven
            .as_ref()
            .and_then(|latest| latest.target.as_ref());
        let same = match latest {
            None => true,
            Some(Target::Version(_, umbel_core::function::Qualifier::Version(_))) => false,
            Some(target) => target.function() == name,
        };
        if same && !elsewhere && published.takes_jobs(version) {
            (arm, Some(version))
        } else {
            (None, None)
        }
    }

    pub(super) fn runs(&self) -> bool {
        self.status.state == JobState::Running
    }

    /// Whether a lease is of what was before the latest redrive.
    pub(super) fn is_outdated(&self, lease: LeaseId) -> bool {
        let redriven = self.status.redriven.as_ref();
        redriven.is_some_and(|redriven| lease < redriven.first_lease)
    }

    /// Whether an invocation has ended, though it may have been redriven since.
    pub(crate) fn has_ended(&self, index: Index) -> bool {
        self.under.contains_key(&index)
    }

    /// The redrive number under which an invocation has ended, if it has.
    pub(crate) fn ended_under(&self, index: Index) -> Option<u32> {
        let cell = self.cells.get(index as usize);
        cell.filter(|cell| cell.is_final())?;
        self.under.get(&index).copied()
    }

    /// What was to be redriven is.
    pub(crate) fn all_wait_again(&self) {
        let (id, again) = (self.record.id, &self.again);
        assert!(again.is_empty(), "{again:?} of job {id} were not redriven");
    }

    /// A job succeeds when nothing is left, or enough is there.
    fn judge_success(&self) {
        let counts = self.counts(0);
        let enough = self.record.spec.policy.enough;
        assert!(
            counts.succeeded == counts.total
                || enough.is_some_and(|enough| counts.succeeded >= enough)
                || (counts.cancelled == 0 && counts.waiting == 0 && enough.is_none()),
            "job {} succeeded by {counts:?}, {enough:?} are enough",
            self.record.id
        );
    }

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
