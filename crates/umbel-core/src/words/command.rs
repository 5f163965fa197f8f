//! Effects that the coordinator's machine asks for. One variant, one effect.

use std::sync::Arc;

use bytes::Bytes;

use super::change::Change;
use super::cold_start::ColdStart;
use super::function::{Alias, Runtime, Version};
use super::id::{Appender, Index, InvokeId, JobId, LeaseId, ReplyId, SessionId};
use super::job::JobState;
use super::message::ToWorker;
use super::outcome::Failure;
pub use super::refusal::Refusal;
use super::rollout::{RolloutState, RolloutView};
use super::route::{RouteTally, Routing, Sorting};
use super::view::JobView;

/// One effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Write this with the turn's batch.
    Persist(Change),
    /// Answer, once the turn's batch is durable.
    Reply {
        /// Who waits.
        to: ReplyId,
        /// The answer.
        reply: Reply,
    },
    /// Say this to a worker at once.
    Send {
        /// Its session.
        session: SessionId,
        /// What to say.
        message: ToWorker,
    },
    /// Say this to a worker once the turn's batch is durable.
    SendDurable {
        /// Its session.
        session: SessionId,
        /// What to say.
        message: ToWorker,
    },
    /// End a session, with the reason for the worker.
    Close {
        /// Its session.
        session: SessionId,
        /// Why.
        refusal: Refusal,
    },
    /// A job's view has changed; tell its watchers once the turn's batch is durable.
    JobChanged(JobId),
    /// A message was stale, repeated or unknown, and had no effect. Count it.
    Ignored(Ignored),
    /// Ask a routing about some inputs, and hand in the column.
    Sort(Box<Sorting>),
    /// Copy inputs to this job of copies as those of the job that it is of come in.
    Feed(JobId),
    /// Something a person who operates the cluster wants to read in the log.
    Note(Note),
}

/// An answer to a client.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The job, new or known by its request id.
    Created {
        /// The job.
        job: Box<JobView>,
        /// Whether the request id was known.
        existed: bool,
        /// Things worth a person's notice.
        warnings: Vec<String>,
    },
    /// The upload is open.
    AppendOpened {
        /// Its number.
        appender: Appender,
        /// The index that the next input will have.
        next_index: Index,
    },
    /// The block is accepted.
    Appended {
        /// The index that the next input will have.
        next_index: Index,
    },
    /// The job after the change that was asked for.
    Job(Box<JobView>),
    /// The job runs again.
    Redriven {
        /// The job.
        job: Box<JobView>,
        /// How many invocations run again.
        invocations: u64,
        /// Whether the request id was known, so that nothing new began.
        existed: bool,
        /// Things worth a person's notice.
        warnings: Vec<String>,
    },
    /// It is done, and there is nothing to show.
    Done,
    /// The version, new or there already.
    Published {
        /// The version.
        version: Arc<Version>,
        /// Whether it was there already.
        existed: bool,
        /// Where the function's `live` alias points now.
        live: u32,
    },
    /// The artifact is not there any more: stage it, then publish again.
    ArtifactMissing,
    /// Where an alias points now.
    Alias(Box<Alias>),
    /// A rollout.
    Rollout(Box<RolloutView>),
    /// What is to be invoked depends on the input: ask this about it, then ask again.
    Undecided(Arc<Routing>),
    /// How far a version stands ready.
    Warm {
        /// Workers that can run it.
        workers: u32,
        /// Instances that they are to keep ready; 0: the version asks for none.
        kept: u64,
        /// How many of those stand ready.
        ready: u64,
    },
    /// An invoke has ended.
    Invoked {
        /// The output, or why it failed.
        outcome: Result<Bytes, Failure>,
        /// The worker that ran it.
        worker: String,
        /// The function that ran.
        function: String,
        /// The number of the version that ran.
        version: Option<u32>,
        /// The name of the arm that it ran for, where rules or a split decided.
        arm: Option<Arc<str>>,
        /// How long it ran.
        duration_us: u64,
        /// Its processor time, where it was measured.
        cpu_us: Option<u64>,
        /// What it took to have an instance, where none stood ready.
        cold_start: Option<ColdStart>,
    },
    /// It was refused.
    Refused(Refusal),
}

/// Why a message had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ignored {
    /// The session is not known, or has been superseded.
    UnknownSession,
    /// The column is of a route that is no more, or was not asked for.
    OutdatedColumn,
    /// The lease has ended or was never granted to this worker.
    StaleLease,
    /// Some of a report's indices were not open under its lease.
    MaskedIndices,
    /// The report was handled before.
    RepeatedReport,
    /// The invoke is not waiting.
    UnknownInvoke,
    /// Nobody asked for what was taken back.
    UnaskedTakenBack,
}

impl Ignored {
    /// The label that metrics bear.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownSession => "unknown_session",
            Self::OutdatedColumn => "outdated_column",
            Self::StaleLease => "stale_lease",
            Self::MaskedIndices => "masked_indices",
            Self::RepeatedReport => "repeated_report",
            Self::UnknownInvoke => "unknown_invoke",
            Self::UnaskedTakenBack => "unasked_taken_back",
        }
    }
}

/// What an operator wants to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A worker joined.
    WorkerJoined {
        /// Its name.
        name: String,
        /// Its slots.
        slots: u32,
        /// Leases it kept from before.
        kept: usize,
    },
    /// A worker was lost with work.
    WorkerLost {
        /// Its name.
        name: String,
        /// Invocations that wait again.
        invocations: u64,
    },
    /// A worker left in order.
    WorkerLeft {
        /// Its name.
        name: String,
    },
    /// A job has ended.
    JobEnded {
        /// The job.
        job: JobId,
        /// How.
        state: JobState,
    },
    /// An ended job was swept.
    JobSwept {
        /// The job.
        job: JobId,
        /// Why it went.
        why: Swept,
    },
    /// An ended job runs again.
    JobRedriven {
        /// The job.
        job: JobId,
        /// The redrive number.
        redrive: u32,
        /// How many invocations run again.
        invocations: u64,
    },
    /// An invocation met the crash limit.
    CrashLimit {
        /// Its job.
        job: JobId,
        /// Which input.
        index: Index,
    },
    /// An invocation had to wait for an instance.
    ColdStart {
        /// What runs it; none: a worker brings it.
        runtime: Option<Runtime>,
        /// What it took.
        parts: ColdStart,
    },
    /// An invoke was placed.
    InvokePlaced {
        /// Its number.
        id: InvokeId,
    },
    /// A version was published.
    VersionPublished {
        /// The function.
        function: String,
        /// The version's number.
        number: u32,
        /// Who published it.
        by: String,
    },
    /// Inputs were routed.
    Routed(RouteTally),
    /// An alias points somewhere else.
    AliasMoved {
        /// The function.
        function: String,
        /// The alias.
        alias: String,
        /// The version's number.
        to: u32,
        /// Who moved it.
        by: String,
    },
    /// A rollout is in another state, or at another step.
    RolloutMoved {
        /// Its alias.
        alias: String,
        /// The number of the version that is rolled out.
        to: u32,
        /// Its state.
        state: RolloutState,
        /// How much the version has of what the old one had, in hundredths of a percent.
        share: u16,
        /// Who did it; empty: it did so by itself.
        by: String,
        /// Why.
        why: String,
    },
    /// A lease expired.
    LeaseExpired {
        /// The lease.
        lease: LeaseId,
    },
}

/// Why an ended job was swept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swept {
    /// It was kept for as long as it should be.
    Age,
    /// There was more in the store than should be kept.
    Size,
}

impl Swept {
    /// The label that metrics bear.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Size => "size",
        }
    }
}
