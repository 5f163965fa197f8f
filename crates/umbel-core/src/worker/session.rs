//! What happens to the stream: it breaks, and what is held is offered again.

use super::line::ChunkKey;
use super::{Slot, Worker};
use crate::message::{FromWorker, Offer, Welcome};
use crate::ranges::Ranges;

impl<I: Clone, C> Worker<I, C> {
    /// The session has ended. Chunks are kept, to be offered to the next one;
    /// invokes are not, since whoever asked was told. Tells which slots are to be
    /// stopped.
    #[must_use]
    pub fn disconnected(&mut self) -> Vec<Slot> {
        self.connected = false;
        self.messages.clear();
        let line = &self.line;
        self.outcomes.restart(|key| line.find(key).is_some());
        self.slots.drop_invokes()
    }

    /// What is held of earlier sessions, for the hello.
    pub fn offers(&mut self) -> Vec<Offer> {
        let (slots, outcomes) = (&self.slots, &self.outcomes);
        self.line.offers(|key| {
            let running = slots.runs_of(key);
            running.fold(outcomes.runs_of(key), |all, run| all.union(&run))
        })
    }

    /// A session stands. What was offered goes on under its new lease as far as it
    /// is kept, and the rest is forgotten; tells which slots are to be stopped.
    #[must_use]
    pub fn welcome(&mut self, welcome: &Welcome) -> Vec<Slot> {
        self.connected = true;
        let mut stopped = Vec::new();
        // Two passes, since a new lease may bear the id of another's old one.
        let mut kept = Vec::new();
        for key in self.line.keys() {
            let lease = self.line.find(key).map(|chunk| chunk.lease);
            let mut answers = welcome.answers.iter();
            let answer = answers.find(|answer| Some(answer.old_lease) == lease);
            let kept_of = answer.and_then(|answer| Some((answer.kept.clone()?, answer.slots)));
            match kept_of {
                Some(((lease, ranges), slots)) => kept.push((key, lease, ranges, slots)),
                None => stopped.extend(self.drop_chunk(key)),
            }
        }
        for (key, lease, ranges, slots) in kept {
            stopped.extend(self.keep(key, &ranges));
            self.line.keep(key, lease, ranges, slots);
            self.line.forget_settled(key);
        }
        if self.draining {
            self.line.hand_back();
            self.messages.push_back(FromWorker::Leaving);
        }
        stopped
    }

    /// Stops and forgets what has nothing in common with what is kept. What has
    /// is reported whole: the coordinator counts what is open.
    fn keep(&mut self, key: ChunkKey, kept: &Ranges) -> Vec<Slot> {
        let foreign =
            |run: &std::ops::Range<u32>| Ranges::one(run.clone()).intersect(kept).is_empty();
        let mut dropped = self.outcomes.drop_of(key, foreign);
        for run in self.slots.runs_of(key) {
            if run.intersect(kept).is_empty() {
                dropped += run.len();
            }
        }
        let stopped = self.slots.drop_runs(key, foreign);
        for _ in &stopped {
            self.line.release(key);
        }
        self.line.settle(key, dropped);
        stopped
    }

    /// Forgets a chunk and all that came of it; tells which slots run it.
    pub(super) fn drop_chunk(&mut self, key: ChunkKey) -> Vec<Slot> {
        self.line.remove(key);
        self.outcomes.drop_of(key, |_| true);
        self.slots.drop_runs(key, |_| true)
    }
}
