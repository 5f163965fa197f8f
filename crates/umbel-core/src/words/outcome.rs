//! How an attempt ended.

use super::cold_start::ColdStart;
use super::id::Index;

/// Who or what ended an attempt without success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureKind {
    /// The user's code said so.
    Function,
    /// The attempt outran its timeout.
    Timeout,
    /// The process or instance ended without an answer, or the crash limit was met.
    Crashed,
    /// The worker was lost first.
    Lost,
    /// Never run.
    Rejected,
}

impl FailureKind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Function,
        Self::Timeout,
        Self::Crashed,
        Self::Lost,
        Self::Rejected,
    ];

    /// Its place in [`Self::ALL`].
    #[must_use]
    pub fn place(self) -> usize {
        self as usize
    }

    /// The word that people see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Timeout => "timeout",
            Self::Crashed => "crashed",
            Self::Lost => "lost",
            Self::Rejected => "rejected",
        }
    }

    /// The kind of a word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|kind| kind.as_str() == word)
    }

    /// Whether another attempt may help. What was never run for want of a
    /// program will not run the next time either.
    #[must_use]
    pub fn is_retried(self) -> bool {
        match self {
            Self::Function | Self::Timeout | Self::Crashed | Self::Lost => true,
            Self::Rejected => false,
        }
    }
}

/// Why an attempt failed, bounded by the door it came through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Who is to blame.
    pub kind: FailureKind,
    /// A short name of the error.
    pub error_type: String,
    /// The error in words.
    pub message: String,
    /// The last lines on standard error.
    pub stderr: String,
}

/// A failed attempt as a worker reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedAttempt {
    /// Which input.
    pub index: Index,
    /// Why.
    pub failure: Failure,
    /// When it began, in microseconds since 1970; 0 means not known.
    pub started_at_us: u64,
    /// How long it ran.
    pub duration_us: u64,
    /// Processor time, where it was measured.
    pub cpu_us: Option<u64>,
    /// What it took to have an instance, where none stood ready.
    pub cold_start: Option<ColdStart>,
    /// Whether another attempt cannot help.
    pub no_retry: bool,
}

/// The type of the failure by which a worker that leaves hands an invoke back unrun.
pub const WORKER_LEAVING: &str = "WorkerLeaving";

/// The type of the failure of an attempt whose worker was lost.
pub const WORKER_LOST: &str = "WorkerLost";
