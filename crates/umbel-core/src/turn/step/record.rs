//! What happened to invocations becomes a durable record.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::rollout::Refuge;
use super::{Out, arm, rollout};
use crate::change::{Change, FailedRecord, Record, WaitingRecord};
use crate::command::Command;
use crate::history::History;
use crate::id::{Index, JobId};
use crate::limit;
use crate::outcome::{FailedAttempt, Failure, FailureKind};
use crate::policy::Policy;
use crate::ranges::Ranges;
use crate::route::RanArm;
use crate::tables::Tables;
use crate::tables::backlog::Wait;

/// A record of a job to which nothing has happened yet.
pub(crate) fn empty(t: &Tables, id: JobId) -> Record {
    let job = t.jobs.find(id);
    let function = job.map(|job| job.target().name());
    Record {
        job: id,
        redrive: job.map_or(0, |job| job.status.redrives),
        function: Arc::from(function.unwrap_or_default()),
        ..Record::default()
    }
}

/// What the record tells of was run, or to be run, as this history says.
pub(crate) fn ran(t: &Tables, record: &mut Record, history: History) {
    let Some(version) = history.version.and_then(|id| t.functions.version(id)) else {
        return;
    };
    record.version = Some(version.number);
    let arm = history.arm;
    record.arm = arm.and_then(|id| {
        let name = t.functions.arm(id)?.name.clone();
        Some(RanArm { id, name })
    });
    // A route may have sent it to another function.
    if *record.function != *version.function {
        record.function = Arc::from(version.function.as_str());
    }
}

/// Applies a record to its job and has it persisted. What it names must be out
/// of the backlog and out of every lease.
pub(crate) fn commit(t: &mut Tables, out: &mut Out, record: Record) {
    let Some(job) = t.jobs.find_mut(record.job) else {
        return;
    };
    let redrives = job.status.redrives;
    let Some(running) = job.running.as_mut() else {
        return;
    };
    running.take(&record, redrives);
    for waiting in &record.waiting {
        let wait = Wait {
            due_ms: waiting.due_ms,
            history: waiting.history,
        };
        running.versions.extend(waiting.history.version);
        running.backlog.put(&waiting.indices, wait);
    }
    t.show(record.job);
    arm::recorded(t, &record);
    out.push(Command::Persist(Change::Recorded(Box::new(record))));
}

/// Ends invocations that will never run, as failed. They must be out of the backlog
/// and out of every lease.
pub(crate) fn reject(
    t: &mut Tables,
    out: &mut Out,
    job: JobId,
    indices: &Ranges,
    history: History,
    failure: &Failure,
) {
    let mut record = empty(t, job);
    ran(t, &mut record, history);
    record.failed = unreported(indices, failure, history);
    commit(t, out, record);
}

/// Invocations that failed for good though no worker reported it.
pub(crate) fn unreported(
    indices: &Ranges,
    failure: &Failure,
    history: History,
) -> Vec<FailedRecord> {
    let failed = indices.indices().map(|index| FailedRecord {
        index,
        failure: failure.clone(),
        attempts: history.attempts(),
        started_at_us: 0,
        duration_us: 0,
        cpu_us: None,
        cold_start: None,
    });
    failed.collect()
}

/// Failed attempts of one lease, sorted into what runs again and what is final.
#[derive(Debug, Default)]
pub(crate) struct Sorted {
    again: BTreeMap<Wait, Ranges>,
    /// What failed for good.
    pub(crate) failed: Vec<FailedRecord>,
    /// What ended on the new version of a rollout and runs elsewhere: how many for each kind of
    /// failure, with the latest of them.
    pub(crate) exhausted: BTreeMap<FailureKind, (u64, Failure)>,
}

