//! Seats: one worker process after another, each the real machine with simulated slots.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use umbel_core::function::{Digest, Version, VersionId};
use umbel_core::id::{Index, InvokeId, WorkerId};
use umbel_core::job::Usage;
use umbel_core::outcome::FailedAttempt;
use umbel_core::ranges::Ranges;
use umbel_core::worker::{Piece, Worker};
use umbel_proto::convert::Inputs;

use crate::agenda::{LinkId, What};
use crate::dice::Dice;
use crate::model::Loss;
use crate::world::World;

/// What comes of one success.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) output: Vec<u8>,
    pub(crate) duration_us: u64,
    pub(crate) started_at_us: u64,
}

/// The inputs of a chunk or of an invoke.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) inputs: HeldInputs,
    /// What its version runs as, once that is known; none: it could not be had.
    pub(crate) made: OnceLock<Option<String>>,
    pub(crate) is_versioned: bool,
}

/// The inputs themselves.
#[derive(Debug)]
pub(crate) enum HeldInputs {
    Chunk(Inputs),
    Invoke(Bytes),
}

/// What a slot runs of a chunk.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) piece: Piece<Arc<Held>>,
    /// What runs now.
    pub(crate) next: Index,
    /// Where the piece ends, since parts of it may be cut off.
    pub(crate) end: Index,
    pub(crate) began_us: u64,
    pub(crate) began_piece_us: u64,
    pub(crate) times_out: bool,
    pub(crate) rows: Vec<Ended>,
    pub(crate) succeeded: Ranges,
    pub(crate) failed: Vec<FailedAttempt>,
    pub(crate) usage: Usage,
}

/// What a slot does.
#[derive(Debug)]
pub(crate) enum Work {
    Free,
    Runs(Box<Run>),
    Invokes {
        id: InvokeId,
        number: usize,
        /// What it runs as.
        target: Option<String>,
    },
    /// It was told to stop, and has not yet.
    Stops,
}

/// A slot; its runs are numbered so that what was planned for an earlier one is known.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) work: Work,
    pub(crate) run: u64,
}

/// A worker process.
pub(crate) struct Process {
    pub(crate) number: u64,
    pub(crate) id: WorkerId,
    pub(crate) machine: Worker<Arc<Held>, Vec<Ended>>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) link: Option<LinkId>,
    pub(crate) welcomed: bool,
    pub(crate) heartbeat_ms: u64,
    /// What this session's coordinator has said of versions.
    pub(crate) told: BTreeMap<VersionId, Arc<Version>>,
    /// Versions on their way, and the work that waits for them.
    pub(crate) loading: BTreeMap<VersionId, Arc<Version>>,
    pub(crate) waits: BTreeMap<VersionId, Vec<Arc<Held>>>,
    /// What stands ready, by what it is.
    pub(crate) ready: BTreeSet<Digest>,
    /// A function that it brings itself, unless one of that name is published.
    pub(crate) brings: Option<&'static str>,
}

/// Where processes of one name start.
pub(crate) struct Seat {
    pub(crate) stalled_until_ms: u64,
    pub(crate) silent_up_until_ms: u64,
    pub(crate) silent_down_until_ms: u64,
    pub(crate) dice: Dice,
    pub(crate) running: Option<Process>,
    /// Artifacts that its processes have fetched.
    pub(crate) cache: BTreeSet<Digest>,
    processes: u64,
}

/// The name of the workers of a seat.
pub(crate) fn name(seat: usize) -> String {
    format!("worker-{seat}")
}

/// The id of a process: seats and processes are few.
fn worker_id(seat: usize, process: u64) -> WorkerId {
    let mut id = [0; 16];
    id[0] = u8::try_from(seat + 1).unwrap_or(u8::MAX);
    id[8..].copy_from_slice(&process.to_be_bytes());
    WorkerId(id)
}

impl Seat {
    pub(crate) fn new(dice: Dice) -> Self {
        Self {
            stalled_until_ms: 0,
            silent_up_until_ms: 0,
            silent_down_until_ms: 0,
            dice,
            running: None,
            cache: BTreeSet::new(),
            processes: 0,
        }
    }

    /// The process of this number, if it is the one that runs.
    pub(crate) fn process(&mut self, number: u64) -> Option<&mut Process> {
        self.running
            .as_mut()
            .filter(|process| process.number == number)
    }

    pub(crate) fn check(&self) {
        if let Some(process) = &self.running {
            process.machine.check();
        }
    }
}

impl World {
    /// The process, if it runs and is not stalled; what it should do is put off then.
    pub(crate) fn working(
        &mut self,
        seat: usize,
        process: u64,
        what: What,
    ) -> Option<&mut Process> {
        let at = self.seats.get_mut(seat)?;
        let stalled_ms = at.stalled_until_ms;
        let found = at.process(process)?;
        if stalled_ms > self.now_ms {
            self.agenda.add(stalled_ms, what);
            return None;
        }
        Some(found)
    }

    pub(crate) fn seat_starts(&mut self, seat: usize) {
        let Some(plan) = self.plan.workers.get(seat) else {
            return;
        };
        let (slots, brings) = (plan.slots as usize, plan.brings);
        let Some(at) = self.seats.get_mut(seat).filter(|at| at.running.is_none()) else {
            return;
        };
        at.processes += 1;
        let number = at.processes;
        // A new process was not stopped.
        at.stalled_until_ms = 0;
        let free = |_| Slot {
            work: Work::Free,
            run: 0,
        };
        at.running = Some(Process {
            number,
            id: worker_id(seat, number),
            machine: Worker::new(slots),
            slots: (0..slots).map(free).collect(),
            link: None,
            welcomed: false,
            heartbeat_ms: 1_000,
            told: BTreeMap::new(),
            loading: BTreeMap::new(),
            waits: BTreeMap::new(),
            ready: BTreeSet::new(),
            brings,
        });
        let wait_ms = at.dice.below(20);
        self.later(
            wait_ms,
            What::Connects {
                seat,
                process: number,
            },
        );
    }

    /// The process behind a link.
    pub(crate) fn worker_of(&mut self, link: LinkId) -> Option<WorkerId> {
        let link = self.links.find(link)?;
        Some(worker_id(link.seat, link.process))
    }

    /// A worker process ends; `silent` means that its host died, so that nobody is told.
    pub(crate) fn process_dies(&mut self, seat: usize, loss: Loss, silent: bool) {
        let Some(at) = self.seats.get_mut(seat) else {
            return;
        };
        let Some(process) = at.running.take() else {
            return;
        };
        self.model.grants.died(process.id, loss);
        let Some(id) = process.link else { return };
        self.links.cut(id);
        if let Some(link) = self.links.find(id) {
            link.deaf_below = true;
        }
        self.links.forget_deaf(id);
        if !silent {
            let wait_ms = self.dice.below(30);
            self.later(wait_ms, What::EndsAbove(id));
        }
    }

    /// A worker's stream breaks. Now and then one end hears of it late.
    pub(crate) fn link_breaks(&mut self, seat: usize) {
        let running = self.seats.get(seat).and_then(|seat| seat.running.as_ref());
        let Some(link) = running.and_then(|process| process.link) else {
            return;
        };
        self.links.cut(link);
        let above_ms = if self.dice.chance(70) { 50 } else { 5_000 };
        let below_ms = if self.dice.chance(70) { 50 } else { 5_000 };
        let (above_ms, below_ms) = (self.dice.below(above_ms), self.dice.below(below_ms));
        self.later(above_ms, What::EndsAbove(link));
        self.later(below_ms, What::EndsBelow(link));
    }
}
