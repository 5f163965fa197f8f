//! What the slots say, and what they run next.

use std::sync::Arc;

use super::slots::Busy;
use super::{ChunkPlan, Origin, Outgoing, Part, Piece, ReportPlan, Slot, Worker};
use crate::id::Index;
use crate::message::{Begun, FromWorker, InvokeDone};
use crate::ranges::Ranges;

impl<I: Clone, C> Worker<I, C> {
    /// What a free slot runs now, if anything.
    pub fn pull(&mut self, slot: Slot) -> Option<Piece<I>> {
        if !matches!(self.slots.busy(slot), Busy::Free) {
            return None;
        }
        if let Some(invoke) = self.slots.pop_invoke() {
            self.slots.set(slot, Busy::Invokes(invoke.id));
            return Some(Piece {
                origin: Origin::Invoke(invoke.id),
                target: invoke.target,
                run: 0..1,
                inputs: invoke.inputs,
                attempt: 1,
                timeout_ms: Some(invoke.timeout_ms),
            });
        }
        if self.outcomes.is_full() {
            return None;
        }
        let key = self.line.next()?;
        let len = self.paces.piece_len(&self.line.find(key)?.target);
        let (chunk, run) = self.line.pull(key, len)?;
        self.slots.set(slot, Busy::Runs(key, run.clone()));
        Some(Piece {
            origin: Origin::Chunk { job: chunk.job },
            target: Arc::clone(&chunk.target),
            run,
            inputs: chunk.inputs.clone(),
            attempt: chunk.attempt,
            timeout_ms: chunk.timeout_ms,
        })
    }

    /// Whether [`Self::pull`] has something for another free slot.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.slots.has_invokes() || (!self.outcomes.is_full() && self.line.next().is_some())
    }

    /// A slot ended its piece and is free. What the part does not cover was not
    /// begun and waits again.
    pub fn finished(&mut self, now_us: u64, slot: Slot, part: Part<C>) {
        self.ended(now_us, slot, part);
        self.slots.set(slot, Busy::Free);
    }

    /// What a slot runs has outrun its timeout and cannot be stopped: the part
    /// ends with it, the rest of the piece waits again, and the slot stays taken
    /// until [`Self::freed`].
    pub fn timed_out(&mut self, now_us: u64, slot: Slot, part: Part<C>) {
        self.ended(now_us, slot, part);
        self.slots.set(slot, Busy::Spent);
    }

    /// A slot runs long: what is at or behind `end` of its piece waits again, for
    /// other slots.
    pub fn cut(&mut self, slot: Slot, end: Index) {
        let &Busy::Runs(key, ref run) = self.slots.busy(slot) else {
            return;
        };
        let run = run.clone();
        let end = end.clamp(run.start, run.end);
        self.slots.set(slot, Busy::Runs(key, run.start..end));
        self.line.return_run(key, end..run.end);
        self.leave_if_draining();
    }

    /// A slot that ran what nobody waits for is free.
    pub fn freed(&mut self, slot: Slot) {
        if let &Busy::Runs(key, ref run) = self.slots.busy(slot) {
            let run = run.clone();
            self.line.release(key);
            self.line.return_run(key, run);
            self.leave_if_draining();
        }
        self.slots.set(slot, Busy::Free);
    }

    /// An invoke has ended; its slot is free.
    pub fn invoke_finished(&mut self, slot: Slot, done: InvokeDone) {
        self.invoke_ended(slot, done);
        self.slots.set(slot, Busy::Free);
    }

    /// An invoke has outrun its timeout and cannot be stopped.
    pub fn invoke_timed_out(&mut self, slot: Slot, done: InvokeDone) {
        self.invoke_ended(slot, done);
        self.slots.set(slot, Busy::Spent);
    }

    fn invoke_ended(&mut self, slot: Slot, done: InvokeDone) {
        if matches!(self.slots.busy(slot), Busy::Invokes(id) if *id == done.id) {
            self.messages.push_back(FromWorker::InvokeDone(done));
        }
    }

    fn ended(&mut self, now_us: u64, slot: Slot, part: Part<C>) {
        let &Busy::Runs(key, ref run) = self.slots.busy(slot) else {
            return;
        };
        let run = run.clone();
        debug_assert!(run.start == part.run.start && part.run.end <= run.end);
        self.line.release(key);
        self.line.return_run(key, part.run.end..run.end);
        self.leave_if_draining();
        if part.run.is_empty() {
            self.line.forget_settled(key);
            return;
        }
        if let Some(chunk) = self.line.find(key) {
            let count = u64::from(part.run.end - part.run.start);
            (self.paces).measured(&chunk.target, count, part.usage.duration_us);
        }
        self.outcomes.push(now_us, key, part);
    }

    fn leave_if_draining(&mut self) {
        if self.draining {
            self.line.hand_back();
        }
    }

    /// What to say now, if anything. Ask until there is nothing.
    pub fn next_message(&mut self, now_us: u64) -> Option<Outgoing<C>> {
        if !self.connected {
            return None;
        }
        if let Some(message) = self.messages.pop_front() {
            return Some(Outgoing::Message(message));
        }
        let report = self.report_due(now_us).then(|| self.next_report());
        report.map(Outgoing::Report)
    }

    /// Whether a report leaves now: it is full or old enough, or its worker has
    /// nothing else to do.
    #[must_use]
    pub fn report_due(&self, now_us: u64) -> bool {
        if self.line.hands_back() || self.outcomes.fills_report() {
            return self.connected;
        }
        let old = self.outcomes.due_us().is_some_and(|due| due <= now_us);
        self.connected && self.outcomes.has_pending() && (old || self.is_idle())
    }

    fn is_idle(&self) -> bool {
        !self.slots.runs_chunks() && !self.has_work()
    }

    fn next_report(&mut self) -> ReportPlan<C> {
        let (number, load) = self.outcomes.next_report(self.is_idle());
        let mut chunks: Vec<ChunkPlan<C>> = Vec::with_capacity(load.len());
        let mut keys = Vec::with_capacity(load.len());
        for (key, parts) in load {
            // What was revoked meanwhile has dropped its parts, so the chunk is there.
            if let Some(begun) = self.line.begun_of(key) {
                keys.push(key);
                chunks.push(plan(begun, parts, Ranges::new()));
            }
        }
        while let Some((key, begun, handed_back)) = self.line.take_handed_back() {
            match keys
                .binary_search(&key)
                .ok()
                .and_then(|at| chunks.get_mut(at))
            {
                Some(chunk) => chunk.handed_back = handed_back,
                None => chunks.push(plan(begun, Vec::new(), handed_back)),
            }
        }
        ReportPlan { number, chunks }
    }
}

fn plan<C>(begun: Begun, parts: Vec<Arc<Part<C>>>, handed_back: Ranges) -> ChunkPlan<C> {
    ChunkPlan {
        begun,
        parts,
        handed_back,
    }
}
