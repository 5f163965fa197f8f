//! What came of the invocations of an arm: the figures that experiments compare and that guards
//! judge.

use super::histogram::Histogram;
use super::job::Usage;
use super::outcome::FailureKind;

/// What came of an arm's invocations over some time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArmFigures {
    /// Inputs that its route sent to it. Some may wait still, and what is asked for again after
    /// another route was set counts again.
    pub routed: u64,
    /// Invocations that ended with an output.
    pub succeeded: u64,
    /// Invocations whose attempts on it ended with a failure for good, by kind, in the order of
    /// [`FailureKind::ALL`].
    pub failed: [u64; FailureKind::ALL.len()],
    /// What its attempts used, those that failed and were tried again too. The time is slot time:
    /// each attempt has a slot for as long as it runs.
    pub usage: Usage,
    /// Run times of attempts that had a warm instance, or needed none; failed ones too.
    pub warm: Histogram,
    /// Run times of attempts that were cold starts, the cold start in them.
    pub cold: Histogram,
}

impl ArmFigures {
    /// Invocations that have ended.
    #[must_use]
    pub fn finished(&self) -> u64 {
        self.succeeded.saturating_add(self.failures())
    }

    /// Invocations that have failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        let kinds = self.failed.iter();
        kinds.fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Invocations that have failed in this way.
    #[must_use]
    pub fn failed_of(&self, kind: FailureKind) -> u64 {
        self.failed[kind.place()]
    }

    /// Invocations have failed in this way.
    pub fn fail(&mut self, kind: FailureKind, count: u64) {
        let failed = &mut self.failed[kind.place()];
        *failed = failed.saturating_add(count);
    }

    /// Whether nothing came of anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds another's figures.
    pub fn add(&mut self, other: &Self) {
        self.routed = self.routed.saturating_add(other.routed);
        self.succeeded = self.succeeded.saturating_add(other.succeeded);
        for (failed, more) in self.failed.iter_mut().zip(other.failed) {
            *failed = failed.saturating_add(more);
        }
        self.usage.add(other.usage);
        self.warm.merge(&other.warm);
        self.cold.merge(&other.cold);
    }

    /// What has been added since it was `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let (usage, was) = (self.usage, earlier.usage);
        let mut failed = self.failed;
        for (now, before) in failed.iter_mut().zip(earlier.failed) {
            *now = now.saturating_sub(before);
        }
        Self {
            routed: self.routed.saturating_sub(earlier.routed),
            succeeded: self.succeeded.saturating_sub(earlier.succeeded),
            failed,
            usage: Usage {
                duration_us: usage.duration_us.saturating_sub(was.duration_us),
                cpu_us: usage.cpu_us.saturating_sub(was.cpu_us),
                attempts: usage.attempts.saturating_sub(was.attempts),
            },
            warm: self.warm.since(&earlier.warm),
            cold: self.cold.since(&earlier.cold),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_since_is_what_was_added() {
        let mut before = ArmFigures {
            routed: 9,
            succeeded: 3,
            usage: Usage {
                duration_us: 70,
                cpu_us: 7,
                attempts: 5,
            },
            ..ArmFigures::default()
        };
        before.fail(FailureKind::Timeout, 2);
        before.warm.add(40);
        let mut more = before.clone();
        more.fail(FailureKind::Function, 1);
        more.cold.add(90_000);
        let mut now = before.clone();
        now.add(&more);
        assert_eq!(now.since(&before), more);
        assert_eq!((now.finished(), now.failures()), (11, 5));
        assert_eq!(now.failed_of(FailureKind::Timeout), 4);
        assert!(now.since(&now).is_empty());
    }
}
