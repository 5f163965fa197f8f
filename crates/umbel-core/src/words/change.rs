//! Durable facts. What a machine has told the store in changes is all that a
//! restart knows; a restore feeds the same changes back.

use std::sync::Arc;

use bytes::Bytes;

use super::arm::ArmFigures;
use super::cold_start::ColdStart;
use super::function::{Alias, FunctionRecord, UploadId, Version, VersionId};
use super::history::History;
use super::id::{Index, JobId, LeaseId, WorkerId};
use super::job::{BlockRef, Counts, JobFailure, JobSpec, JobState, Source, Target, Usage};
use super::outcome::Failure;
use super::ranges::Ranges;
use super::redrive::Redriven;
use super::rollout::Rollout;
use super::route::{ArmId, RanArm, Routing};
use super::shadow::ShadowOf;

/// One durable fact. All changes of a turn are one atomic batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A job was accepted.
    JobCreated(Arc<JobRecord>),
    /// A block of inputs was accepted; it was staged earlier in the same order.
    Appended {
        /// The job.
        job: JobId,
        /// The block.
        block: BlockRef,
    },
    /// A job's status is now this.
    JobStatus {
        /// The job.
        job: JobId,
        /// Its status.
        status: JobStatus,
    },
    /// Something happened to invocations of a job.
    Recorded(Box<Record>),
    /// A lease was granted. Written with the turn, but nothing waits for it.
    Granted(LeaseRecord),
    /// A lease has ended.
    LeaseEnded(LeaseId),
    /// A function's name was announced for the first time.
    FunctionSeen(String),
    /// A function was published, or deleted.
    Function(FunctionRecord),
    /// A deleted function is forgotten: nothing that is kept could mean it.
    FunctionRemoved(String),
    /// A version was published; its artifact was staged earlier in the same order, or is
    /// another version's too.
    Published(Arc<Version>),
    /// A version takes no new jobs.
    VersionRetired {
        /// The version.
        id: VersionId,
        /// When, milliseconds since 1970.
        at_ms: u64,
    },
    /// A retired version is forgotten: no job needs it any more.
    VersionRemoved(VersionId),
    /// No version needs an artifact any more.
    ArtifactRemoved(UploadId),
    /// An alias points somewhere else.
    AliasMoved(Alias),
    /// An alias went with its function.
    AliasRemoved {
        /// The function.
        function: String,
        /// The alias.
        name: String,
    },
    /// The figures of an arm in one cell of time are now these.
    ArmCell {
        /// The arm.
        arm: ArmId,
        /// When the cell begins, milliseconds since 1970.
        begin_ms: u64,
        /// The figures; none: the cell has joined an earlier one.
        figures: Option<Box<ArmFigures>>,
    },
    /// The alias of an arm has moved.
    ArmMarked {
        /// The arm.
        arm: ArmId,
        /// When, milliseconds since 1970.
        at_ms: u64,
        /// All that had come of the arm before.
        figures: Box<ArmFigures>,
    },
    /// Nothing is known of an arm's figures any more; its cells went before.
    ArmForgotten(ArmId),
    /// A rollout is now this; there is one for each alias.
    Rollout(Box<Rollout>),
    /// A rollout went with its alias.
    RolloutRemoved {
        /// The function.
        function: String,
        /// The alias.
        alias: String,
    },
    /// A job and all that belongs to it is forgotten.
    JobDeleted(JobId),
    /// The request id of a job that is forgotten is known for a while yet.
    RequestKept {
        /// The request id.
        request_id: String,
        /// What is left of its job.
        kept: KeptRequest,
    },
    /// A request id may make a job again.
    RequestForgotten(String),
}

/// What a request id that outlives its job remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptRequest {
    /// The job that it made.
    pub job: JobId,
    /// Until when, milliseconds since 1970.
    pub until_ms: u64,
}

/// A job as it was accepted. Never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRecord {
    /// The job.
    pub id: JobId,
    /// What was asked for.
    pub spec: JobSpec,
    /// Where the inputs come from.
    pub source: Source,
    /// What made the request idempotent; empty: nothing did.
    pub request_id: String,
    /// A digest of spec and inline inputs, to tell a repeat from a reuse.
    pub content_digest: [u8; 32],
    /// When it was accepted, milliseconds since 1970.
    pub created_ms: u64,
    /// The version that all its invocations run: its target named one, or its policy pins.
    /// Where its status says another, that one counts.
    pub version: Option<VersionId>,
    /// The rules and splits that it keeps to, where its policy pins and its alias had any.
    pub routing: Option<Arc<Routing>>,
    /// What it runs copies of; none: its inputs are its own.
    pub shadow_of: Option<ShadowOf>,
}

