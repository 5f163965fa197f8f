//! A redrive: an ended job runs again for some of what failed or was not run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::change::Record;
use super::command::Refusal;
use super::function::VersionId;
use super::id::LeaseId;
use super::index_set::IndexSet;
use super::job::{BlockRef, Target};
use super::ranges::Ranges;
use super::route::ArmId;

/// A redrive that is asked for, with what only the shell can read.
#[derive(Clone, Debug, PartialEq)]
pub struct Redrive {
    /// What runs again.
    pub filter: Filter,
    /// What runs it; none: what ran the job the last time.
    pub target: Option<Target>,
    /// What makes the request idempotent; empty: nothing.
    pub request_id: String,
    /// Why nothing new may begin now, if the shell found a reason; a repeat is answered all the same.
    pub refusal: Option<Refusal>,
    /// A digest of filter and target, to tell a repeat from a reuse.
    pub content_digest: [u8; 32],
    /// What the job's records say. The machine keeps only figures of an ended job.
    pub standing: Standing,
}

/// Which failed and cancelled invocations run again, or which of those that ended on an arm. It is
/// never empty: the door refuses a filter that names nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Failed ones.
    pub failed: bool,
    /// Cancelled ones. Neither of the two: both, or only failed ones when types are named.
    pub cancelled: bool,
    /// Only these indices; none: all.
    pub indices: Option<Ranges>,
    /// Of the failed ones only those whose failure has one of these types; empty: all.
    pub types: BTreeSet<String>,
    /// Only what ended on the arm of this name, succeeded ones too unless only failed ones are
    /// meant; none: whatever arm it ended on, if any.
    pub arm: Option<Arc<str>>,
}

impl Filter {
    /// Whether it names nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let of_states = self.failed || self.cancelled;
        let of_figures = self.indices.is_some() || !self.types.is_empty();
        !of_states && !of_figures && self.arm.is_none()
    }

    /// What it chooses of a job.
    #[must_use]
    pub fn choose(&self, standing: &Standing) -> Ranges {
        let neither = !self.failed && !self.cancelled;
        let mut chosen = IndexSet::new();
        let mut add = |set: &IndexSet| {
            chosen.insert_all(&set.runs().collect());
        };
        if !self.types.is_empty() {
            add(&standing.of_types);
        } else if self.failed || neither {
            add(&standing.failed);
        }
        if self.cancelled || (neither && self.types.is_empty()) {
            add(&standing.cancelled);
        }
        if self.arm.is_some() && neither && self.types.is_empty() {
            add(&standing.succeeded);
        }
        let mut chosen: Ranges = chosen.runs().collect();
        if self.arm.is_some() {
            chosen = standing.of_arm.intersect(&chosen);
        }
        match &self.indices {
            Some(indices) => chosen.intersect(indices),
            None => chosen,
        }
    }
}

/// How the invocations of an ended job stand, by its records.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// The redrive number of the job when they were read.
    pub redrives: u32,
    /// The job's blocks of inputs, ascending.
    pub blocks: Vec<BlockRef>,
    /// What succeeded.
    pub succeeded: IndexSet,
    /// What failed.
    pub failed: IndexSet,
    /// What was cancelled.
    pub cancelled: IndexSet,
    /// What failed with one of the types that are asked for.
    pub of_types: IndexSet,
    /// What ended on the arm that is asked for.
    pub of_arm: IndexSet,
    /// What ran a version, by that version, each index once: what failed, and what was cancelled
    /// after an attempt. As many as there are versions at most, and a bit for each index.
    pub ran: BTreeMap<Ran, IndexSet>,
}

