//! Why a request is refused.

use super::id::{Index, JobId};
use super::job::JobState;

/// Why a request was refused. The shell turns each into a status with a reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such function.
    #[error("no function is named {name:?}{}", nearest_words(nearest, *deleted))]
    UnknownFunction {
        /// The name.
        name: String,
        /// Whether one was, and it is known that it was deleted.
        deleted: bool,
        /// Names like it.
        nearest: Vec<String>,
    },
    /// No such version, or it was retired.
    #[error("function {function:?} has no version {number}{}", versions_words(*newest))]
    UnknownVersion {
        /// The function.
        function: String,
        /// What was asked for.
        number: u32,
        /// The newest that takes jobs.
        newest: Option<u32>,
    },
    /// A job that may run one version only cannot run again: that one was deleted.
    #[error(
        "job {job} was submitted with --pin, and the version of {function:?} that it is pinned to was deleted; redrive it to another one with --target {function}"
    )]
    PinnedVersionGone {
        /// The job.
        job: JobId,
        /// The function.
        function: String,
    },
    /// No such alias.
    #[error("function {function:?} has no alias {alias:?}; it has {}", aliases.join(", "))]
    UnknownAlias {
        /// The function.
        function: String,
        /// What was asked for.
        alias: String,
        /// Those there are.
        aliases: Vec<String>,
    },
    /// It was never published.
    #[error(
        "function {function:?} is brought by workers and was not published, so it has no versions or aliases; write {function:?}"
    )]
    NotPublished {
        /// The function.
        function: String,
    },
    /// Workers bring a function of that name.
    #[error(
        "workers bring a function {function:?} themselves, so it cannot be published; publish under another name, or stop those workers"
    )]
    FunctionBrought {
        /// The function.
        function: String,
    },
    /// A worker brings a function whose name is published.
    #[error(
        "function {function:?} is published, so a worker cannot bring one of that name; give the worker's another name, or delete the published one"
    )]
    FunctionPublished {
        /// The function.
        function: String,
    },
    /// Workers are connected, and none that ever was has the runtime.
    #[error(
        "none of the workers connected here ({workers}) can run {runtime}, and none that was since the coordinator started: they were built without it; start a worker of a build that has it (`cargo build --release --features {runtime}`), then publish {function:?} again"
    )]
    NoRuntime {
        /// The function.
        function: String,
        /// The runtime's word.
        runtime: &'static str,
        /// How many workers are connected.
        workers: u64,
    },
    /// As many versions of a function are kept as there may be.
    #[error(
        "function {function:?} has {limit} versions, the most there may be; delete those that are not used: `umbel function delete {function}@NUMBER`"
    )]
    TooManyVersions {
        /// The function.
        function: String,
        /// The limit.
        limit: u64,
    },
    /// As many functions are known as there may be.
    #[error("{limit} functions are known, the most there may be; delete published ones")]
    TooManyFunctions {
        /// The limit.
        limit: u64,
    },
    /// A function has as many aliases as it may.
    #[error("function {function:?} has {limit} aliases, the most there may be")]
    TooManyAliases {
        /// The function.
        function: String,
        /// The limit.
        limit: u64,
    },
    /// An alias points at the version.
    #[error(
        "alias {function}@{alias} points at version {number}; point it elsewhere first, or delete the whole function"
    )]
    VersionInUse {
        /// The function.
        function: String,
        /// The version.
        number: u32,
        /// The alias.
        alias: String,
    },
    /// Another alias's route leads to the version or the function.
    #[error("the route of {alias} leads to {target:?}; set it to lead elsewhere first")]
    RouteInUse {
        /// The alias that leads there.
        alias: String,
        /// What it leads to.
        target: String,
    },
    /// An alias sends everything one way.
    #[error(
        "{alias} has no split between two or more arms, so there is nothing to compare; give it one with a route"
    )]
    NoExperiment {
        /// The alias.
        alias: String,
    },
    /// An alias is rolled out, so nothing else moves it.
    #[error(
        "version {to} is being rolled out on {alias}; finish that first, with `umbel rollout promote {alias}` or `umbel rollout rollback {alias}`"
    )]
    RolloutUnderWay {
        /// The alias.
        alias: String,
        /// The number of the version.
        to: u32,
    },
    /// An alias has no rollout.
    #[error(
        "nothing was rolled out on {alias}; begin with `umbel rollout start {alias} --to VERSION`"
    )]
    NoRollout {
        /// The alias.
        alias: String,
    },
    /// A rollout has ended.
    #[error("the rollout of version {to} on {alias} is over: it was {state}")]
    RolloutOver {
        /// The alias.
        alias: String,
        /// The number of the version.
        to: u32,
        /// How it ended.
        state: &'static str,
    },
    /// A rollout cannot be what was asked for.
    #[error("version {to} cannot be rolled out on {alias}: {why}")]
    RolloutImpossible {
        /// The alias.
        alias: String,
        /// The number of the version.
        to: u32,
        /// Why, and what can be done.
        why: String,
    },
    /// A version may have effects that a copy would have twice.
    #[error(
        "version {number} of {function:?} is not marked pure, so copies of inputs could do twice what is to be done once; publish it with `pure = true`, or insist with --force"
    )]
    NotPure {
        /// The function.
        function: String,
        /// The number of the version.
        number: u32,
    },
    /// An alias has no shadow.
    #[error(
        "nothing is copied from {alias}; begin with `umbel rollout shadow {alias} --to VERSION --sample 5%`"
    )]
    NoShadow {
        /// The alias.
        alias: String,
    },
    /// A route leads back to its own alias.
    #[error(
        "a route of {alias} would lead back to {alias}{}; name a version where it should end",
        through_words(through)
    )]
    RouteLoop {
        /// The alias.
        alias: String,
        /// The aliases on the way.
        through: Vec<String>,
    },
    /// A route leads through too many aliases.
    #[error(
        "a route of {alias} would lead through more than {limit} other aliases that have routes; name versions where it should end"
    )]
    RouteTooLong {
        /// The alias.
        alias: String,
        /// How many are allowed.
        limit: u64,
    },
    /// A route has too much text.
    #[error(
        "the route of {alias} has {bytes} bytes, more than the {limit} that one may have; write shorter rules or names"
    )]
    RouteTooLarge {
        /// The alias.
        alias: String,
        /// What it has.
        bytes: u64,
        /// The most.
        limit: u64,
    },
    /// A route has too much text, with those that it leads through.
    #[error(
        "a route of {alias}, with those of the aliases that it leads through, would have {bytes} bytes, more than the {limit} that they may have together; write shorter rules or names, or name versions where it should end"
    )]
    RouteWayTooLarge {
        /// The alias.
        alias: String,
        /// What they would have.
        bytes: u64,
        /// The most.
        limit: u64,
    },
    /// An alias was never anywhere else.
    #[error(
        "alias {function}@{alias} has pointed nowhere else that is still there; point it with `umbel function point`"
    )]
    NothingToRollBack {
        /// The function.
        function: String,
        /// The alias.
        alias: String,
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
    #[error("job {job} is {}; only a failed or cancelled job is redriven, or what ended on an arm that is named", state.as_str())]
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
        "the store in {data_dir} takes nothing new: {problem}; what runs goes on. Delete \
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

fn versions_words(newest: Option<u32>) -> String {
    newest.map_or_else(
        || "; it was deleted".to_owned(),
        |newest| format!(" that takes jobs; the newest is {newest}"),
    )
}

fn through_words(through: &[String]) -> String {
    if through.is_empty() {
        return " itself".to_owned();
    }
    format!(" through {}", through.join(", "))
}

fn nearest_words(nearest: &[String], deleted: bool) -> String {
    if deleted {
        return "; it was deleted, and may be published again".to_owned();
    }
    if nearest.is_empty() {
        return "; a worker announces its functions when it connects".to_owned();
    }
    format!("; did you mean {}?", nearest.join(", "))
}
