//! What is going to happen, in the order of simulated time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use umbel_core::function::VersionId;

/// A link between a worker process and a coordinator; its number is its session's.
pub(crate) type LinkId = u64;

/// One thing that will happen.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// The coordinator of this incarnation takes a turn.
    Turn(u32),
    /// Its disk makes batches durable.
    Commit(u32),
    /// It sweeps what deleted jobs left.
    Sweep(u32),
    /// A coordinator starts, if none runs.
    CoordinatorStarts,
    /// The next message of a worker arrives.
    Up(LinkId),
    /// The next message to a worker arrives.
    Down(LinkId),
    /// The coordinator notices that a link is gone.
    EndsAbove(LinkId),
    /// The worker notices it.
    EndsBelow(LinkId),
    /// A worker process starts on a seat, if none runs.
    SeatStarts(usize),
    /// A worker process tries to connect.
    Connects { seat: usize, process: u64 },
    /// What a slot runs has ended an invocation.
    Steps {
        seat: usize,
        process: u64,
        slot: usize,
        run: u64,
    },
    /// A slot that was stopped is free.
    Freed {
        seat: usize,
        process: u64,
        slot: usize,
        run: u64,
    },
    /// A worker gives a sign of life.
    Beats {
        seat: usize,
        process: u64,
        link: LinkId,
    },
    /// A worker looks whether a report is due.
    Pump { seat: usize, process: u64 },
    /// A client goes on; `step` tells a stale wake-up from a current one.
    Client { client: usize, step: u64 },
    /// A client's planned interruption.
    Aside { client: usize, aside: usize },
    /// An invoke is asked for.
    Invokes(usize),
    /// The coordinator of this incarnation has sorted what it was asked to.
    Sorts(u32),
    /// Something is done with a published function.
    Moves(usize),
    /// A worker asks for the artifact of a version.
    Fetches {
        seat: usize,
        process: u64,
        version: VersionId,
        tries: u32,
    },
    /// A fault of the plan.
    Fault(usize),
    /// A coordinator notices that its store failed.
    StoreNoticed { incarnation: u32, down_ms: u64 },
}

/// Who waits for its time.
#[derive(Debug)]
struct Entry {
    at_ms: u64,
    number: u64,
    what: What,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap gives its greatest first, so the earliest is the greatest.
        (other.at_ms, other.number).cmp(&(self.at_ms, self.number))
    }
}

/// All that is going to happen; what has equal time happens in the order of its entry.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    entries: BinaryHeap<Entry>,
    number: u64,
}

impl Agenda {
    pub(crate) fn add(&mut self, at_ms: u64, what: What) {
        self.number += 1;
        let number = self.number;
        self.entries.push(Entry {
            at_ms,
            number,
            what,
        });
    }

    pub(crate) fn next(&mut self) -> Option<(u64, What)> {
        self.entries.pop().map(|entry| (entry.at_ms, entry.what))
    }
}
