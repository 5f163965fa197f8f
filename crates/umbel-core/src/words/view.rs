//! What the coordinator's machine shows of itself.

use std::sync::Arc;

use super::arm::ArmFigures;
use super::change::{JobRecord, JobStatus};
use super::function::{Alias, Runtimes, Version};
use super::history::History;
use super::job::{Counts, Target, Usage};
use super::policy::Labels;
use super::route::{ArmId, Key};

/// A job as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct JobView {
    /// As it was accepted.
    pub record: Arc<JobRecord>,
    /// What has changed since.
    pub status: JobStatus,
    /// Its invocations by state.
    pub counts: Counts,
    /// What its attempts used.
    pub usage: Usage,
    /// The number of the version that it keeps to.
    pub version: Option<u32>,
}

impl JobView {
    /// What runs it: what it was accepted with, or what it was redriven to.
    #[must_use]
    pub fn target(&self) -> &Target {
        self.status.target(&self.record)
    }
}

/// Where an invocation that is not final stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvocationView {
    /// It waits.
    Waiting {
        /// What has happened to it.
        history: History,
        /// When it may run, milliseconds since 1970; 0: at once.
        due_ms: u64,
    },
    /// A worker has it.
    Leased {
        /// What has happened to it.
        history: History,
    },
    /// It succeeded; the store has its result.
    Succeeded,
    /// It failed; the store has its result.
    Failed,
    /// It was cancelled.
    Cancelled,
}

/// Where a worker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerState {
    /// It takes work.
    Ready,
    /// It finishes and leaves.
    Draining,
    /// Its session ended; it may come back.
    Away,
}

/// A worker as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerView {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: WorkerState,
    /// Its slots.
    pub slots: u32,
    /// Leases it holds.
    pub leases: u32,
    /// Invocations it holds and has not reported.
    pub invocations: u64,
    /// Its labels.
    pub labels: Labels,
    /// The functions it has.
    pub functions: Vec<String>,
    /// What it can run of published functions.
    pub runtimes: Runtimes,
    /// Its version of umbel.
    pub version: String,
    /// When its session began, milliseconds since 1970.
    pub connected_ms: u64,
}

/// A function as it is shown in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionView {
    /// Its name.
    pub name: String,
    /// How many workers can run it now; of a published one, the version that it means
    /// by itself.
    pub workers: u32,
    /// What its bare name means, if it is published.
    pub live: Option<Arc<Version>>,
    /// How many versions are kept.
    pub version_count: u32,
}

/// A function with its versions and aliases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedView {
    /// Its name.
    pub name: String,
    /// Whether it was deleted, and is kept only for jobs that need it.
    pub deleted: bool,
    /// Its versions, newest first.
    pub versions: Vec<VersionView>,
    /// Whether there are older ones than these.
    pub more: bool,
    /// Its aliases, by name.
    pub aliases: Vec<Alias>,
}

/// A version as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionView {
    /// The version.
    pub version: Arc<Version>,
    /// When it was retired, milliseconds since 1970, if it was.
    pub retired_ms: Option<u64>,
    /// Workers that can run it.
    pub workers: u32,
    /// Workers on which it stands ready.
    pub warm_workers: u32,
    /// Instances of it that workers are to keep ready now.
    pub kept_instances: u64,
    /// How many of those stand ready.
    pub ready_instances: u64,
    /// How long it ran; none: it did not since the coordinator started.
    pub figures: Option<FiguresView>,
}

/// The whole, in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// Workers with a live session.
    pub workers: u32,
    /// Their slots.
    pub slots: u32,
    /// Slots' worth of work that is leased.
    pub slots_used: u32,
    /// Live leases.
    pub leases: u64,
    /// Jobs that run.
    pub jobs_running: u64,
    /// Jobs that are kept.
    pub jobs_kept: u64,
    /// Invocations that wait.
    pub invocations_waiting: u64,
    /// Invocations that are leased.
    pub invocations_leased: u64,
    /// Instances that workers are to keep ready.
    pub instances_kept: u64,
    /// How many of those stand ready.
    pub instances_ready: u64,
}

/// Why some invocations of a job wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitReason {
    /// A stable name, as listed beside `ExplainJob` in the proto.
    pub reason: &'static str,
    /// The reason in words, with what would help.
    pub message: String,
    /// How many invocations wait for it.
    pub invocations: u64,
    /// When it ends by itself, milliseconds since 1970, if that is known.
    pub until_ms: Option<u64>,
}

/// How long a version ran, as the reports since `since_ms` say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FiguresView {
    /// Since when these are kept, milliseconds since 1970.
    pub since_ms: u64,
    /// Run times of attempts that had a warm instance, or needed none.
    pub warm: Spread,
    /// Times of cold starts, from the first byte of the artifact that was fetched for them to the
    /// end of their first attempt.
    pub cold: Spread,
    /// The parts of the cold starts, in the order of `ColdStart::PARTS`.
    pub parts: [Spread; 4],
}

/// How some times are spread; percentiles are of the nearest bucket, and 0 of no times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// How many times.
    pub count: u64,
    /// Half of them are no longer, in microseconds.
    pub p50_us: u64,
    /// 95 of 100 are no longer.
    pub p95_us: u64,
    /// 99 of 100 are no longer.
    pub p99_us: u64,
}

/// The arms of an alias side by side, over the same time.
#[derive(Clone, Debug, PartialEq)]
pub struct ExperimentView {
    /// The function.
    pub function: String,
    /// The alias.
    pub alias: String,
    /// The routing key of its split; none: inputs go by their index.
    pub key: Option<Key>,
    /// When the alias moved the last time, milliseconds since 1970.
    pub moved_ms: u64,
    /// Since when the figures are, milliseconds since 1970. Before `moved_ms`, they are of
    /// other weights too.
    pub since_ms: u64,
    /// Until when.
    pub until_ms: u64,
    /// The arms of its split in their order, then those of its rules.
    pub arms: Vec<ArmView>,
}

/// One arm and its figures.
#[derive(Clone, Debug, PartialEq)]
pub struct ArmView {
    /// Its number.
    pub id: ArmId,
    /// Its name.
    pub name: String,
    /// Where its inputs go.
    pub target: Target,
    /// How many of 10,000 buckets its split gives it; none: a rule sends it what it gets.
    pub weight: Option<u16>,
    /// What came of its invocations.
    pub figures: ArmFigures,
}
