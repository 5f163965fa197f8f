//! How a job runs.

use std::collections::{BTreeMap, BTreeSet};

use super::id::Index;
use super::outcome::FailureKind;

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
    /// Failures after which an invocation is tried again, by kind or by type; empty: all that
    /// may be. See [`Policy::retries`].
    pub retry_on: BTreeSet<String>,
    /// Failures after which it is not.
    pub no_retry_on: BTreeSet<String>,
    /// How many failures end the job early; none: it runs to the end.
    pub tolerate: Option<Tolerance>,
    /// How many successes end the job early, as succeeded; fewer at its end are a failure.
    pub enough: Option<u64>,
    /// How long an invocation may wait for a worker that can run it.
    pub place_timeout_ms: Option<u64>,
    /// Labels that a worker must bear.
    pub require: Labels,
    /// Jobs of a higher number go first.
    pub priority: i32,
    /// What is kept of the logs of invocations that succeed, in hundredths of a percent of them;
    /// that of a failure is kept always.
    pub log_basis_points: u32,
    /// Whether the job keeps the version that its target meant when it was accepted.
    pub pin: bool,
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
            retry_on: BTreeSet::new(),
            no_retry_on: BTreeSet::new(),
            tolerate: None,
            enough: None,
            place_timeout_ms: None,
            require: Labels::new(),
            priority: 0,
            log_basis_points: 0,
            pin: false,
        }
    }
}

impl Policy {
    /// Whether another attempt may follow one that failed so.
    ///
    /// What was rejected is never tried again. Of the rest the type is asked before the kind,
    /// and `no_retry_on` before `retry_on`. What neither names is tried again, unless `retry_on`
    /// names anything at all; a loss says nothing about the function, so only `no_retry_on`
    /// makes it final.
    #[must_use]
    pub fn retries(&self, kind: FailureKind, error_type: &str) -> bool {
        if !kind.is_retried() {
            return false;
        }
        // A word that is a kind is no type.
        let is_type = FailureKind::of_word(error_type).is_none();
        if is_type && self.no_retry_on.contains(error_type) {
            return false;
        }
        if is_type && self.retry_on.contains(error_type) {
            return true;
        }
        if self.no_retry_on.contains(kind.as_str()) {
            return false;
        }
        self.retry_on.is_empty()
            || kind == FailureKind::Lost
            || self.retry_on.contains(kind.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FailureKind::{Crashed, Function, Lost, Rejected, Timeout};

    #[test]
    fn the_type_is_asked_before_the_kind_and_no_before_yes() {
        type Row<'a> = (&'a [&'a str], &'a [&'a str], FailureKind, &'a str, bool);
        let table: [Row<'_>; 16] = [
            (&[], &[], Function, "ValueError", true),
            (&[], &[], Rejected, "NoAbleWorker", false),
            (&["rejected"], &[], Rejected, "NoAbleWorker", false),
            (&["NoAbleWorker"], &[], Rejected, "NoAbleWorker", false),
            (&["timeout"], &[], Function, "ValueError", false),
            (&["timeout"], &[], Timeout, "Timeout", true),
            (&["timeout"], &[], Lost, "WorkerLost", true),
            (&[], &["lost"], Lost, "WorkerLost", false),
            (&["lost"], &["WorkerLost"], Lost, "WorkerLost", false),
            (&["ValueError"], &[], Function, "ValueError", true),
            (&["ValueError"], &[], Function, "KeyError", false),
            (&[], &["ValueError"], Function, "ValueError", false),
            (&[], &["ValueError"], Function, "KeyError", true),
            (&["ValueError"], &["function"], Function, "ValueError", true),
            (&["function"], &["function"], Function, "ValueError", false),
            (&["crashed"], &[], Function, "crashed", false),
        ];
        for (on, not_on, kind, error_type, expected) in table {
            let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
            let policy = Policy {
                retry_on: words(on),
                no_retry_on: words(not_on),
                ..Policy::default()
            };
            let found = policy.retries(kind, error_type);
            assert_eq!(found, expected, "{on:?} {not_on:?} {kind:?} {error_type}");
        }
        assert!(Policy::default().retries(Crashed, "Exit"));
    }

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
