//! One job as the machine knows it.

use std::sync::Arc;

use super::backlog::Backlog;
use super::demands::{Demand, Demands, GroupId};
use super::pace::Pace;
use crate::change::{JobRecord, JobStatus, Record, Summary};
use crate::function::{Runtimes, VersionId};
use crate::id::{Appender, Index, JobId, LeaseId};
use crate::index_set::IndexSet;
use crate::job::{BlockRef, Counts, JobState, Source, StartMode, Target, Usage};
use crate::limit;
use crate::policy::Tolerance;
use crate::ranges::Ranges;

/// A job that is kept.
#[derive(Debug)]
pub(crate) struct Job {
    /// As it was accepted.
    pub(crate) record: Arc<JobRecord>,
    /// Where it stands.
    pub(crate) status: JobStatus,
    /// What only a running job has.
    pub(crate) running: Option<Box<Running>>,
}

/// What is known of a running job's invocations.
#[derive(Debug)]
pub(crate) struct Running {
    /// Its blocks, ascending, without gaps.
    pub(crate) blocks: Vec<BlockRef>,
    /// The number of its inputs so far.
    pub(crate) next_index: Index,
    /// The newest upload.
    pub(crate) appender: Appender,
    /// When it was last appended to, in engine time.
    pub(crate) appended_ms: u64,
    /// What succeeded.
    pub(crate) succeeded: IndexSet,
    /// What failed for good.
    pub(crate) failed: IndexSet,
    /// How many of them failed under the job's latest redrive number.
    pub(crate) failed_now: u64,
    /// What was cancelled, and not made to wait again by a redrive.
    pub(crate) cancelled: IndexSet,
    /// What its attempts used.
    pub(crate) usage: Usage,
    /// What waits.
    pub(crate) backlog: Backlog,
    /// How long its invocations take.
    pub(crate) pace: Pace,
    /// Slot time it has had, in microseconds; of equal jobs the least goes first.
    pub(crate) had_us: u64,
    /// Whether it stood in line at the end of the last turn.
    pub(crate) in_line: bool,
    /// Who can run it.
    pub(crate) group: GroupId,
    /// The versions that its invocations were granted with.
    pub(crate) versions: std::collections::BTreeSet<VersionId>,
    /// The runtimes that `group` stands for; none: it is not of a published function.
    pub(crate) runtimes: Option<Runtimes>,
    /// Since when no worker can run it, in engine time.
    pub(crate) unable_since_ms: Option<u64>,
}

impl Running {
    /// A job without inputs.
    pub(crate) fn new(group: GroupId, engine_ms: u64) -> Self {
        Self {
            blocks: Vec::new(),
            next_index: 0,
            appender: crate::event::INLINE,
            appended_ms: engine_ms,
            succeeded: IndexSet::new(),
            failed: IndexSet::new(),
            failed_now: 0,
            cancelled: IndexSet::new(),
            usage: Usage::default(),
            backlog: Backlog::default(),
            pace: Pace::default(),
            had_us: 0,
            in_line: false,
            group,
            versions: std::collections::BTreeSet::new(),
            runtimes: None,
            unable_since_ms: None,
        }
    }

    /// A job without inputs, in the group of those that need what its target says by
    /// itself; what is published is regrouped later.
    pub(crate) fn joining(demands: &mut Demands, record: &JobRecord, engine_ms: u64) -> Self {
        let policy = &record.spec.policy;
        let demand = Demand::of_target(&record.spec.target, policy.require.clone());
        let group = demands.join(demand);
        if policy.place_timeout_ms.is_some() {
            demands.watch(group, record.id);
        }
        Self::new(group, engine_ms)
    }

    /// How many are final.
    pub(crate) fn final_len(&self) -> u64 {
        self.succeeded.len() + self.failed.len() + self.cancelled.len()
    }

    /// What is final.
    pub(crate) fn final_set(&self) -> IndexSet {
        let mut all = self.succeeded.clone();
        for set in [&self.failed, &self.cancelled] {
            all.insert_all(&set.runs().collect());
        }
        all
    }

    /// Takes in what a record makes final, and what it makes wait again though it was;
    /// `redrives` is the job's latest redrive number.
    pub(crate) fn take(&mut self, record: &Record, redrives: u32) {
        if record.redrive > 0 {
            for waiting in &record.waiting {
                self.succeeded.remove_all(&waiting.indices);
                self.failed.remove_all(&waiting.indices);
                self.cancelled.remove_all(&waiting.indices);
            }
        }
        self.succeeded.insert_all(&record.succeeded);
        for failed in &record.failed {
            let new = self.failed.insert(failed.index);
            self.failed_now += u64::from(new && record.redrive == redrives);
        }
        self.cancelled.insert_all(&record.cancelled);
        self.usage.add(record.usage);
    }

    /// What is not final, ascending.
    pub(crate) fn not_final(&self) -> Ranges {
        let mut rest = IndexSet::new();
        rest.insert_all(&Ranges::one(0..self.next_index));
        rest.subtract(&self.succeeded);
        rest.subtract(&self.failed);
        rest.subtract(&self.cancelled);
        rest.runs().collect()
    }

    /// The blocks that hold at least one of these.
    pub(crate) fn blocks_of(&self, indices: &Ranges) -> Vec<BlockRef> {
        let mut blocks: Vec<BlockRef> = Vec::new();
        for run in indices.runs() {
            let at = self.block_at(run.start);
            let within = self.blocks.get(at..).unwrap_or_default();
            for block in within.iter().take_while(|block| block.first < run.end) {
                if blocks.last().is_none_or(|last| last.first < block.first) {
                    blocks.push(*block);
                }
            }
        }
        blocks
    }

