//! The simulated disk: the store's engine in memory, and what is on its way there.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use umbel_store::{
    Commit, Engine, Error, Followed, Listener, MemoryEngine, Page, Refused, Scan, Stats, WriteBatch,
};

/// Bytes on their way above which blocks are refused: few, so that it happens.
const UNDURABLE_BYTES_MAX: usize = 24 << 10;

/// Hears of every commit and needs none of it: whoever drives the simulation asks.
#[derive(Debug)]
struct Deaf;

impl Listener for Deaf {
    fn durable(&self, _number: u64) {}

    fn committed(&self, _commit: &Commit) {}

    fn failed(&self, _error: &Error) {}

    fn fenced(&self, _error: &Error) {}
}

/// A disk.
#[derive(Debug)]
pub(crate) struct Disk {
    memory: MemoryEngine,
    /// The numbers of the batches that are not durable, in order.
    line: Mutex<VecDeque<Option<u64>>>,
}

impl Disk {
    pub(crate) fn empty() -> Self {
        Self::of(MemoryEngine::new(UNDURABLE_BYTES_MAX, Arc::new(Deaf)))
    }

    fn of(memory: MemoryEngine) -> Self {
        Self {
            memory,
            line: Mutex::default(),
        }
    }

    /// How many batches are not durable.
    pub(crate) fn undurable(&self) -> usize {
        self.memory.undurable()
    }

    /// Makes the first batches durable.
    pub(crate) fn commit(&self, count: usize) {
        self.memory.commit(count);
        let mut line = self.line();
        let count = count.min(line.len());
        line.drain(..count);
    }

    /// The disk that is found after a crash which the first `survivors` of the batches
    /// under way have outlived, and how many turns there are among them.
    pub(crate) fn crash(&self, survivors: usize) -> (Self, usize) {
        let numbered = self.line().iter().take(survivors).flatten().count();
        (
            Self::of(self.memory.crash(survivors, Arc::new(Deaf))),
            numbered,
        )
    }

    pub(crate) fn fail(&self, error: Error) {
        self.memory.fail(error);
    }

    fn line(&self) -> MutexGuard<'_, VecDeque<Option<u64>>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for Disk {
    fn submit(&self, batch: WriteBatch) {
        let (number, before) = (batch.number(), self.memory.undurable());
        self.memory.submit(batch);
        // A disk that failed takes nothing.
        if self.memory.undurable() > before {
            self.line().push_back(number);
        }
    }

    fn try_submit(&self, batch: WriteBatch) -> Result<(), Refused> {
        let number = batch.number();
        self.memory.try_submit(batch)?;
        self.line().push_back(number);
        Ok(())
    }

    fn undurable_bytes(&self) -> usize {
        self.memory.undurable_bytes()
    }

    fn undurable_bytes_max(&self) -> usize {
        self.memory.undurable_bytes_max()
    }

    fn durable(&self) -> u64 {
        self.memory.durable()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.memory.get(key)
    }

    fn scan(&self, scan: &Scan) -> Result<Page, Error> {
        self.memory.scan(scan)
    }

    fn settle(&self) -> Result<(), Error> {
        self.line().clear();
        self.memory.settle()
    }

    fn follow(&self) -> Result<(), Error> {
        self.memory.follow()
    }

    fn followed(&self) -> Result<Vec<WriteBatch>, Error> {
        self.memory.followed()
    }

    fn unfollow(&self) -> Result<Followed, Error> {
        self.line().clear();
        self.memory.unfollow()
    }

    fn live_bytes(&self) -> u64 {
        self.memory.live_bytes()
    }

    fn stats(&self) -> Stats {
        self.memory.stats()
    }

    fn close(&self) -> Result<(), Error> {
        self.line().clear();
        self.memory.close()
    }
}
