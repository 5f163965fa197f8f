//! The chunks that a worker holds, in the order of their grants: its line.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use crate::function::VersionId;
use crate::id::{Index, JobId, LeaseId};
use crate::job::Target;
use crate::limit;
use crate::message::{Begun, GrantHead, Offer};
use crate::ranges::Ranges;
use crate::route::ArmId;

/// A chunk within this process. Its lease may change with a session, this never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChunkKey(u64);

/// A chunk that is not settled.
#[derive(Debug)]
pub(super) struct Chunk<I> {
    pub(super) lease: LeaseId,
    pub(super) job: JobId,
    pub(super) target: Arc<Target>,
    pub(super) inputs: I,
    pub(super) attempt: u32,
    pub(super) timeout_ms: Option<u64>,
    pub(super) version: Option<VersionId>,
    arm: Option<ArmId>,
    /// Whether what runs it is there; what is not waits, and others go ahead of it.
    is_ready: bool,
    /// What the lease covers, less what was given back.
    indices: Ranges,
    /// What no slot has pulled.
    pub(super) waiting: Ranges,
    /// What was pulled and is not acknowledged: it runs, or its outcome is kept.
    pub(super) unsettled: u64,
    /// Nothing at or behind this index has begun.
    begun_end: Index,
    /// How many slots may run it at a time, at least 1, and how many do.
    slots: usize,
    pub(super) used: usize,
    /// What is to be handed back with the next report.
    handed_back: Ranges,
}

impl<I> Chunk<I> {
    fn begun(&self) -> Begun {
        let count = self.indices.rank(self.begun_end);
        Begun {
            lease: self.lease,
            count: u32::try_from(count).unwrap_or(u32::MAX),
        }
    }

    fn is_settled(&self) -> bool {
        self.waiting.is_empty() && self.unsettled == 0 && self.handed_back.is_empty()
    }

    fn give_back(&mut self, back: &Ranges) {
        self.indices = self.indices.minus(back);
    }
}

/// All chunks that are not settled. A settled one is forgotten at once.
#[derive(Debug)]
pub(super) struct Line<I> {
    last: u64,
    chunks: BTreeMap<ChunkKey, Chunk<I>>,
    leases: BTreeMap<LeaseId, ChunkKey>,
    /// Chunks of which something waits.
    waiting: BTreeSet<ChunkKey>,
    /// Chunks of which something is to be handed back.
    handing_back: BTreeSet<ChunkKey>,
}

impl<I> Line<I> {
    pub(super) fn new() -> Self {
        Self {
            last: 0,
            chunks: BTreeMap::new(),
            leases: BTreeMap::new(),
            waiting: BTreeSet::new(),
            handing_back: BTreeSet::new(),
        }
    }

    pub(super) fn chunks(&self) -> impl Iterator<Item = (ChunkKey, &Chunk<I>)> {
        self.chunks.iter().map(|(&key, chunk)| (key, chunk))
    }

    pub(super) fn find(&self, key: ChunkKey) -> Option<&Chunk<I>> {
        self.chunks.get(&key)
    }

    pub(super) fn by_lease(&self, lease: LeaseId) -> Option<ChunkKey> {
        self.leases.get(&lease).copied()
    }

    pub(super) fn keys(&self) -> Vec<ChunkKey> {
        self.chunks.keys().copied().collect()
    }

    /// How far each lease has begun of which something is not reported: something
    /// waits, or runs, or `has_pending` says so.
    pub(super) fn begun(&self, has_pending: impl Fn(ChunkKey) -> bool) -> Vec<Begun> {
        let is_open = |(key, chunk): &(&ChunkKey, &Chunk<I>)| {
            !chunk.waiting.is_empty() || chunk.used > 0 || has_pending(**key)
        };
        let open = self.chunks.iter().filter(is_open);
        let begun = open.map(|(_, chunk)| chunk.begun());
        begun.take(limit::WORKER_LEASES_MAX).collect()
    }

