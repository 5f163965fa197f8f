//! Shares between jobs: nothing of a job is leased while one of a higher priority that needs the
//! same of a worker has work waiting, and of two jobs of one priority that both have work waiting
//! all the while, neither gets much more of the slots' time than the other.
//!
//! Shares are judged in calm clusters: what is lost with a worker is charged to nobody, and a chunk is
//! as large as what ran before it lets it be.

use std::collections::BTreeMap;

use umbel_core::id::JobId;

/// When two jobs began to wait side by side: what each had had, and by how much one may get ahead.
#[derive(Clone, Copy, Debug)]
struct Side {
    had_ms: (u64, u64),
    most_ms: u64,
}

/// What jobs got of the slots.
#[derive(Debug, Default)]
pub(crate) struct Fairness {
    had_ms: BTreeMap<JobId, u64>,
    sides: BTreeMap<(JobId, JobId), Side>,
}

/// A job with work that any worker with what it needs could begin.
#[derive(Clone, Debug)]
pub(crate) struct Eager {
    pub(crate) job: JobId,
    pub(crate) priority: i32,
    /// What it needs of a worker.
    pub(crate) need: String,
}

impl Fairness {
    /// An invocation has ended, or was stopped.
    pub(crate) fn ran(&mut self, job: JobId, ms: u64) {
        *self.had_ms.entry(job).or_default() += ms;
    }

    /// After a turn; by `slack_ms` one may always be ahead, since a slot is given for a whole run.
    pub(crate) fn judge(&mut self, eager: &[Eager], slack_ms: u64) {
        let before = std::mem::take(&mut self.sides);
        let had = |job: &JobId| self.had_ms.get(job).copied().unwrap_or(0);
        // Who had much before may owe all of it to the others.
        let owed = self.had_ms.values().max().copied().unwrap_or(0);
        let mut sides = BTreeMap::new();
        for (at, one) in eager.iter().enumerate() {
            let rivals = eager.iter().skip(at + 1);
            for other in rivals.filter(|other| other.equals(one)) {
                let pair = (one.job, other.job);
                let now = (had(&pair.0), had(&pair.1));
                let side = before.get(&pair).copied().unwrap_or(Side {
                    had_ms: now,
                    most_ms: owed + slack_ms,
                });
                let got = (now.0 - side.had_ms.0, now.1 - side.had_ms.1);
                let ahead = got.0.abs_diff(got.1);
                assert!(
                    ahead <= side.most_ms,
                    "jobs {} and {} waited side by side and got {got:?} ms of the slots; {} ms ahead is fair",
                    pair.0,
                    pair.1,
                    side.most_ms
                );
                sides.insert(pair, side);
            }
        }
        self.sides = sides;
    }

    /// Something of a job is leased.
    pub(crate) fn leased(job: JobId, priority: i32, need: &str, eager: &[Eager]) {
        let before = eager
            .iter()
            .find(|other| other.priority > priority && other.need == need);
        assert!(
            before.is_none(),
            "job {job} of priority {priority} is leased before {before:?}"
        );
    }
}

impl Eager {
    fn equals(&self, other: &Self) -> bool {
        (self.priority, &self.need) == (other.priority, &other.need)
    }
}
