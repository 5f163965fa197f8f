//! What the coordinator remembers with: changes go in turn by turn, and come back at a restart.

mod artifacts;
mod blocks;
mod restore;
pub(crate) mod scan;
mod standing;
mod sweep;
pub(crate) mod write;

use std::sync::Arc;

use umbel_core::change::Change;
use umbel_proto::disk::{self, Format};

use crate::key::Key;
use crate::{Engine, Error, Listener, Settings, SledEngine, Stats, WriteBatch};

pub use restore::Changes;

/// By how many bits the epoch stands above the turns in a commit number. Numbers so ascend over
/// restarts without a record of the last one.
const EPOCH_SHIFT: u32 = 40;

/// How often data may be opened.
const EPOCH_MAX: u32 = 1 << (u64::BITS - EPOCH_SHIFT);

/// Everything that the coordinator remembers. A clone is the same store.
#[derive(Debug, Clone)]
pub struct Store {
    engine: Arc<dyn Engine>,
    /// All numbers up to this one were given before the store was opened.
    base: u64,
}

/// A store that was just opened.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Store,
    /// How often these data were opened, this time included; durable already.
    pub epoch: u32,
    /// The number of the first turn; every later one is higher.
    pub next_number: u64,
    /// What a restart has to know, in the order in which the machine takes it.
    pub changes: Changes,
}

impl Store {
    /// Opens the data directory, or makes it.
    ///
    /// # Errors
    ///
    /// As [`SledEngine::open`], and when the records are of another version.
    pub fn open(settings: &Settings, listener: Arc<dyn Listener>) -> Result<Opened, Error> {
        Self::with_engine(Arc::new(SledEngine::open(settings, listener)?))
    }

    /// Opens what an engine holds: makes the next epoch durable, and removes blocks that were
    /// staged and never accepted.
    ///
    /// # Errors
    ///
    /// When the engine cannot be read or written, or the records are of another version.
    pub fn with_engine(engine: Arc<dyn Engine>) -> Result<Opened, Error> {
        let key = Key::Format.encode();
        let before = match engine.get(&key)? {
            None => Format {
                version: disk::VERSION,
                epoch: 0,
            },
            Some(bytes) => disk::decode_format(bytes)?,
        };
        if before.version != disk::VERSION {
            return Err(Error::Version {
                found: before.version,
                known: disk::VERSION,
            });
        }
        let epoch = before.epoch + 1;
        if epoch >= EPOCH_MAX {
            return Err(Error::Damaged {
                what: format!("an epoch of {epoch}"),
            });
        }
        let mut batch = WriteBatch::unnumbered();
        batch.put(key, disk::encode_format(Format { epoch, ..before }))?;
        engine.submit(batch);
        engine.settle()?;

        let base = u64::from(epoch) << EPOCH_SHIFT;
        let store = Self { engine, base };
        let swept = store.sweep_staged()? + store.sweep_staged_artifacts()?;
        let changes = Changes::new(&store.engine)?;
        tracing::info!(epoch, staged_removed = swept, "store restored");
        Ok(Opened {
            store,
            epoch,
            next_number: base + 1,
            changes,
        })
    }

    /// Makes the changes of a turn durable, all or none. It does not wait: the listener is told of
    /// the number when they are. A turn without changes is told of too.
    ///
    /// # Errors
    ///
    /// When a change does not fit the store's limits; then nothing of the turn was taken.
    pub fn commit(&self, number: u64, changes: &[Change]) -> Result<(), Error> {
        self.engine.submit(write::turn(number, changes)?);
        Ok(())
    }

    /// The highest commit number that is durable. Whatever was found at the open is.
    #[must_use]
    pub fn durable(&self) -> u64 {
        self.base.max(self.engine.durable())
    }

    /// How many bytes were submitted and are not durable yet.
    #[must_use]
    pub fn undurable_bytes(&self) -> usize {
        self.engine.undurable_bytes()
    }

    /// How many such bytes there may be before blocks are refused.
    #[must_use]
    pub fn undurable_bytes_max(&self) -> usize {
        self.engine.undurable_bytes_max()
    }

    /// The bytes of all keys and values as of the last commit.
    #[must_use]
    pub fn live_bytes(&self) -> u64 {
        self.engine.live_bytes()
    }

    /// What the disk still has room for; `None` when there is none or it cannot be asked. It may
    /// have to wait for the disk.
    #[must_use]
    pub fn free_bytes(&self) -> Option<u64> {
        self.engine.free_bytes()
    }

    /// Counts and sizes since the store was opened.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// Returns when everything that was committed or staged before is durable.
    ///
    /// # Errors
    ///
    /// When it never will be, since the engine failed.
    pub fn settle(&self) -> Result<(), Error> {
        self.engine.settle()
    }

    /// Makes what lies in line durable, and lets go of the directory.
    ///
    /// # Errors
    ///
    /// When the engine failed; then not all of it is durable.
    pub fn close(&self) -> Result<(), Error> {
        self.engine.close()
    }

    pub(crate) fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }
}

#[cfg(test)]
mod tests;