    /// How far one has.
    pub(super) fn begun_of(&self, key: ChunkKey) -> Option<Begun> {
        self.find(key).map(Chunk::begun)
    }

    /// Whether nothing waits, neither for a slot nor to be handed back.
    pub(super) fn is_spent(&self) -> bool {
        self.waiting.is_empty() && self.handing_back.is_empty()
    }

    /// Adds a chunk at the end; nothing if its lease is there already.
    pub(super) fn push(&mut self, head: GrantHead, inputs: I) -> Option<ChunkKey> {
        if self.leases.contains_key(&head.lease) || head.indices.is_empty() {
            return None;
        }
        self.last += 1;
        let key = ChunkKey(self.last);
        self.leases.insert(head.lease, key);
        self.waiting.insert(key);
        let chunk = Chunk {
            lease: head.lease,
            job: head.job,
            target: Arc::new(head.target),
            inputs,
            attempt: head.attempt,
            timeout_ms: head.timeout_ms,
            version: head.version,
            arm: head.arm,
            is_ready: head.version.is_none(),
            waiting: head.indices.clone(),
            indices: head.indices,
            unsettled: 0,
            begun_end: 0,
            slots: slot_count(head.slots),
            used: 0,
            handed_back: Ranges::new(),
        };
        self.chunks.insert(key, chunk);
        Some(key)
    }

    /// What runs a version is there, or never will be.
    pub(super) fn ready(&mut self, version: VersionId) {
        for chunk in self.chunks.values_mut() {
            chunk.is_ready |= chunk.version == Some(version);
        }
    }

    /// The first chunk that waits, can be run, and may use another slot.
    pub(super) fn next(&self) -> Option<ChunkKey> {
        let free = |key: &&ChunkKey| {
            let chunk = self.chunks.get(key);
            chunk.is_some_and(|chunk| chunk.is_ready && chunk.used < chunk.slots)
        };
        self.waiting.iter().find(free).copied()
    }

    /// Cuts up to `len` invocations off a chunk's first run, for one more slot.
    pub(super) fn pull(&mut self, key: ChunkKey, len: u64) -> Option<(&Chunk<I>, Range<Index>)> {
        let chunk = self.chunks.get_mut(&key)?;
        let first = chunk.waiting.runs().next()?;
        let len = len.min(u64::from(first.end - first.start));
        let rest = chunk.waiting.split_off(len);
        let run = first.start..first.start + Index::try_from(len).unwrap_or(0);
        chunk.waiting = rest;
        chunk.unsettled += len;
        chunk.used += 1;
        chunk.begun_end = chunk.begun_end.max(run.end);
        if chunk.waiting.is_empty() {
            self.waiting.remove(&key);
        }
        Some((chunk, run))
    }

    /// Part of what was pulled was not begun and waits again.
    pub(super) fn return_run(&mut self, key: ChunkKey, run: Range<Index>) {
        let Some(chunk) = self.chunks.get_mut(&key).filter(|_| !run.is_empty()) else {
            return;
        };
        let run = Ranges::one(run);
        chunk.unsettled -= run.len();
        chunk.waiting = chunk.waiting.union(&run);
        self.waiting.insert(key);
    }

    /// A slot does not run the chunk any more.
    pub(super) fn release(&mut self, key: ChunkKey) {
        if let Some(chunk) = self.chunks.get_mut(&key) {
            chunk.used -= 1;
        }
    }

    /// Outcomes of so many invocations were acknowledged.
    pub(super) fn settle(&mut self, key: ChunkKey, count: u64) {
        if let Some(chunk) = self.chunks.get_mut(&key) {
            chunk.unsettled -= count;
        }
        self.forget_settled(key);
    }

