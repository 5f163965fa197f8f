//! What workers and the coordinator say to each other, once it is known to be
//! well formed.

use std::sync::Arc;

use bytes::Bytes;

use super::cold_start::ColdStart;
use super::function::{Holdings, Keep, Runtimes, Version, VersionId};
use super::histogram::Histogram;
use super::id::{InvokeId, JobId, LeaseId, WorkerId};
use super::job::{BlockRef, Target, Usage};
use super::outcome::{FailedAttempt, Failure};
use super::policy::Labels;
use super::ranges::Ranges;
use super::route::ArmId;

/// From a worker, behind its hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromWorker {
    /// A sign of life, with how far each lease has begun.
    Heartbeat(Vec<Begun>),
    /// What it has of versions is now this.
    Holds(Holdings),
    /// Outcomes.
    Report(Report),
    /// The answer to a take-back.
    TakenBack(TakenBack),
    /// It takes nothing new and will leave.
    Leaving,
    /// The outcome of an invoke.
    InvokeDone(InvokeDone),
}

/// From the coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToWorker {
    /// The session stands.
    Welcome(Welcome),
    /// What a version is; said before anything else of it in a session.
    Version(Arc<Version>),
    /// All versions that are to stand ready from now on; what is not named need not any more. A
    /// session begins with none.
    Keep(Vec<Keep>),
    /// Work.
    Grant(Grant),
    /// The report of this number, and all before it, are durable.
    Ack(u64),
    /// Asks for what was not begun.
    TakeBack {
        /// Of which lease.
        lease: LeaseId,
        /// How many of those not begun the worker keeps.
        keep: u32,
    },
    /// These leases have ended; stop their invocations and report nothing.
    Revoke(Vec<LeaseId>),
    /// Take nothing new, finish, leave.
    Drain,
    /// One invocation to be run at once.
    Invoke(Invoke),
    /// An invocation nobody waits for any more.
    InvokeCancel(InvokeId),
}

/// A worker introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The protocol's version.
    pub protocol: u32,
    /// The worker process.
    pub worker: WorkerId,
    /// Its name.
    pub name: String,
    /// How many invocations it runs at a time, at least 1.
    pub slots: u32,
    /// Its labels.
    pub labels: Labels,
    /// The functions it has.
    pub functions: Vec<String>,
    /// Whether it runs programs that a job brings.
    pub runs_programs: bool,
    /// What it can run of published functions.
    pub runtimes: Runtimes,
    /// What it has of them already.
    pub holdings: Holdings,
    /// Its version of umbel.
    pub version: String,
    /// What it holds from an earlier session.
    pub offers: Vec<Offer>,
}

/// What a worker holds of one lease: not reported, or not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The lease under which it was granted.
    pub lease: LeaseId,
    /// The job.
    pub job: JobId,
    /// The indices.
    pub indices: Ranges,
    /// The number of the attempt as which it was granted, from 1.
    pub attempt: u32,
    /// The version that it runs.
    pub version: Option<VersionId>,
    /// The arm that it runs for, as the worker was told.
    pub arm: Option<ArmId>,
}

/// The coordinator accepts a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// How often to give a sign of life.
    pub heartbeat_ms: u64,
    /// The coordinator's epoch.
    pub epoch: u32,
    /// What becomes of each offer, in order.
    pub answers: Vec<OfferAnswer>,
}

/// What becomes of an offer; what is not kept is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferAnswer {
    /// The lease it had.
    pub old_lease: LeaseId,
    /// The lease it has now and what is kept under it, if anything.
    pub kept: Option<(LeaseId, Ranges)>,
    /// How many slots what is kept may use at a time; others may have got some of
    /// those that it had. 0 when nothing is kept.
    pub slots: u32,
}

/// What a grant says, apart from where its inputs lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantHead {
    /// The lease.
    pub lease: LeaseId,
    /// The job.
    pub job: JobId,
    /// What runs; a published function by its bare name.
    pub target: Target,
    /// Which version of it.
    pub version: Option<VersionId>,
    /// The arm of an alias that it runs for. The worker only says it again in an [`Offer`]: a
    /// coordinator that dies may forget what it granted last.
    pub arm: Option<ArmId>,
    /// The invocations.
    pub indices: Ranges,
    /// The number of the attempt that this is, from 1.
    pub attempt: u32,
    /// How long one attempt may run.
    pub timeout_ms: Option<u64>,
    /// How many slots it may use at a time.
    pub slots: u32,
    /// Of which invocations that succeed the log is kept; see [`super::policy::keeps_log`].
    pub log_basis_points: u32,
}

/// Work: invocations of one job that travel together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What runs, and how.
    pub head: GrantHead,
    /// Where the inputs lie. The outbox loads them.
    pub inputs: GrantInputs,
}

/// Where the inputs of a grant lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantInputs {
    /// Input i is the decimal number `begin + i`.
    Range {
        /// The number that input 0 is.
        begin: u64,
    },
    /// In these blocks, ascending; each holds at least one of the indices.
    Blocks(Vec<BlockRef>),
}

/// How far a lease has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The lease.
    pub lease: LeaseId,
    /// How many of its invocations have begun, in the order of its indices.
    pub count: u32,
}

/// Outcomes, numbered by the worker within the session from 1 without gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its number.
    pub number: u64,
    /// What happened under each lease.
    pub chunks: Vec<ChunkReport>,
}

/// What happened under one lease since the report before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkReport {
    /// How far the lease has begun.
    pub begun: Begun,
    /// What succeeded.
    pub succeeded: Ranges,
    /// Outputs and figures of what succeeded, encoded by the worker and checked
    /// at the door; stored as they came.
    pub columns: Bytes,
    /// What was printed by what succeeded, as far as it is kept; checked at the door, and stored
    /// as it came.
    pub logs: Bytes,
    /// What failed.
    pub failed: Vec<FailedAttempt>,
    /// What the attempts named here used; `attempts` is their number.
    pub usage: Usage,
    /// What is handed back unrun.
    pub handed_back: Ranges,
    /// How long the attempts named here ran that had a warm instance, or needed none.
    pub warm: Histogram,
    /// The cold starts among the attempts named here.
    pub cold: Vec<ColdRun>,
}

/// An attempt that was a cold start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColdRun {
    /// How long it ran, the cold start in it.
    pub duration_us: u64,
    /// The parts of the cold start.
    pub parts: ColdStart,
}

/// What a worker gives back on being asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenBack {
    /// How far the lease has begun.
    pub begun: Begun,
    /// What it gives back; may be empty.
    pub indices: Ranges,
}

/// One invocation to be run ahead of everything that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoke {
    /// Its number.
    pub id: InvokeId,
    /// What runs; a published function by its bare name.
    pub target: Target,
    /// Which version of it.
    pub version: Option<VersionId>,
    /// The input.
    pub input: Bytes,
    /// How long it may run.
    pub timeout_ms: u64,
}

/// How an invoke ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvokeDone {
    /// Its number.
    pub id: InvokeId,
    /// The output, or why it failed.
    pub outcome: Result<Bytes, Failure>,
    /// How long it ran.
    pub duration_us: u64,
    /// Processor time, where it was measured.
    pub cpu_us: Option<u64>,
    /// What it took to have an instance, where none stood ready.
    pub cold_start: Option<ColdStart>,
}
