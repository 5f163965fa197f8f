//! An engine in memory, for tests and the simulation: it has no thread, and whoever drives it says
//! when something becomes durable and what a crash keeps.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::engine::Following;
use crate::{
    Commit, Direction, Engine, Entry, Error, Followed, Listener, Page, Refused, Scan, Stats, Write,
    WriteBatch, live,
};

/// An [`Engine`] that forgets everything at its end.
///
/// As on sled, what was submitted can be read at once, and is durable later: when
/// [`MemoryEngine::commit`] is called.
pub struct MemoryEngine {
    state: Mutex<State>,
    listener: Arc<dyn Listener>,
    undurable_bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    shown: BTreeMap<Bytes, Bytes>,
    kept: BTreeMap<Bytes, Bytes>,
    line: VecDeque<WriteBatch>,
    durable: u64,
    stats: Stats,
    /// Of what is shown.
    live_bytes: u64,
    following: Option<Following>,
    ended: Option<Error>,
}

impl MemoryEngine {
    /// An empty engine, where `listener` hears of every commit.
    #[must_use]
    pub fn new(undurable_bytes_max: usize, listener: Arc<dyn Listener>) -> Self {
        Self {
            state: Mutex::default(),
            listener,
            undurable_bytes_max,
        }
    }

    /// How many batches were submitted and are not durable yet.
    #[must_use]
    pub fn undurable(&self) -> usize {
        self.lock().line.len()
    }

    /// Makes the first `count` batches in line durable, as one commit, and tells the listener.
    pub fn commit(&self, count: usize) {
        let commit = {
            let mut state = self.lock();
            let count = count.min(state.line.len());
            let batches: Vec<_> = state.line.drain(..count).collect();
            if batches.is_empty() {
                return;
            }
            let commit = Commit {
                number: batches.iter().filter_map(WriteBatch::number).max(),
                batches: batches.len(),
                bytes: batches.iter().map(WriteBatch::bytes).sum(),
                ..Commit::default()
            };
            for batch in &batches {
                apply(&mut state.kept, batch);
            }
            state.durable = commit.number.unwrap_or(state.durable);
            state.stats.commits += 1;
            state.stats.batches += commit.batches as u64;
            state.stats.bytes += commit.bytes as u64;
            state.stats.undurable_bytes -= commit.bytes as u64;
            if let Some(following) = &mut state.following {
                following.push(batches);
            }
            commit
        };
        // Without the lock, so that the listener can submit what follows from it.
        if let Some(number) = commit.number {
            self.listener.durable(number);
        }
        self.listener.committed(&commit);
    }

    /// The disk refuses: `error` is told, and nothing becomes durable any more.
    pub fn fail(&self, error: Error) {
        {
            let mut state = self.lock();
            if state.ended.is_some() {
                return;
            }
            state.ended = Some(error.clone());
            state.line.clear();
            state.stats.undurable_bytes = 0;
        }
        self.listener.failed(&error);
    }

    /// The engine that is found after a crash: it has every durable batch, and of those in line the
    /// first `survivors`, since a disk may have more than it said.
    #[must_use]
    pub fn crash(&self, survivors: usize, listener: Arc<dyn Listener>) -> Self {
        let state = self.lock();
        let mut kept = state.kept.clone();
        for batch in state.line.iter().take(survivors) {
            apply(&mut kept, batch);
        }
        let live_bytes = kept.iter().map(|(key, value)| key.len() + value.len());
        let state = State {
            live_bytes: live_bytes.sum::<usize>() as u64,
            shown: kept.clone(),
            kept,
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            listener,
            undurable_bytes_max: self.undurable_bytes_max,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, batch: WriteBatch) {
        if self.ended.is_none() {
            let value = |key: &[u8]| Ok(self.shown.get(key).map(Bytes::len));
            // The closure has no error to give.
            let live = live::after(self.live_bytes, std::slice::from_ref(&batch), value);
            self.live_bytes = live.unwrap_or(self.live_bytes);
            apply(&mut self.shown, &batch);
            self.stats.undurable_bytes += batch.bytes() as u64;
            self.line.push_back(batch);
        }
    }
}

fn apply(entries: &mut BTreeMap<Bytes, Bytes>, batch: &WriteBatch) {
    for write in batch.writes() {
        match write {
            Write::Put { key, value } => entries.insert(key.clone(), value.clone()),
            Write::Delete { key } => entries.remove(key),
        };
    }
}

impl fmt::Debug for MemoryEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryEngine")
            .field("state", &self.lock().stats)
            .finish_non_exhaustive()
    }
}