/// What changes about a job, apart from its invocations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobStatus {
    /// Where it stands.
    pub state: JobState,
    /// The number of its inputs, once that is known.
    pub sealed: Option<u32>,
    /// Why it failed, if it did.
    pub failure: Option<JobFailure>,
    /// When its first invocation was granted, milliseconds since 1970.
    pub started_ms: Option<u64>,
    /// When it ended, milliseconds since 1970.
    pub finished_ms: Option<u64>,
    /// How often it was run again.
    pub redrives: u32,
    /// How it was run again the last time.
    pub redriven: Option<Arc<Redriven>>,
    /// The version that it keeps to since it was accepted: its function was deleted meanwhile, or
    /// it was redriven to another target and its policy pins.
    pub pinned: Option<VersionId>,
    /// The rules and splits that it keeps to with that.
    pub routing: Option<Arc<Routing>>,
    /// Its figures, once it has ended; a running job's follow from its records.
    pub summary: Option<Summary>,
}

impl JobStatus {
    /// What runs the job of this status: what it was accepted with, or what it was
    /// redriven to.
    #[must_use]
    pub fn target<'a>(&'a self, record: &'a JobRecord) -> &'a Target {
        let other = self.redriven.as_ref();
        let other = other.and_then(|redriven| redriven.target.as_ref());
        other.unwrap_or(&record.spec.target)
    }
}

/// The figures of an ended job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Invocations by state.
    pub counts: Counts,
    /// What its attempts used.
    pub usage: Usage,
}

/// What one report, loss, cancel or expiry did to invocations of one job. The
/// records of a job in the order of their commits are its whole story.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// The job.
    pub job: JobId,
    /// The redrive number under which it happened.
    pub redrive: u32,
    /// The worker whose report this is; empty if no worker's.
    pub worker: Arc<str>,
    /// What ran, as people see it.
    pub function: Arc<str>,
    /// The number of the version that ran, where one was published.
    pub version: Option<u32>,
    /// The arm that it ran for, where rules or a split decided.
    pub arm: Option<RanArm>,
    /// Attempts that the succeeded ones have needed.
    pub attempt: u32,
    /// What `columns` covers, in its order: a superset of `succeeded`.
    pub reported: Ranges,
    /// What succeeded and counts.
    pub succeeded: Ranges,
    /// Outputs and figures, as the worker sent them.
    pub columns: Bytes,
    /// What was printed by some of `reported`, as the worker sent it.
    pub logs: Bytes,
    /// What failed for good.
    pub failed: Vec<FailedRecord>,
    /// What waits again, with its new history.
    pub waiting: Vec<WaitingRecord>,
    /// What was cancelled.
    pub cancelled: Ranges,
    /// What the attempts that ended here used.
    pub usage: Usage,
}

/// An invocation that failed for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedRecord {
    /// Which input.
    pub index: Index,
    /// Why.
    pub failure: Failure,
    /// Attempts that were made.
    pub attempts: u32,
    /// When the final attempt began, microseconds since 1970; 0: not known.
    pub started_at_us: u64,
    /// How long the final attempt ran.
    pub duration_us: u64,
    /// Its processor time, where it was measured.
    pub cpu_us: Option<u64>,
    /// What it took to have an instance, where none stood ready.
    pub cold_start: Option<ColdStart>,
}

/// Invocations that wait again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingRecord {
    /// Which.
    pub indices: Ranges,
    /// What has happened to each of them so far.
    pub history: History,
    /// When they may run again, milliseconds since 1970; 0: at once.
    pub due_ms: u64,
}

/// A lease as it was granted. After a restart what it covers is held back until
/// its worker returned or a while has passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// The lease.
    pub lease: LeaseId,
    /// The worker process that holds it.
    pub worker: WorkerId,
    /// The job.
    pub job: JobId,
    /// The invocations.
    pub indices: Ranges,
    /// The version that they run.
    pub version: Option<VersionId>,
    /// The arm that they run for.
    pub arm: Option<ArmId>,
}
