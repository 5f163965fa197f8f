//! What has ended and is not acknowledged.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::Part;
use super::line::ChunkKey;
use crate::id::Index;
use crate::limit;
use crate::ranges::Ranges;

/// How long outcomes wait for company, in microseconds. A report that is full, or
/// of a worker with nothing else to do, leaves at once. Each report is a commit of the
/// coordinator's: those of a worker that stays busy wait twice as long each time, though
/// no longer than it has work for, so that more comes before that is done.
const PATIENCE_US: u64 = 10_000;
const PATIENCE_LONGEST_US: u64 = limit::HOLD_US;

/// A part with the chunk that it is of.
#[derive(Debug)]
struct Kept<C> {
    key: ChunkKey,
    part: Arc<Part<C>>,
    /// When it ended, on the shell's clock.
    at_us: u64,
}

/// Parts of one report, by chunk.
pub(super) type Load<C> = BTreeMap<ChunkKey, Vec<Arc<Part<C>>>>;

/// Outcomes in the order in which they came: the newest of them pending, those
/// before in reports that were sent.
#[derive(Debug)]
pub(super) struct Outcomes<C> {
    pending: VecDeque<Kept<C>>,
    pending_invocations: u64,
    pending_bytes: usize,
    /// Reports by number; one that only hands back holds no parts.
    sent: VecDeque<(u64, Vec<Kept<C>>)>,
    sent_bytes: usize,
    reports: u64,
    patience_us: u64,
}

impl<C> Outcomes<C> {
    pub(super) fn new() -> Self {
        Self {
            pending: VecDeque::new(),
            pending_invocations: 0,
            pending_bytes: 0,
            sent: VecDeque::new(),
            sent_bytes: 0,
            reports: 0,
            patience_us: PATIENCE_US,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.sent.is_empty()
    }

    /// Whether so much is unacknowledged that nothing new should begin.
    pub(super) fn is_full(&self) -> bool {
        self.pending_bytes + self.sent_bytes > limit::UNACKNOWLEDGED_BYTES_MAX
    }

    pub(super) fn push(&mut self, now_us: u64, key: ChunkKey, part: Part<C>) {
        self.pending_invocations += u64::from(part.run.end - part.run.start);
        self.pending_bytes += part.bytes;
        self.pending.push_back(Kept {
            key,
            part: Arc::new(part),
            at_us: now_us,
        });
    }

    /// When the outcomes that wait should leave, though they are few.
    pub(super) fn due_us(&self) -> Option<u64> {
        self.pending
            .front()
            .map(|kept| kept.at_us + self.patience_us)
    }

    /// Whether outcomes wait.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The chunks of which outcomes wait.
    pub(super) fn pending_keys(&self) -> BTreeSet<ChunkKey> {
        self.pending.iter().map(|kept| kept.key).collect()
    }

    /// Whether a report would be full.
    pub(super) fn fills_report(&self) -> bool {
        self.pending_bytes >= limit::REPORT_BYTES_TARGET
            || self.pending_invocations >= u64::from(limit::REPORT_INVOCATIONS_MAX)
    }

    /// Makes the next report of the oldest that wait: one part at least, if there
    /// are any, and no more than fit. `is_idle`: the worker has nothing else to do.
    pub(super) fn next_report(&mut self, is_idle: bool) -> (u64, Load<C>) {
        self.reports += 1;
        self.patience_us = if is_idle {
            PATIENCE_US
        } else {
            (2 * self.patience_us).min(PATIENCE_LONGEST_US)
        };
        let (mut kept, mut invocations, mut bytes) = (Vec::new(), 0, 0);
        let mut load = Load::new();
        while let Some(first) = self.pending.front() {
            let count = u64::from(first.part.run.end - first.part.run.start);
            let fits = invocations + count <= u64::from(limit::REPORT_INVOCATIONS_MAX)
                && bytes + first.part.bytes <= limit::REPORT_BYTES_TARGET;
            if !fits && !kept.is_empty() {
                break;
            }
            let Some(first) = self.pending.pop_front() else {
                break;
            };
            invocations += count;
            bytes += first.part.bytes;
            load.entry(first.key)
                .or_default()
                .push(Arc::clone(&first.part));
            kept.push(first);
        }
        for parts in load.values_mut() {
            parts.sort_by_key(|part| part.run.start);
        }
        self.pending_invocations -= invocations;
        self.pending_bytes -= bytes;
        self.sent_bytes += bytes;
        self.sent.push_back((self.reports, kept));
        (self.reports, load)
    }

    /// Forgets reports up to a number; tells how much of which chunks they were.
    pub(super) fn acknowledged(&mut self, number: u64) -> Vec<(ChunkKey, u64)> {
        let count = self.sent.partition_point(|(sent, _)| *sent <= number);
        let mut settled = Vec::new();
        for kept in self.sent.drain(..count).flat_map(|(_, kept)| kept) {
            self.sent_bytes -= kept.part.bytes;
            let run = &kept.part.run;
            settled.push((kept.key, u64::from(run.end - run.start)));
        }
        settled
    }

    /// The session has ended: what was sent waits again, in its old order, and
    /// the next report is number 1. What is of a chunk that `is_held` does not know
    /// any more is dropped.
    pub(super) fn restart(&mut self, is_held: impl Fn(ChunkKey) -> bool) {
        self.reports = 0;
        self.patience_us = PATIENCE_US;
        self.sent_bytes = 0;
        let sent = std::mem::take(&mut self.sent);
        let sent = sent.into_iter().flat_map(|(_, kept)| kept);
        for kept in sent.rev().filter(|kept| is_held(kept.key)) {
            let run = &kept.part.run;
            self.pending_invocations += u64::from(run.end - run.start);
            self.pending_bytes += kept.part.bytes;
            self.pending.push_front(kept);
        }
    }

    /// Drops what waits of a chunk, where `dropped` says so; tells how much.
    pub(super) fn drop_of(
        &mut self,
        key: ChunkKey,
        dropped: impl Fn(&std::ops::Range<Index>) -> bool,
    ) -> u64 {
        let (mut invocations, mut bytes) = (0, 0);
        self.pending.retain(|kept| {
            let goes = kept.key == key && dropped(&kept.part.run);
            if goes {
                invocations += u64::from(kept.part.run.end - kept.part.run.start);
                bytes += kept.part.bytes;
            }
            !goes
        });
        self.pending_invocations -= invocations;
        self.pending_bytes -= bytes;
        invocations
    }

    /// What has ended of a chunk and is not acknowledged.
    pub(super) fn runs_of(&self, key: ChunkKey) -> Ranges {
        let sent = self.sent.iter().flat_map(|(_, kept)| kept);
        let mut runs: Vec<_> = (sent.chain(&self.pending))
            .filter(|kept| kept.key == key)
            .map(|kept| kept.part.run.clone())
            .collect();
        runs.sort_unstable_by_key(|run| run.start);
        let mut ranges = Ranges::new();
        for run in runs {
            ranges.push(run);
        }
        ranges
    }

    pub(super) fn check(&self) {
        let bytes = |kept: &Kept<C>| kept.part.bytes;
        let pending: usize = self.pending.iter().map(bytes).sum();
        assert_eq!(self.pending_bytes, pending, "bytes that wait");
        let sent = self.sent.iter().flat_map(|(_, kept)| kept);
        assert_eq!(
            self.sent_bytes,
            sent.map(bytes).sum::<usize>(),
            "bytes sent"
        );
    }
}
