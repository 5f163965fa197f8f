//! How a job runs.

use std::collections::BTreeMap;

/// Keys and values on a job or a worker.
pub type Labels = BTreeMap<String, String>;

/// How failures, time and room of a job are handled; every default is filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Attempts of one invocation, at least 1.
    pub max_attempts: u32,
    /// The first wait before another attempt.
    pub backoff_initial_ms: u64,
    /// The longest wait before another attempt.
    pub backoff_max_ms: u64,
    /// How long one attempt may run.
    pub timeout_ms: Option<u64>,
    /// How long the job may take as a whole, from its creation.
    pub deadline_ms: Option<u64>,
    /// Slots that the job may hold at a time.
    pub max_concurrency: Option<u32>,
    /// How many failures end the job early; none: it runs to the end.
    pub tolerate: Option<Tolerance>,
    /// How long an invocation may wait for a worker that can run it.
    pub place_timeout_ms: Option<u64>,
    /// Labels that a worker must bear.
    pub require: Labels,
    /// Jobs of a higher number go first.
    pub priority: i32,
}

/// How many failed invocations a job bears; one more ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tolerance {
    /// So many.
    Count(u64),
    /// So many hundredths of a percent of the sealed total, rounded down.
    BasisPoints(u32),
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            backoff_initial_ms: 200,
            backoff_max_ms: 30_000,
            timeout_ms: Some(900_000),
            deadline_ms: None,
            max_concurrency: None,
            tolerate: None,
            place_timeout_ms: None,
            require: Labels::new(),
            priority: 0,
        }
    }
}