impl Sorted {
    /// Decides what follows a failed attempt; what has a refuge goes there before it is final.
    pub(crate) fn sort(
        &mut self,
        (job, policy, wall_ms): (JobId, &Policy, u64),
        (history, refuge): (History, Option<Refuge>),
        attempt: FailedAttempt,
    ) {
        let failed = history.failed.saturating_add(1);
        let failure = &attempt.failure;
        let may = !attempt.no_retry && policy.retries(failure.kind, &failure.error_type);
        let again = may && u32::from(failed) < policy.max_attempts;
        if let Some(refuge) = refuge.filter(|refuge| refuge.at_once || !again) {
            let wait = Wait {
                due_ms: 0,
                history: refuge.history,
            };
            self.again.entry(wait).or_default().insert(attempt.index);
            let failure = attempt.failure;
            let known = self.exhausted.entry(failure.kind);
            let known = known.or_insert_with(|| (0, failure.clone()));
            *known = (known.0 + 1, failure);
            return;
        }
        if again {
            let wait_ms = backoff_ms(policy, job, attempt.index, failed);
            let due_ms = wall_ms.saturating_add(wait_ms);
            let wait = Wait {
                due_ms: due_ms.div_ceil(limit::DUE_STEP_MS) * limit::DUE_STEP_MS,
                // It ended by itself, so it is not what its worker was lost by.
                history: History {
                    failed,
                    suspect_chunk: 0,
                    ..history
                },
            };
            self.again.entry(wait).or_default().insert(attempt.index);
            return;
        }
        self.failed.push(FailedRecord {
            index: attempt.index,
            failure: attempt.failure,
            attempts: history.next_attempt(),
            started_at_us: attempt.started_at_us,
            duration_us: attempt.duration_us,
            cpu_us: attempt.cpu_us,
            cold_start: attempt.cold_start,
        });
    }

    /// What ended on the new version of a rollout counts against it.
    pub(crate) fn count_exhausted(self, t: &mut Tables, history: History) {
        for (count, failure) in self.exhausted.into_values() {
            rollout::exhausted(t, history.arm, &failure, count);
        }
    }

    /// What runs again, with equal waits together.
    pub(crate) fn waiting(&self) -> Vec<WaitingRecord> {
        let again = self.again.iter();
        let waiting = again.map(|(wait, indices)| WaitingRecord {
            indices: indices.clone(),
            history: wait.history,
            due_ms: wait.due_ms,
        });
        waiting.collect()
    }
}

/// The wait before the attempt that follows the given number of failures: full
/// jitter up to a bound that doubles. The jitter is a hash, so that the machine
/// stays a function of its events.
fn backoff_ms(policy: &Policy, job: JobId, index: Index, failed: u16) -> u64 {
    let doublings = u32::from(failed.saturating_sub(1)).min(63);
    let bound = policy
        .backoff_initial_ms
        .saturating_mul(1 << doublings)
        .min(policy.backoff_max_ms);
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let bytes = job.0.into_iter().chain(index.to_le_bytes());
    for byte in bytes.chain(failed.to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    // FNV leaves the high bits of short keys alike; one round of mixing helps.
    hash = (hash ^ (hash >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (hash ^ (hash >> 29)) % bound.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn backoff_is_spread_doubles_and_is_bounded() {
        let policy = Policy {
            backoff_initial_ms: 1_000,
            backoff_max_ms: 3_000,
            ..Policy::default()
        };
        let most = |failed| {
            let waits = (0..1_000).map(|index| backoff_ms(&policy, JobId([7; 16]), index, failed));
            let waits: Vec<u64> = waits.collect();
            let mean = waits.iter().sum::<u64>() / 1_000;
            (mean, waits.into_iter().max().unwrap())
        };
        for (failed, bound) in [(1, 1_000), (2, 2_000), (3, 3_000), (1_000, 3_000)] {
            let (mean, most) = most(failed);
            assert!(most <= bound && most > bound * 9 / 10, "{most} of {bound}");
            assert!(mean > bound * 4 / 10 && mean < bound * 6 / 10, "{mean}");
        }
        let none = Policy {
            backoff_initial_ms: u64::MAX,
            backoff_max_ms: 0,
            ..policy
        };
        assert_eq!(backoff_ms(&none, JobId([7; 16]), 1, 9), 0);
    }

    proptest! {
        #[test]
        fn a_wait_keeps_to_any_policy_and_is_the_same_each_time(
            initial: u64, max: u64, job: [u8; 16], index: u32, failed: u16,
        ) {
            let policy = Policy {
                backoff_initial_ms: initial,
                backoff_max_ms: max,
                ..Policy::default()
            };
            let wait = backoff_ms(&policy, JobId(job), index, failed);
            prop_assert!(wait <= max);
            prop_assert!(failed > 1 || wait <= initial);
            prop_assert_eq!(wait, backoff_ms(&policy, JobId(job), index, failed));
        }
    }
}
