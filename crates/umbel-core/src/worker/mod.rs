//! The worker's machine: what its slots run next, what is said to the
//! coordinator and when, and what is kept until it was heard.
//!
//! All work is done by the piece, a run of consecutive invocations that takes a
//! slot about two milliseconds; nothing here is done for a single invocation. A
//! shell owns the slots' threads and the stream. To the machine the inputs `I` of
//! a chunk and the columns `C` of a piece are opaque: it hands them on.
//!
//! The tables: `line` holds the chunks in the order of their grants,
//! `slots` what each slot does, `outcomes` what is not acknowledged, `pace` how
//! long each target runs. The turns: `grant` (what the coordinator says), `run`
//! (what the slots say), `session` (what happens to the stream).

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use crate::function::VersionId;
use crate::id::{Index, InvokeId, JobId};
use crate::job::{Target, Usage};
use crate::message::{Begun, FromWorker};
use crate::outcome::FailedAttempt;
use crate::ranges::Ranges;

mod grant;
mod line;
mod outcomes;
mod pace;
mod run;
mod session;
mod slots;

#[cfg(test)]
mod tests;

use line::Line;
use outcomes::Outcomes;
use pace::Paces;
use slots::Slots;

/// Whose invocations a piece holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A chunk's; it ends by [`Worker::finished`].
    Chunk {
        /// The job.
        job: JobId,
    },
    /// An invoke's; it ends by [`Worker::invoke_finished`].
    Invoke(InvokeId),
}

/// What an invoke says, apart from its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvokeHead {
    /// Its number.
    pub id: InvokeId,
    /// What runs.
    pub target: Target,
    /// Which version of it.
    pub version: Option<VersionId>,
    /// How long it may run.
    pub timeout_ms: u64,
}

/// What a slot runs at a stretch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece<I> {
    /// Whose it is.
    pub origin: Origin,
    /// What runs.
    pub target: Arc<Target>,
    /// Which invocations; an invoke's is `0..1`.
    pub run: Range<Index>,
    /// The inputs of the whole chunk.
    pub inputs: I,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// How long one attempt may run.
    pub timeout_ms: Option<u64>,
}

/// What came of a piece, or of its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<C> {
    /// What ended; from the piece's begin on, without a gap.
    pub run: Range<Index>,
    /// What of it succeeded.
    pub succeeded: Ranges,
    /// Outputs and figures of what succeeded, in the order of `succeeded`.
    pub columns: C,
    /// What of it failed, ascending.
    pub failed: Vec<FailedAttempt>,
    /// What the attempts used; `duration_us` is the time of the slot.
    pub usage: Usage,
    /// About how long this is on the wire.
    pub bytes: usize,
}

/// A report as it is to be encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportPlan<C> {
    /// Its number within the session, from 1.
    pub number: u64,
    /// What happened under each lease.
    pub chunks: Vec<ChunkPlan<C>>,
}

/// What one chunk of a report is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkPlan<C> {
    /// How far the lease has begun.
    pub begun: Begun,
    /// What ended, ascending by their runs; never empty unless `handed_back` says
    /// something.
    pub parts: Vec<Arc<Part<C>>>,
    /// What is handed back unrun.
    pub handed_back: Ranges,
}

/// What is to be said next.
#[derive(Clone, Debug, PartialEq)]
pub enum Outgoing<C> {
    /// A message as it stands.
    Message(FromWorker),
    /// A report; its parts are merged by the shell.
    Report(ReportPlan<C>),
}

/// A slot, from 0.
pub type Slot = usize;

/// All that a worker knows and decides.
#[derive(Debug)]
pub struct Worker<I, C> {
    line: Line<I>,
    slots: Slots<I>,
    outcomes: Outcomes<C>,
    paces: Paces,
    messages: VecDeque<FromWorker>,
    connected: bool,
    draining: bool,
}

impl<I: Clone, C> Worker<I, C> {
    /// A worker that holds nothing and has no session.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        Self {
            line: Line::new(),
            slots: Slots::new(slots),
            outcomes: Outcomes::new(),
            paces: Paces::new(),
            messages: VecDeque::new(),
            connected: false,
            draining: false,
        }
    }

    /// How far each lease has begun of which something is not reported; for a
    /// heartbeat.
    #[must_use]
    pub fn begun(&self) -> Vec<Begun> {
        let pending = self.outcomes.pending_keys();
        self.line.begun(|key| pending.contains(&key))
    }

    /// Whether a slot runs something whose outcome counts.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.slots.is_running()
    }

    /// Whether it takes nothing new.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Whether everything that was begun has ended and was acknowledged, and
    /// nothing is left to be said: a draining worker may go.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let silent = self.messages.is_empty() && self.outcomes.is_empty();
        silent && !self.slots.is_running() && self.line.is_spent()
    }

    /// Walks the invariants across the tables; for tests and simulations.
    ///
    /// # Panics
    /// When one does not hold.
    #[doc(hidden)]
    pub fn check(&self) {
        self.outcomes.check();
        for (key, chunk) in self.line.chunks() {
            let running = self.slots.runs_of(key).fold(Ranges::new(), |all, run| {
                assert!(all.intersect(&run).is_empty(), "{run:?} runs twice");
                all.union(&run)
            });
            let ended = self.outcomes.runs_of(key);
            let held = [&chunk.waiting, &running, &ended];
            let count: u64 = held.iter().map(|ranges| ranges.len()).sum();
            let all = chunk.waiting.union(&running).union(&ended);
            assert_eq!(all.len(), count, "an index of {:?} is twice", chunk.lease);
            assert_eq!(chunk.unsettled, running.len() + ended.len());
            assert_eq!(chunk.used, self.slots.runs_of(key).count());
        }
    }
}
