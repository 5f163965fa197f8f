//! How a job runs.

use std::collections::BTreeMap;

use super::id::Index;

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
    /// What is kept of the logs of invocations that succeed, in hundredths of a percent of them;
    /// that of a failure is kept always.
    pub log_basis_points: u32,
}

/// All of something that is measured in hundredths of a percent.
pub const BASIS_POINTS: u32 = 10_000;

/// Whether the log of an invocation that succeeds is kept: the choice is the index's own, so that
/// another attempt, or another worker, chooses the same.
#[must_use]
pub fn keeps_log(log_basis_points: u32, index: Index) -> bool {
    // One round of mixing spreads neighbours over all buckets.
    let hash = (u64::from(index) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bucket = (hash >> 32) % u64::from(BASIS_POINTS);
    bucket < u64::from(log_basis_points)
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
            log_basis_points: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_of_logs_is_about_as_large_as_was_asked_for() {
        for (points, least, most) in [(0, 0, 0), (100, 80, 120), (5_000, 4_900, 5_100)] {
            let kept = (0..10_000)
                .filter(|index| keeps_log(points, *index))
                .count();
            assert!((least..=most).contains(&kept), "{points}: {kept}");
        }
        assert!((0..10_000).all(|index| keeps_log(BASIS_POINTS, index)));
    }
}