impl Standing {
    /// Takes in the next record, in the order of their commits.
    pub fn take(&mut self, record: &Record, filter: &Filter) {
        for waiting in &record.waiting {
            for set in [
                &mut self.succeeded,
                &mut self.failed,
                &mut self.cancelled,
                &mut self.of_types,
                &mut self.of_arm,
            ] {
                set.remove_all(&waiting.indices);
            }
            let (version, arm) = (waiting.history.version, waiting.history.arm);
            let ran = version.map(|version| Ran::Waited(version, arm));
            self.ran(ran, &waiting.indices);
        }
        self.succeeded.insert_all(&record.succeeded);
        self.cancelled.insert_all(&record.cancelled);
        if !record.failed.is_empty() {
            let failed = record.failed.iter().map(|failed| failed.index);
            let failed: IndexSet = failed.collect();
            let number = record.version;
            let arm = record.arm.as_ref().map(|arm| arm.id);
            let ran = number.map(|number| Ran::Ended(Arc::clone(&record.function), number, arm));
            self.ran(ran, &failed.runs().collect());
        }
        let ended_on = record.arm.as_ref().map(|arm| &arm.name);
        let of_arm = filter.arm.is_some() && ended_on == filter.arm.as_ref();
        if of_arm {
            self.of_arm.insert_all(&record.succeeded);
        }
        for failed in &record.failed {
            self.failed.insert(failed.index);
            if of_arm {
                self.of_arm.insert(failed.index);
            }
            if filter.types.contains(&failed.failure.error_type) {
                self.of_types.insert(failed.index);
            }
        }
    }

    /// These ran this version the last time, or none that is known.
    fn ran(&mut self, version: Option<Ran>, indices: &Ranges) {
        self.ran.retain(|_, ran| {
            ran.remove_all(indices);
            !ran.is_empty()
        });
        if let Some(version) = version {
            self.ran.entry(version).or_default().insert_all(indices);
        }
    }
}

/// The version that invocations ran, as records tell it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ran {
    /// What ended bears the function's name, the version's number and the arm.
    Ended(Arc<str>, u32, Option<ArmId>),
    /// What waits is pinned to the version itself, and to the arm.
    Waited(VersionId, Option<ArmId>),
}

/// How a job was run again the last time. Never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redriven {
    /// When, milliseconds since 1970; the job's deadline counts from here.
    pub at_ms: u64,
    /// What runs it since; none: what it was accepted with.
    pub target: Option<Target>,
    /// How many invocations ran again.
    pub invocations: u64,
    /// Leases before this one belong to what was before: what a worker still holds under
    /// them does not count any more.
    pub first_lease: LeaseId,
    /// What made the request idempotent; empty: nothing did.
    pub request_id: String,
    /// A digest of filter and target.
    pub content_digest: [u8; 32],
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(run: std::ops::Range<u32>) -> IndexSet {
        let mut set = IndexSet::new();
        set.insert_all(&Ranges::one(run));
        set
    }

    #[test]
    fn a_filter_chooses_by_state_index_and_type() {
        let standing = Standing {
            succeeded: set(0..10),
            failed: set(10..20),
            cancelled: set(20..30),
            of_types: set(12..14),
            of_arm: set(5..15),
            ..Standing::default()
        };
        let types: BTreeSet<String> = ["ValueError".to_owned()].into();
        let of = |failed, cancelled, indices: Option<std::ops::Range<u32>>| Filter {
            failed,
            cancelled,
            indices: indices.map(Ranges::one),
            ..Filter::default()
        };
        let typed = |filter: Filter| Filter {
            types: types.clone(),
            ..filter
        };
        let on_arm = |filter: Filter| Filter {
            arm: Some("8".into()),
            ..filter
        };
        let table = [
            (of(true, false, None), 10..20),
            (of(false, true, None), 20..30),
            (of(true, true, None), 10..30),
            (of(false, false, Some(5..25)), 10..25),
            (of(true, false, Some(5..12)), 10..12),
            (typed(of(false, false, None)), 12..14),
            (typed(of(true, false, None)), 12..14),
            (typed(of(false, false, Some(13..40))), 13..14),
            (on_arm(of(false, false, None)), 5..15),
            (on_arm(of(false, false, Some(7..12))), 7..12),
            (on_arm(of(true, false, None)), 10..15),
            (on_arm(typed(of(false, false, None))), 12..14),
        ];
        for (filter, chosen) in table {
            assert_eq!(filter.choose(&standing), Ranges::one(chosen), "{filter:?}");
        }
    }
}