impl Engine for MemoryEngine {
    fn submit(&self, batch: WriteBatch) {
        self.lock().push(batch);
    }

    fn try_submit(&self, batch: WriteBatch) -> Result<(), Refused> {
        let mut state = self.lock();
        if let Some(error) = &state.ended {
            return Err(Refused::Failed(error.clone()));
        }
        let undurable = usize::try_from(state.stats.undurable_bytes).unwrap_or(usize::MAX);
        if undurable > 0 && undurable + batch.bytes() > self.undurable_bytes_max {
            return Err(Refused::Full(batch));
        }
        state.push(batch);
        Ok(())
    }

    fn undurable_bytes(&self) -> usize {
        usize::try_from(self.lock().stats.undurable_bytes).unwrap_or(usize::MAX)
    }

    fn undurable_bytes_max(&self) -> usize {
        self.undurable_bytes_max
    }

    fn durable(&self) -> u64 {
        self.lock().durable
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let state = self.lock();
        match &state.ended {
            Some(Error::Closed) => Err(Error::Closed),
            _ => Ok(state.shown.get(key).cloned()),
        }
    }

    fn scan(&self, scan: &Scan) -> Result<Page, Error> {
        let state = self.lock();
        if let Some(Error::Closed) = state.ended {
            return Err(Error::Closed);
        }
        if scan.keys.start >= scan.keys.end {
            return Page::fill(scan, std::iter::empty());
        }
        let range = (
            Bound::Included(&scan.keys.start),
            Bound::Excluded(&scan.keys.end),
        );
        let found = state.shown.range::<Bytes, _>(range);
        let entry = |(key, value): (&Bytes, &Bytes)| {
            Ok(Entry {
                key: key.clone(),
                value: value.clone(),
            })
        };
        match scan.direction {
            Direction::Forward => Page::fill(scan, found.map(entry)),
            Direction::Backward => Page::fill(scan, found.rev().map(entry)),
        }
    }

    fn settle(&self) -> Result<(), Error> {
        self.commit(usize::MAX);
        self.lock().ended.clone().map_or(Ok(()), Err)
    }

    fn follow(&self) -> Result<(), Error> {
        let mut state = self.lock();
        if state.following.is_some() {
            return Err(Error::CopyUnderWay);
        }
        state.following = Some(Following::begin(state.durable));
        Ok(())
    }

    fn followed(&self) -> Result<Vec<WriteBatch>, Error> {
        self.lock().following.as_mut().ok_or(Error::Closed)?.take()
    }

    fn unfollow(&self) -> Result<Followed, Error> {
        self.settle()?;
        self.lock().following.take().ok_or(Error::Closed)?.end()
    }

    fn live_bytes(&self) -> u64 {
        self.lock().live_bytes
    }

    fn stats(&self) -> Stats {
        let state = self.lock();
        Stats {
            live_bytes: state.live_bytes,
            ..state.stats
        }
    }

    fn close(&self) -> Result<(), Error> {
        self.commit(usize::MAX);
        match self.lock().ended.get_or_insert(Error::Closed) {
            Error::Closed => Ok(()),
            error => Err(error.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Event, Told};

    fn batch(number: u64) -> WriteBatch {
        let mut batch = WriteBatch::numbered(number);
        batch.put(number.to_string(), "value").unwrap();
        batch
    }

    #[test]
    fn a_crash_keeps_what_is_durable_and_a_prefix_of_the_rest() {
        let (listener, told) = Told::new();
        let engine = MemoryEngine::new(usize::MAX, listener);
        for number in 1..=4 {
            engine.submit(batch(number));
        }
        engine.commit(2);
        assert_eq!(told.recv().unwrap().durable(), Some(2));
        let (listener, _told) = Told::new();
        let after = engine.crash(1, listener);
        let found = |key: &[u8]| after.get(key).unwrap().is_some();
        assert!(found(b"1") && found(b"2") && found(b"3") && !found(b"4"));
        assert_eq!(after.undurable(), 0);
    }

    #[test]
    fn after_a_failure_nothing_becomes_durable() {
        let (listener, told) = Told::new();
        let engine = MemoryEngine::new(usize::MAX, listener);
        engine.submit(batch(1));
        engine.fail(Error::Engine {
            what: "broken".to_owned(),
        });
        engine.submit(batch(2));
        engine.commit(2);
        assert!(matches!(told.recv().unwrap(), Event::Failed(_)));
        assert!(told.try_recv().is_err());
        assert!(engine.close().is_err());
    }
}