    /// How many of the first of these have at most `most` bytes of inputs, by
    /// their blocks' averages; at least one. Where the averages are wrong, what they
    /// have still fits into a grant.
    pub(crate) fn fit_bytes(&self, indices: &Ranges, most: u64) -> u64 {
        let (mut bytes, mut count) = (0u64, 0u64);
        // What lies in the blocks of which there is a part, all of it: inputs that
        // are picked out of many blocks may be the long ones of each.
        let (mut within_bytes, mut last) = (0u64, None);
        for run in indices.runs() {
            let mut next = run.start;
            let within = self.blocks.get(self.block_at(next)..).unwrap_or_default();
            for block in within.iter().take_while(|block| block.first < run.end) {
                if last != Some(block.first) {
                    last = Some(block.first);
                    within_bytes += u64::from(block.bytes);
                    if within_bytes > limit::GRANT_BYTES_MAX && count > 0 {
                        return count;
                    }
                }
                let each = u64::from(block.bytes / block.count.max(1)).max(1);
                let here = u64::from(run.end.min(block.first + block.count) - next);
                let room = most.saturating_sub(bytes) / each;
                if room < here {
                    return (count + room).max(1);
                }
                bytes += here * each;
                count += here;
                next = block.first + block.count;
            }
        }
        count.max(1)
    }

    fn block_at(&self, index: Index) -> usize {
        self.blocks
            .partition_point(|block| block.first + block.count <= index)
    }
}

impl Job {
    /// Its id.
    pub(crate) fn id(&self) -> JobId {
        self.record.id
    }

    /// When it ended, milliseconds since 1970.
    pub(crate) fn ended_ms(&self) -> u64 {
        self.status.finished_ms.unwrap_or(0)
    }

    /// What runs it: what it was accepted with, or what it was redriven to.
    pub(crate) fn target(&self) -> &Target {
        self.status.target(&self.record)
    }

    /// Whether its inputs are copies of another job's.
    pub(crate) fn is_of_copies(&self) -> bool {
        self.record.shadow_of.is_some()
    }

    /// Whether a lease belongs to what was before the latest redrive.
    pub(crate) fn is_outdated(&self, lease: LeaseId) -> bool {
        let redriven = self.status.redriven.as_ref();
        redriven.is_some_and(|redriven| lease < redriven.first_lease)
    }

    /// Slots that it may hold at a time.
    pub(crate) fn slot_limit(&self) -> Option<u32> {
        self.record.spec.policy.max_concurrency
    }

    /// The end of what of it may run.
    pub(crate) fn may_run(&self) -> Index {
        let waits = self.record.spec.start == StartMode::AsSealed && self.status.sealed.is_none();
        match &self.running {
            Some(running) if !waits => running.next_index,
            _ => 0,
        }
    }

    /// How many failures it bears, if that is bounded and already known.
    pub(crate) fn tolerated(&self) -> Option<u64> {
        match self.record.spec.policy.tolerate? {
            Tolerance::Count(count) => Some(count),
            Tolerance::BasisPoints(points) => {
                let sealed = u64::from(self.status.sealed?);
                Some(sealed * u64::from(points) / 10_000)
            }
        }
    }

    /// When it must have ended, milliseconds since 1970: counted from its creation, or from
    /// its latest redrive.
    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        let deadline = self.record.spec.policy.deadline_ms?;
        let redriven = self.status.redriven.as_ref();
        let since_ms = redriven.map_or(self.record.created_ms, |redriven| redriven.at_ms);
        Some(since_ms.saturating_add(deadline))
    }

    /// Its figures; `leased` is the leases' part of them.
    pub(crate) fn summary(&self, leased: u64) -> Summary {
        let Some(running) = &self.running else {
            return self.status.summary.unwrap_or_default();
        };
        let total = u64::from(running.next_index);
        Summary {
            counts: Counts {
                total,
                waiting: total.saturating_sub(leased + running.final_len()),
                leased,
                succeeded: running.succeeded.len(),
                failed: running.failed.len(),
                cancelled: running.cancelled.len(),
            },
            usage: running.usage,
        }
    }
}

/// The status of a job that was just accepted.
pub(crate) fn first_status(source: Source) -> JobStatus {
    JobStatus {
        state: JobState::Running,
        sealed: match source {
            Source::Blocks => None,
            Source::Range { count, .. } => Some(count),
        },
        failure: None,
        started_ms: None,
        finished_ms: None,
        redrives: 0,
        redriven: None,
        pinned: None,
        routing: None,
        summary: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Target;
    use crate::policy::Labels;

    #[test]
    fn the_long_inputs_of_many_blocks_fit_into_one_message() {
        let target = Target::Function("f".to_owned());
        let group = Demands::default().join(Demand::of_target(&target, Labels::new()));
        let mut running = Running::new(group, 0);
        running.blocks = (0..256)
            .map(|at| BlockRef {
                first: at * 100,
                count: 100,
                bytes: 57_000,
                appender: Appender(1),
            })
            .collect();
        let picked: Ranges = (0..256).map(|at| at * 100..at * 100 + 1).collect();
        let fits = running.fit_bytes(&picked, limit::CHUNK_BYTES_MAX);
        assert_eq!(fits, limit::GRANT_BYTES_MAX / 57_000);
        let pairs: Ranges = (0..128)
            .flat_map(|at| [at * 100..at * 100 + 1, at * 100 + 2..at * 100 + 3])
            .collect();
        let fits = running.fit_bytes(&pairs, limit::CHUNK_BYTES_MAX);
        assert_eq!(fits, 256, "a block counts once");
        let whole = Ranges::one(0..25_600);
        let fits = running.fit_bytes(&whole, limit::CHUNK_BYTES_MAX);
        assert_eq!(fits, limit::CHUNK_BYTES_MAX / 570, "by the average");
    }
}
