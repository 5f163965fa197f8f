//! What each slot does.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::Slot;
use super::line::ChunkKey;
use crate::function::VersionId;
use crate::id::{Index, InvokeId};
use crate::job::Target;
use crate::ranges::Ranges;

/// What a slot does.
#[derive(Clone, Debug)]
pub(super) enum Busy {
    /// Nothing.
    Free,
    /// It runs these invocations of a chunk.
    Runs(ChunkKey, Range<Index>),
    /// It runs an invoke.
    Invokes(InvokeId),
    /// It runs something that nobody waits for any more.
    Spent,
}

/// An invoke that waits for a slot.
#[derive(Debug)]
pub(super) struct Waiting<I> {
    pub(super) id: InvokeId,
    pub(super) target: Arc<Target>,
    pub(super) version: Option<VersionId>,
    pub(super) is_ready: bool,
    pub(super) timeout_ms: u64,
    pub(super) inputs: I,
}

/// All slots, and the invokes that are ahead of everything in the line.
#[derive(Debug)]
pub(super) struct Slots<I> {
    busy: Vec<Busy>,
    invokes: VecDeque<Waiting<I>>,
}

impl<I> Slots<I> {
    pub(super) fn new(count: usize) -> Self {
        Self {
            busy: vec![Busy::Free; count],
            invokes: VecDeque::new(),
        }
    }

    /// What a slot does; one that there is not is spent.
    pub(super) fn busy(&self, slot: Slot) -> &Busy {
        self.busy.get(slot).unwrap_or(&Busy::Spent)
    }

    pub(super) fn set(&mut self, slot: Slot, busy: Busy) {
        if let Some(at) = self.busy.get_mut(slot) {
            *at = busy;
        }
    }

    /// Puts an invoke ahead of everything.
    pub(super) fn push_invoke(&mut self, invoke: Waiting<I>) {
        self.invokes.push_back(invoke);
    }

    /// The first that can be run.
    pub(super) fn pop_invoke(&mut self) -> Option<Waiting<I>> {
        let at = self.invokes.iter().position(|invoke| invoke.is_ready)?;
        self.invokes.remove(at)
    }

    /// All that wait.
    pub(super) fn take_invokes(&mut self) -> VecDeque<Waiting<I>> {
        std::mem::take(&mut self.invokes)
    }

    /// What runs a version is there, or never will be.
    pub(super) fn ready(&mut self, version: VersionId) {
        for invoke in &mut self.invokes {
            invoke.is_ready |= invoke.version == Some(version);
        }
    }

    /// Whether one waits that can be run.
    pub(super) fn has_invokes(&self) -> bool {
        self.invokes.iter().any(|invoke| invoke.is_ready)
    }

    /// Forgets an invoke; tells which slot runs it.
    pub(super) fn drop_invoke(&mut self, id: InvokeId) -> Option<Slot> {
        self.invokes.retain(|invoke| invoke.id != id);
        self.spend(|busy| matches!(busy, Busy::Invokes(other) if *other == id))
            .pop()
    }

    /// Forgets all invokes; tells which slots run them.
    pub(super) fn drop_invokes(&mut self) -> Vec<Slot> {
        self.invokes.clear();
        self.spend(|busy| matches!(busy, Busy::Invokes(_)))
    }

    /// What runs of a chunk is not waited for any more, where `dropped` says so.
    pub(super) fn drop_runs(
        &mut self,
        key: ChunkKey,
        dropped: impl Fn(&Range<Index>) -> bool,
    ) -> Vec<Slot> {
        self.spend(|busy| matches!(busy, Busy::Runs(other, run) if *other == key && dropped(run)))
    }

    fn spend(&mut self, unwanted: impl Fn(&Busy) -> bool) -> Vec<Slot> {
        let mut spent = Vec::new();
        for (slot, busy) in self.busy.iter_mut().enumerate() {
            if unwanted(busy) {
                *busy = Busy::Spent;
                spent.push(slot);
            }
        }
        spent
    }

    /// What runs of a chunk.
    pub(super) fn runs_of(&self, key: ChunkKey) -> impl Iterator<Item = Ranges> + '_ {
        self.busy.iter().filter_map(move |busy| match busy {
            Busy::Runs(other, run) if *other == key => Some(Ranges::one(run.clone())),
            _ => None,
        })
    }

    /// Whether something runs or waits whose outcome counts.
    pub(super) fn is_running(&self) -> bool {
        let counts = |busy: &Busy| matches!(busy, Busy::Runs(..) | Busy::Invokes(_));
        !self.invokes.is_empty() || self.busy.iter().any(counts)
    }

    /// Whether some slot runs invocations of a chunk.
    pub(super) fn runs_chunks(&self) -> bool {
        self.busy.iter().any(|busy| matches!(busy, Busy::Runs(..)))
    }
}
