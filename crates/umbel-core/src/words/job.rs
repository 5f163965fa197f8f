//! A job as it was asked for, and where it stands.

use super::function::Qualifier;
use super::id::{Appender, Index};
use super::policy::{Labels, Policy};

/// What a job runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A function, by name; a published one by its `live` alias.
    Function(String),
    /// A version of a published function.
    Version(String, Qualifier),
    /// A program with its arguments, run for each invocation. Never empty.
    Program(Vec<String>),
}

impl Target {
    /// As people see it: a function's name, or `exec:PROGRAM`.
    #[must_use]
    pub fn display(&self) -> String {
        match self {
            Self::Function(name) => name.clone(),
            Self::Version(name, qualifier) => format!("{name}@{qualifier}"),
            Self::Program(argv) => {
                format!("exec:{}", argv.first().map_or("", String::as_str))
            }
        }
    }
}

impl Target {
    /// What results call it: a function's bare name, or as people see it.
    #[must_use]
    pub fn name(&self) -> String {
        self.function()
            .map_or_else(|| self.display(), str::to_owned)
    }

    /// The function that it names.
    #[must_use]
    pub fn function(&self) -> Option<&str> {
        match self {
            Self::Function(name) | Self::Version(name, _) => Some(name),
            Self::Program(_) => None,
        }
    }
}

/// When the invocations of a job may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartMode {
    /// Not before all inputs are known.
    AsSealed,
    /// As the inputs arrive.
    AsAppended,
}

/// What to run, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSpec {
    /// A name for people; may be empty.
    pub name: String,
    /// What runs.
    pub target: Target,
    /// How it runs.
    pub policy: Policy,
    /// For people and for filters.
    pub labels: Labels,
    /// When it may begin.
    pub start: StartMode,
}

/// Where the inputs come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Blocks that were appended.
    Blocks,
    /// Input i is the decimal number `begin + i`; there are no bytes.
    Range {
        /// The number that input 0 is.
        begin: u64,
        /// How many inputs.
        count: u32,
    },
}

/// A stored block of inputs: where it lies and how large it is. Its key is
/// (job, `first`, `appender`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRef {
    /// The index of its first input.
    pub first: Index,
    /// How many inputs, at least 1.
    pub count: u32,
    /// Its encoded length in bytes.
    pub bytes: u32,
    /// The upload that brought it: two uploads may stage a block of the same
    /// index, and only one of them is accepted.
    pub appender: Appender,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobState {
    /// Its invocations wait or run, or its inputs still arrive.
    Running,
    /// It ended well.
    Succeeded,
    /// More failed than was tolerated, or its deadline passed.
    Failed,
    /// A user ended it.
    Cancelled,
}

impl JobState {
    /// The word that people see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
        }
    }
}

/// Why a job failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobFailureKind {
    /// More failures than were tolerated.
    Tolerance,
    /// Its deadline passed.
    Deadline,
    /// It ran to the end, and some invocations failed.
    Invocations,
}

impl JobFailureKind {
    /// The word that people see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tolerance => "tolerance",
            Self::Deadline => "deadline",
            Self::Invocations => "invocations",
        }
    }
}

/// Why a job failed, with the reason in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFailure {
    /// What kind of reason.
    pub kind: JobFailureKind,
    /// The reason in words.
    pub message: String,
}

/// What attempts have used, failed ones too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time spent running.
    pub duration_us: u64,
    /// Processor time.
    pub cpu_us: u64,
    /// Attempts that ended.
    pub attempts: u64,
}

impl Usage {
    /// Adds another's figures; stays at the top instead of wrapping.
    pub fn add(&mut self, other: Self) {
        self.duration_us = self.duration_us.saturating_add(other.duration_us);
        self.cpu_us = self.cpu_us.saturating_add(other.cpu_us);
        self.attempts = self.attempts.saturating_add(other.attempts);
    }
}

/// Invocations by state. The states add up to `total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All inputs so far.
    pub total: u64,
    /// Not given to a worker.
    pub waiting: u64,
    /// Given to a worker.
    pub leased: u64,
    /// Ended with an output.
    pub succeeded: u64,
    /// Ended with a failure.
    pub failed: u64,
    /// Ended with the job.
    pub cancelled: u64,
}
