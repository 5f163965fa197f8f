//! Facts that come into the coordinator's machine.

use bytes::Bytes;

use super::command::Refusal;
use super::function::{Artifact, Digest, VersionSpec};
use super::id::{Appender, InvokeId, JobId, ReplyId, SessionId};
use super::job::{BlockRef, JobSpec, Source, Target};
use super::message::{FromWorker, Hello};
use super::redrive::Redrive;
use super::rollout::{RolloutMove, RolloutWish};
use super::route::{Column, Decision, RouteWish};
use super::shadow::ShadowWish;

/// One fact.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A client asks for a job.
    CreateJob {
        /// Who waits.
        reply: ReplyId,
        /// What is asked for.
        proposal: Box<Proposal>,
    },
    /// A client opens an upload; it supersedes an older one of the job.
    OpenAppend {
        /// Who waits.
        reply: ReplyId,
        /// The job.
        job: JobId,
    },
    /// A block was staged.
    Append {
        /// Who waits.
        reply: ReplyId,
        /// The job.
        job: JobId,
        /// The block; its appender says which upload staged it.
        block: BlockRef,
    },
    /// A client says how many inputs there are.
    Seal {
        /// Who waits.
        reply: ReplyId,
        /// The job.
        job: JobId,
        /// The number of inputs.
        total: u64,
    },
    /// A client ends a job.
    Cancel {
        /// Who waits.
        reply: ReplyId,
        /// The job.
        job: JobId,
    },
    /// A client runs again what of an ended job failed or was not run.
    Redrive {
        /// Who waits.
        reply: ReplyId,
        /// The job.
        job: JobId,
        /// What is asked for.
        redrive: Box<Redrive>,
    },
    /// A client forgets an ended job.
    Delete {
        /// Who waits.
        reply: ReplyId,
        /// The job.
        job: JobId,
    },
    /// A client wants one invocation at once.
    Invoke {
        /// Who waits.
        reply: ReplyId,
        /// Its number, chosen by the shell.
        id: InvokeId,
        /// What runs.
        target: Target,
        /// The input.
        input: Bytes,
        /// How long it may wait and run.
        timeout_ms: u64,
        /// What the routing of a revision said of the input, if it was asked.
        decided: Option<(u64, Decision)>,
    },
    /// The client of an invoke went away.
    InvokeAbandoned(InvokeId),
    /// A client publishes a version.
    Publish {
        /// Who waits.
        reply: ReplyId,
        /// What is published.
        publication: Box<Publication>,
    },
    /// A client points an alias at a version.
    Point {
        /// Who waits.
        reply: ReplyId,
        /// The function.
        function: String,
        /// The alias.
        alias: String,
        /// The number of the version.
        to: u32,
        /// Who asks.
        by: String,
    },
    /// A client takes an alias back to where it pointed before.
    RollBack {
        /// Who waits.
        reply: ReplyId,
        /// The function.
        function: String,
        /// The alias.
        alias: String,
        /// Who asks.
        by: String,
    },
    /// A client sets the rules and the split of an alias.
    SetRoute {
        /// Who waits.
        reply: ReplyId,
        /// What is asked for.
        wish: Box<RouteWish>,
    },
    /// Inputs were sorted by what a routing says of them.
    Sorted(Box<Column>),
    /// A client begins to roll out a version.
    StartRollout {
        /// Who waits.
        reply: ReplyId,
        /// What is asked for.
        wish: Box<RolloutWish>,
    },
    /// A client changes the state of a rollout.
    MoveRollout {
        /// Who waits.
        reply: ReplyId,
        /// The function.
        function: String,
        /// The alias.
        alias: String,
        /// To what.
        to: RolloutMove,
        /// Who asks.
        by: String,
    },
    /// A client wants copies of what is submitted over an alias to run on another version.
    SetShadow {
        /// Who waits.
        reply: ReplyId,
        /// What is asked for.
        wish: Box<ShadowWish>,
    },
    /// A client wants no more of those.
    StopShadow {
        /// Who waits.
        reply: ReplyId,
        /// The function.
        function: String,
        /// The alias.
        alias: String,
    },
    /// A client retires a version, or a whole function.
    Retire {
        /// Who waits.
        reply: ReplyId,
        /// The function.
        function: String,
        /// The number of the version; none: all of them.
        number: Option<u32>,
    },
    /// A client wants a version to stand ready before an alias points at it, and asks how far
    /// that is. Said again, or it is forgotten after a while.
    Warm {
        /// Who waits.
        reply: ReplyId,
        /// The function.
        function: String,
        /// The number of the version.
        number: u32,
    },
    /// Somebody asks a worker to leave.
    Drain {
        /// Who waits.
        reply: ReplyId,
        /// The worker's name.
        worker: String,
    },
    /// A worker introduces itself.
    Hello {
        /// Its session.
        session: SessionId,
        /// What it says.
        hello: Box<Hello>,
    },
    /// A worker says something.
    Worker {
        /// Its session.
        session: SessionId,
        /// What it says.
        message: FromWorker,
    },
    /// Bytes were heard of a session since the last such event.
    Heard(SessionId),
    /// A session's stream has ended.
    SessionEnded(SessionId),
    /// So much is in the store, and nothing of deleted jobs is left in it.
    Stored {
        /// Bytes of keys and values.
        live_bytes: u64,
    },
    /// The inputs of a grant could not be loaded: the worker never got it.
    GrantUnreadable {
        /// Its session.
        session: SessionId,
        /// The lease.
        lease: super::id::LeaseId,
        /// Why, in words.
        reason: String,
    },
}

/// A job that is asked for, with what only the shell can make.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// The id it will have, if it is new.
    pub id: JobId,
    /// What to run.
    pub spec: JobSpec,
    /// Where the inputs come from.
    pub source: Source,
    /// The inline inputs, already staged under `id` by appender 0.
    pub blocks: Vec<BlockRef>,
    /// Whether these are all the inputs.
    pub seal: bool,
    /// What makes the request idempotent; empty: nothing.
    pub request_id: String,
    /// A digest of spec and inputs.
    pub content_digest: [u8; 32],
    /// Why there is no room for a new job, if so; a repeat is answered all the same.
    pub refusal: Option<Refusal>,
}

/// A version that is published, with what only the shell can make.
#[derive(Clone, Debug, PartialEq)]
pub struct Publication {
    /// The function.
    pub function: String,
    /// How it is run.
    pub spec: VersionSpec,
    /// Its artifact; staged under its upload, unless the shell saw it there already.
    pub artifact: Artifact,
    /// Whether the artifact was staged for this publication.
    pub staged: bool,
    /// The digest of spec and artifact.
    pub content: Digest,
    /// Who publishes.
    pub by: String,
    /// Why there is no room for a new version, if so; a repeat is answered all the same.
    pub refusal: Option<Refusal>,
}

/// The upload that staged the inline inputs of `CreateJob`.
pub const INLINE: Appender = Appender(0);
