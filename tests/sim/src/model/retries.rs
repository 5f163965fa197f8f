//! Which failures are tried again, and where, decided a second time and in other words.

use umbel_core::change::Record;
use umbel_core::outcome::FailedAttempt;
use umbel_core::policy::Policy;

use super::{Arrival, Model};

impl Model {
    /// What failed by a report waits again only if its policy lets it, and is final only if it
    /// does not or its attempts are used up.
    pub(crate) fn judge_retries(&self, record: &Record, arrival: &Arrival) {
        let Some(job) = self.live.jobs.get(&record.job) else {
            return;
        };
        let policy = &job.record.spec.policy;
        // A report speaks of several jobs, and of leases that have ended: only what is open under
        // a live lease of this job was judged.
        let counts = |lease, index| {
            let holder = (arrival.worker, record.job);
            self.grants.is_open(lease, holder, index)
        };
        let attempts = arrival.chunks.iter().flat_map(|chunk| {
            let lease = chunk.begun.lease;
            let failed = chunk.failed.iter();
            failed.filter(move |attempt| counts(lease, attempt.index))
        });
        for attempt in attempts {
            let index = attempt.index;
            let again = record
                .waiting
                .iter()
                .any(|waiting| waiting.indices.contains(index));
            let ended = record.failed.iter().find(|failed| failed.index == index);
            let may = may(policy, attempt);
            let arm = self.grants.arm_of(record.job, index);
            let refuge = self.live.published.refuge(arm);
            let kept_back = refuge.is_some_and(|(_, must)| must);
            assert!(
                ended.is_none() || !kept_back,
                "{index} of job {} is final on the new version of a rollout after {attempt:?}",
                record.job
            );
            assert!(
                !again || may || refuge.is_some(),
                "{index} of job {} waits again after {attempt:?}, which is final by {policy:?}",
                record.job
            );
            assert!(
                ended.is_none_or(|failed| !may || failed.attempts >= policy.max_attempts),
                "{index} of job {} is final after {attempt:?}, which {policy:?} tries again",
                record.job
            );
        }
    }
}

fn may(policy: &Policy, attempt: &FailedAttempt) -> bool {
    let (kind, error_type) = (attempt.failure.kind.as_str(), &attempt.failure.error_type);
    let (on, not_on) = (&policy.retry_on, &policy.no_retry_on);
    if attempt.no_retry || kind == "rejected" {
        return false;
    }
    match (not_on.contains(error_type), on.contains(error_type)) {
        (true, _) => false,
        (false, true) => true,
        (false, false) if not_on.contains(kind) => false,
        (false, false) => on.is_empty() || on.contains(kind),
    }
}
