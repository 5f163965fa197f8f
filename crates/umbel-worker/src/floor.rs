//! Where slots, watch and session meet: the machine behind its lock.
//!
//! The lock is held for bookkeeping only, once or twice for a piece. A lane's lock
//! may be taken within it, never the other way round.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use umbel_core::worker::{Origin, Piece, Slot, Worker as Machine};
use umbel_proto::columns::ColumnsBuilder;
use umbel_runtime::{CancelFlag, Limits};

use crate::clock::Clock;
use crate::lane::{Lane, Running};
use crate::work::Work;

pub(crate) type WorkerMachine = Machine<Arc<Work>, ColumnsBuilder>;

#[derive(Debug)]
pub(crate) struct Floor {
    machine: Mutex<WorkerMachine>,
    lanes: Vec<Lane>,
    /// Slots wait here for work.
    work: Condvar,
    /// The watch waits here for something to watch.
    running: Condvar,
    /// Whether it does. Read and written within the machine's lock.
    watch_sleeps: AtomicBool,
    /// The session waits here for something to say.
    pub(crate) wake: Notify,
    stopped: AtomicBool,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
}

impl Floor {
    pub(crate) fn new(slots: usize, limits: Limits) -> Self {
        Self {
            machine: Mutex::new(WorkerMachine::new(slots)),
            lanes: (0..slots).map(|_| Lane::default()).collect(),
            work: Condvar::new(),
            running: Condvar::new(),
            watch_sleeps: AtomicBool::new(false),
            wake: Notify::new(),
            stopped: AtomicBool::new(false),
            clock: Clock::start(),
            limits,
        }
    }

    pub(crate) fn machine(&self) -> MutexGuard<'_, WorkerMachine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lanes(&self) -> impl Iterator<Item = (Slot, &Lane)> {
        self.lanes.iter().enumerate()
    }

    pub(crate) fn lane(&self, slot: Slot) -> Option<&Lane> {
        self.lanes.get(slot)
    }

    /// There may be work for slots that wait.
    pub(crate) fn work_came(&self) {
        self.work.notify_all();
    }

    /// What a slot runs next; waits for it. None: the worker leaves.
    pub(crate) fn next_piece(&self, slot: Slot) -> Option<(Piece<Arc<Work>>, Arc<CancelFlag>)> {
        let lane = self.lane(slot)?;
        let mut machine = self.machine();
        loop {
            if self.is_stopped() {
                return None;
            }
            if let Some(next) = self.pull(&mut machine, slot, lane) {
                return Some(next);
            }
            let waiting = self.work.wait(machine);
            machine = waiting.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The same without waiting. None: there is nothing to run now.
    pub(crate) fn piece_now(&self, slot: Slot) -> Option<(Piece<Arc<Work>>, Arc<CancelFlag>)> {
        let lane = self.lane(slot)?;
        let mut machine = self.machine();
        if self.is_stopped() {
            return None;
        }
        self.pull(&mut machine, slot, lane)
    }

    fn pull(
        &self,
        machine: &mut WorkerMachine,
        slot: Slot,
        lane: &Lane,
    ) -> Option<(Piece<Arc<Work>>, Arc<CancelFlag>)> {
        let piece = machine.pull(slot)?;
        let is_native = piece.inputs.is_native();
        let running = Running::new(
            piece.origin,
            piece.run.clone(),
            self.clock.now_us(),
            piece.timeout_ms,
            is_native,
        );
        let cancel = Arc::clone(&running.cancel);
        // Within the machine's lock, so that machine and lane always agree.
        *lane.lock() = Some(running);
        if self.watch_sleeps.swap(false, Ordering::Relaxed) {
            self.running.notify_one();
        }
        Some((piece, cancel))
    }

    /// A slot is done with its piece; none: the watch took its outcomes over.
    pub(crate) fn finished(&self, slot: Slot, running: Option<Running>) {
        if self.is_stopped() {
            return;
        }
        let now_us = self.clock.now_us();
        let mut machine = self.machine();
        match running {
            None => machine.freed(slot),
            Some(running) => match running.origin {
                Origin::Chunk { .. } => machine.finished(now_us, slot, running.into_part()),
                Origin::Invoke(id) => {
                    machine.invoke_finished(slot, running.into_done(id));
                    self.wake.notify_one();
                }
            },
        }
        if machine.report_due(now_us) || machine.is_draining() {
            self.wake.notify_one();
        }
    }

    /// Stops what some slots run. Call it within the machine's lock: a slot may
    /// not have gone on to another piece.
    pub(crate) fn stop_slots(&self, slots: impl IntoIterator<Item = Slot>) {
        for lane in slots.into_iter().filter_map(|slot| self.lane(slot)) {
            lane.cancel();
        }
    }

    /// Waits until something runs, or a while if something does; tells whether to
    /// go on.
    pub(crate) fn watch_for(&self, tick: Duration) -> bool {
        let mut machine = self.machine();
        if machine.is_running() {
            let waited = self.running.wait_timeout(machine, tick);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
            return !self.is_stopped();
        }
        while !self.is_stopped() && !machine.is_running() {
            self.watch_sleeps.store(true, Ordering::Relaxed);
            let waiting = self.running.wait(machine);
            machine = waiting.unwrap_or_else(PoisonError::into_inner);
        }
        !self.is_stopped()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Leaves: nothing is pulled or noted any more, and programs are killed.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        // Whoever looked at the flag before has begun to wait by the time that the
        // lock is free.
        let machine = self.machine();
        self.lanes.iter().for_each(Lane::cancel);
        drop(machine);
        self.work.notify_all();
        self.running.notify_all();
    }

    /// Whether some slot attends to a program.
    pub(crate) fn runs_program(&self) -> bool {
        let programs = |lane: &Lane| {
            lane.lock()
                .as_ref()
                .is_some_and(|running| !running.is_native)
        };
        self.lanes.iter().any(programs)
    }
}
