//! Invokes that wait or run. They live in memory only.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::function::VersionId;
use crate::id::{InvokeId, ReplyId, WorkerId};
use crate::job::Target;
use crate::route::ArmId;

/// One invocation that somebody waits for.
#[derive(Debug)]
pub(crate) struct InvokeEntry {
    /// Who waits.
    pub(crate) reply: ReplyId,
    /// What runs.
    pub(crate) target: Target,
    /// Which version of it.
    pub(crate) version: Option<VersionId>,
    /// The arm that it runs for.
    pub(crate) arm: Option<ArmId>,
    /// The input.
    pub(crate) input: Bytes,
    /// How long it may wait and run.
    pub(crate) timeout_ms: u64,
    /// When that has passed, in engine time.
    pub(crate) until_ms: u64,
    /// The worker that has it.
    pub(crate) worker: Option<WorkerId>,
}

/// All invokes.
#[derive(Debug, Default)]
pub(crate) struct Invokes {
    invokes: BTreeMap<InvokeId, InvokeEntry>,
    waiting: BTreeSet<InvokeId>,
    by_worker: BTreeMap<WorkerId, BTreeSet<InvokeId>>,
    /// Workers that took a seat since the waiting ones were last tried: nobody else
    /// can run what waits.
    newcomers: BTreeSet<WorkerId>,
}

impl Invokes {
    /// Adds one that waits.
    pub(crate) fn insert(&mut self, id: InvokeId, invoke: InvokeEntry) {
        self.waiting.insert(id);
        self.invokes.insert(id, invoke);
    }

    /// A worker has it now.
    pub(crate) fn place(&mut self, id: InvokeId, worker: WorkerId) {
        if let Some(invoke) = self.invokes.get_mut(&id) {
            invoke.worker = Some(worker);
            self.waiting.remove(&id);
            self.by_worker.entry(worker).or_default().insert(id);
        }
    }

    /// No worker has it any more.
    pub(crate) fn unplace(&mut self, id: InvokeId) {
        if let Some(mut invoke) = self.remove(id) {
            invoke.worker = None;
            self.insert(id, invoke);
        }
    }

    /// Forgets one.
    pub(crate) fn remove(&mut self, id: InvokeId) -> Option<InvokeEntry> {
        let invoke = self.invokes.remove(&id)?;
        self.waiting.remove(&id);
        if let Some(worker) = invoke.worker
            && let Some(ids) = self.by_worker.get_mut(&worker)
        {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_worker.remove(&worker);
            }
        }
        Some(invoke)
    }

    pub(crate) fn find(&self, id: InvokeId) -> Option<&InvokeEntry> {
        self.invokes.get(&id)
    }

    /// Those that no worker has.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (InvokeId, &InvokeEntry)> {
        let ids = self.waiting.iter();
        ids.filter_map(|id| Some((*id, self.invokes.get(id)?)))
    }

    /// A worker takes work from now on.
    pub(crate) fn welcome(&mut self, worker: WorkerId) {
        if !self.waiting.is_empty() {
            self.newcomers.insert(worker);
        }
    }

    /// The workers that what waits has not been tried on.
    pub(crate) fn take_newcomers(&mut self) -> BTreeSet<WorkerId> {
        std::mem::take(&mut self.newcomers)
    }

    /// Those that a worker has.
    pub(crate) fn of_worker(&self, worker: WorkerId) -> Vec<InvokeId> {
        let ids = self.by_worker.get(&worker);
        ids.map_or_else(Vec::new, |ids| ids.iter().copied().collect())
    }

    /// How many a worker has.
    pub(crate) fn count_of(&self, worker: WorkerId) -> usize {
        self.by_worker.get(&worker).map_or(0, BTreeSet::len)
    }

    /// Whether one runs a version, or will.
    pub(crate) fn uses(&self, version: VersionId) -> bool {
        let mut invokes = self.invokes.values();
        invokes.any(|invoke| invoke.version == Some(version))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.invokes.len()
    }

    /// Whether what waits has still to be tried on a worker.
    pub(crate) fn is_newcomer(&self, worker: WorkerId) -> bool {
        self.newcomers.contains(&worker)
    }

    /// Walks the invariants.
    pub(crate) fn check(&self) {
        for (id, invoke) in &self.invokes {
            assert_eq!(invoke.worker.is_none(), self.waiting.contains(id));
        }
        let placed: usize = self.by_worker.values().map(BTreeSet::len).sum();
        assert_eq!(placed + self.waiting.len(), self.invokes.len());
    }
}
