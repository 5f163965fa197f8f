//! Effects that the coordinator's machine asks for. One variant, one effect.

use bytes::Bytes;

use super::change::Change;
use super::cold_start::ColdStart;
use super::id::{Appender, Index, InvokeId, JobId, LeaseId, ReplyId, SessionId};
use super::job::JobState;
use super::message::ToWorker;
use super::outcome::Failure;
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
    /// An invoke has ended.
    Invoked {
        /// The output, or why it failed.
        outcome: Result<Bytes, Failure>,
        /// The worker that ran it.
        worker: String,
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

/// Why a request was refused. The shell turns each into a status with a reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such function.
    #[error("no function is named {name:?}{}", nearest_words(nearest))]
    UnknownFunction {
        /// The name.
        name: String,
        /// Names like it.
        nearest: Vec<String>,
    },
    /// No such job.
    #[error("no job {job}; it may have been deleted, or swept after its time")]
    UnknownJob {
        /// What was asked for.
        job: String,
    },
    /// No such worker.
    #[error("no worker is named {name:?}; `umbel worker list` shows those there are")]
    UnknownWorker {
        /// What was asked for.
        name: String,
    },
    /// The request id belongs to a job with other content.
    #[error("request id {request_id:?} was used for job {job} with other content; use another id")]
    RequestIdReused {
        /// The request id.
        request_id: String,
        /// The job that has it.
        job: JobId,
    },
    /// The request id belongs to a job that was deleted or swept since.
    #[error(
        "request id {request_id:?} made job {job}, which was deleted or swept since; use another id \
         to run it again"
    )]
    RequestIdSpent {
        /// The request id.
        request_id: String,
        /// The job that it made.
        job: JobId,
    },
    /// Appended inputs leave a gap or straddle what is durable.
    #[error(
        "the next input of job {job} has index {next_index}, not {first_index}; go on from {next_index}"
    )]
    AppendGap {
        /// The job.
        job: JobId,
        /// The index that the next input must have.
        next_index: Index,
        /// The index that was sent.
        first_index: Index,
    },
    /// A newer upload of the job was opened.
    #[error("a newer upload of job {job} took over; only one appends at a time")]
    AppendSuperseded {
        /// The job.
        job: JobId,
    },
    /// The job has all its inputs, or another number of them.
    #[error("job {job} is sealed with {total} inputs; it takes no others")]
    JobSealed {
        /// The job.
        job: JobId,
        /// Its number of inputs.
        total: Index,
    },
    /// The total named is not the number of inputs that are there.
    #[error("job {job} has {next_index} inputs, not {total}; append the rest before sealing")]
    SealMismatch {
        /// The job.
        job: JobId,
        /// The number of inputs that are there.
        next_index: Index,
        /// The total that was named.
        total: u64,
    },
    /// The job has ended.
    #[error("job {job} has ended: it is {}", state.as_str())]
    JobFinished {
        /// The job.
        job: JobId,
        /// How it ended.
        state: JobState,
    },
    /// The job has not ended.
    #[error("job {job} has not ended; cancel it first, or wait for its end")]
    JobRunning {
        /// The job.
        job: JobId,
    },
    /// The job ended in a state from which it is not run again.
    #[error("job {job} is {}; only a failed or cancelled job is redriven", state.as_str())]
    NotRedrivable {
        /// The job.
        job: JobId,
        /// How it ended.
        state: JobState,
    },
    /// Nothing of the job is what a redrive asks for.
    #[error(
        "nothing of job {job} is what the redrive asks for; it has {failed} failed and {cancelled} cancelled invocations"
    )]
    NothingToRedrive {
        /// The job.
        job: JobId,
        /// Its failed invocations.
        failed: u64,
        /// Its cancelled invocations.
        cancelled: u64,
    },
    /// What a redrive asks for lies in too many pieces.
    #[error(
        "the invocations of job {job} to be redriven lie in {runs} runs of indices, the limit is {limit}; redrive a part of them by --index"
    )]
    RedriveTooLarge {
        /// The job.
        job: JobId,
        /// The runs.
        runs: u64,
        /// The limit.
        limit: u64,
    },
    /// The job was redriven too often.
    #[error("job {job} was redriven {limit} times, the most there may be; submit another job")]
    TooManyRedrives {
        /// The job.
        job: JobId,
        /// The limit.
        limit: u32,
    },
    /// The job changed while its records were read.
    #[error("job {job} changed while its records were read; try again")]
    JobChanged {
        /// The job.
        job: JobId,
    },
    /// The job would have more inputs than the limit.
    #[error("a job has at most {limit} inputs, this one would have {count}; split it")]
    TooManyInputs {
        /// The number it would have.
        count: u64,
        /// The limit.
        limit: u64,
    },
    /// The store takes no new work.
    #[error(
        "the store in {data_dir} takes no new jobs and inputs: {problem}; what runs goes on. Delete \
         ended jobs (`umbel job delete`), let them be swept (keep_ms, keep_bytes), or {way_out}"
    )]
    StoreFull {
        /// The data directory.
        data_dir: String,
        /// The option that bounds it.
        option: &'static str,
        /// How much there is, and of what, in words.
        problem: String,
        /// What else helps.
        way_out: &'static str,
        /// How many bytes there are.
        bytes: u64,
        /// The bound, in bytes.
        limit: u64,
    },
    /// As many streams of a kind are open as there may be.
    #[error("{limit} {kind} are open, the most there may be; end some of them, or try again later")]
    TooManyStreams {
        /// What kind.
        kind: &'static str,
        /// The limit.
        limit: u64,
    },
    /// Too many jobs are kept.
    #[error("{limit} jobs are kept, the most there may be; delete ended ones")]
    TooManyJobs {
        /// The limit.
        limit: u64,
    },
    /// Too many invokes wait or run.
    #[error(
        "there is no room for an invoke of {target}: as many wait or run as there may be; try again later or submit a job"
    )]
    NoSlot {
        /// What should have run.
        target: String,
        /// How long it would have been waited for.
        timeout_ms: u64,
    },
    /// No worker that was there in time could run an invoke.
    #[error(
        "no connected worker could run {target} within {timeout_ms} ms: {missing}; start a worker that can"
    )]
    NoAbleWorker {
        /// What should have run.
        target: String,
        /// How long was waited.
        timeout_ms: u64,
        /// What the workers lack, in words.
        missing: String,
    },
    /// The time of an invoke passed while a worker had it.
    #[error(
        "{target} ran out of its {timeout_ms} ms on worker {worker:?}, which gave no outcome; allow more time, or start more workers if its slots are taken"
    )]
    InvokeTimeout {
        /// What was to run.
        target: String,
        /// How long was waited.
        timeout_ms: u64,
        /// The worker.
        worker: String,
    },
    /// The worker that ran an invoke was lost.
    #[error("worker {worker:?} was lost while it ran the invocation; it may have run in part")]
    InvokeLost {
        /// The worker.
        worker: String,
    },
    /// A live worker bears the name.
    #[error(
        "a live worker bears the name {name:?}; choose another with --name, or stop that worker"
    )]
    WorkerNameTaken {
        /// The name.
        name: String,
    },
    /// Another process of the same worker id took over.
    #[error("a newer session of worker {name:?} took over")]
    SessionSuperseded {
        /// The worker's name.
        name: String,
    },
    /// The worker speaks another protocol.
    #[error(
        "the worker speaks protocol {theirs}, this coordinator {ours}; run the same version of umbel on both"
    )]
    ProtocolMismatch {
        /// The worker's.
        theirs: u32,
        /// The coordinator's.
        ours: u32,
    },
    /// The session said something it may not say.
    #[error("the worker broke the protocol: {what}")]
    ProtocolBroken {
        /// What it did.
        what: String,
    },
    /// The session gave no sign of life.
    #[error("no sign of life for {silent_ms} ms")]
    SessionSilent {
        /// For how long.
        silent_ms: u64,
    },
    /// Too many sessions.
    #[error("{limit} workers are connected, the most there may be")]
    TooManySessions {
        /// The limit.
        limit: u64,
    },
}

fn nearest_words(nearest: &[String]) -> String {
    if nearest.is_empty() {
        return "; a worker announces its functions when it connects".to_owned();
    }
    format!("; did you mean {}?", nearest.join(", "))
}

/// Why a message had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ignored {
    /// The session is not known, or has been superseded.
    UnknownSession,
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
    ColdStart(ColdStart),
    /// An invoke was placed.
    InvokePlaced {
        /// Its number.
        id: InvokeId,
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