    /// Gives back what waits, but for the first `keep`.
    pub(super) fn take_back(&mut self, key: ChunkKey, keep: u64) -> Option<(Begun, Ranges)> {
        let chunk = self.chunks.get_mut(&key)?;
        let back = chunk.waiting.split_off(keep);
        chunk.give_back(&back);
        if chunk.waiting.is_empty() {
            self.waiting.remove(&key);
        }
        let begun = chunk.begun();
        self.forget_settled(key);
        Some((begun, back))
    }

    /// Hands back all that waits, with the reports to come.
    pub(super) fn hand_back(&mut self) {
        for key in std::mem::take(&mut self.waiting) {
            if let Some(chunk) = self.chunks.get_mut(&key) {
                let back = std::mem::take(&mut chunk.waiting);
                chunk.give_back(&back);
                chunk.handed_back = chunk.handed_back.union(&back);
                self.handing_back.insert(key);
            }
        }
    }

    /// Whether something is to be handed back.
    pub(super) fn hands_back(&self) -> bool {
        !self.handing_back.is_empty()
    }

    /// Takes what is to be handed back of one chunk.
    pub(super) fn take_handed_back(&mut self) -> Option<(ChunkKey, Begun, Ranges)> {
        let key = self.handing_back.pop_first()?;
        let chunk = self.chunks.get_mut(&key)?;
        let back = std::mem::take(&mut chunk.handed_back);
        let begun = chunk.begun();
        self.forget_settled(key);
        Some((key, begun, back))
    }

    /// What of each chunk is held, to be offered in a new session. What was to be
    /// handed back is not: a worker that does not offer it has handed it back. Nor is
    /// what is beyond the bound of leases, as where a disk was slow to acknowledge: of
    /// that the newest is given up, and runs again where it was not recorded.
    pub(super) fn offers(&mut self, ended: impl Fn(ChunkKey) -> Ranges) -> Vec<Offer> {
        for key in std::mem::take(&mut self.handing_back) {
            if let Some(chunk) = self.chunks.get_mut(&key) {
                chunk.handed_back = Ranges::new();
            }
            self.forget_settled(key);
        }
        let offer = |(&key, chunk): (&ChunkKey, &Chunk<I>)| Offer {
            lease: chunk.lease,
            job: chunk.job,
            indices: chunk.waiting.union(&ended(key)),
            attempt: chunk.attempt,
            version: chunk.version,
            arm: chunk.arm,
        };
        let offers = self.chunks.iter().map(offer);
        offers.take(limit::WORKER_LEASES_MAX).collect()
    }

    /// A chunk goes on under another lease with what is kept of it, in as many slots
    /// as that lease has.
    pub(super) fn keep(&mut self, key: ChunkKey, lease: LeaseId, kept: Ranges, slots: u32) {
        let Some(chunk) = self.chunks.get_mut(&key) else {
            return;
        };
        // The old id may be another chunk's new one.
        if self.leases.get(&chunk.lease) == Some(&key) {
            self.leases.remove(&chunk.lease);
        }
        self.leases.insert(lease, key);
        chunk.lease = lease;
        chunk.slots = slot_count(slots);
        chunk.waiting = chunk.waiting.intersect(&kept);
        chunk.indices = kept;
        if chunk.waiting.is_empty() {
            self.waiting.remove(&key);
        }
    }

    /// Forgets a chunk, whatever it holds.
    pub(super) fn remove(&mut self, key: ChunkKey) {
        if let Some(chunk) = self.chunks.remove(&key) {
            // The lease may be another chunk's by now.
            if self.leases.get(&chunk.lease) == Some(&key) {
                self.leases.remove(&chunk.lease);
            }
        }
        self.waiting.remove(&key);
        self.handing_back.remove(&key);
    }

    pub(super) fn forget_settled(&mut self, key: ChunkKey) {
        if self.find(key).is_some_and(Chunk::is_settled) {
            self.remove(key);
        }
    }
}

/// Slots of a lease, at least 1.
fn slot_count(slots: u32) -> usize {
    usize::try_from(slots.max(1)).unwrap_or(usize::MAX)
}
