//! Blocks of inputs on their way to workers: from memory where they were lately, else from disk.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use umbel_core::id::{Appender, Index, JobId};
use umbel_core::job::BlockRef;
use umbel_proto::block::Block;
use umbel_store::Store;

/// How many bytes of blocks stay in memory: those appended or loaded last. A job that runs as it
/// is appended never reads the disk.
const RECENT_BYTES_MAX: usize = 32 << 20;

type Name = (JobId, Index, Appender);

/// Loads blocks. A clone shares what is in memory.
#[derive(Clone)]
pub(crate) struct Blocks {
    store: Store,
    recent: Arc<Mutex<Recent>>,
}

#[derive(Default)]
struct Recent {
    blocks: HashMap<Name, Block>,
    /// The oldest first.
    order: VecDeque<Name>,
    bytes: usize,
}

impl Blocks {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            recent: Arc::default(),
        }
    }

    /// Keeps a block at hand that was just staged.
    pub(crate) fn keep(&self, job: JobId, at: &BlockRef, block: Block) {
        self.lock().insert(name(job, at), block);
    }

    /// Forgets a block that was not accepted: another may come under its name.
    pub(crate) fn forget(&self, job: JobId, at: &BlockRef) {
        self.lock().remove(name(job, at));
    }

    /// A block; why it cannot be loaded otherwise.
    pub(crate) async fn load(&self, job: JobId, at: BlockRef) -> Result<Block, String> {
        if let Some(block) = self.lock().blocks.get(&name(job, &at)) {
            return Ok(block.clone());
        }
        let store = self.store.clone();
        let read = tokio::task::spawn_blocking(move || read(&store, job, &at));
        let block = read.await.map_err(|error| error.to_string())??;
        self.keep(job, &at, block.clone());
        Ok(block)
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(store: &Store, job: JobId, at: &BlockRef) -> Result<Block, String> {
    let bytes = match store.load_block(job, at) {
        Ok(bytes) => bytes,
        Err(umbel_store::Error::Missing { .. }) => {
            // It may still lie in line: a grant does not wait for the disk.
            store.settle().map_err(|error| error.to_string())?;
            store
                .load_block(job, at)
                .map_err(|error| error.to_string())?
        }
        Err(error) => return Err(error.to_string()),
    };
    let block = Block::parse_stored(bytes)
        .map_err(|error| format!("the block of inputs at {} of job {job}: {error}", at.first))?;
    if block.count() == at.count {
        return Ok(block);
    }
    let (found, count) = (block.count(), at.count);
    Err(format!(
        "the block of inputs at {} of job {job} holds {found} of {count}",
        at.first
    ))
}

fn name(job: JobId, block: &BlockRef) -> Name {
    (job, block.first, block.appender)
}

impl Recent {
    fn insert(&mut self, name: Name, block: Block) {
        let bytes = block.bytes().len();
        if self.blocks.insert(name, block).is_some() {
            return;
        }
        self.order.push_back(name);
        self.bytes += bytes;
        while self.bytes > RECENT_BYTES_MAX {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            if let Some(block) = self.blocks.remove(&oldest) {
                self.bytes -= block.bytes().len();
            }
        }
    }

    fn remove(&mut self, name: Name) {
        if let Some(block) = self.blocks.remove(&name) {
            self.bytes -= block.bytes().len();
            self.order.retain(|kept| *kept != name);
        }
    }
}

impl fmt::Debug for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recent = self.lock();
        f.debug_struct("Blocks")
            .field("blocks", &recent.blocks.len())
            .field("bytes", &recent.bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use umbel_proto::block::BlockBuilder;

    use super::*;

    fn block(bytes: usize) -> Block {
        let mut builder = BlockBuilder::new();
        builder.push(&vec![7; bytes]);
        Block::parse_stored(builder.finish()).unwrap()
    }

    #[test]
    fn the_oldest_blocks_make_room() {
        let mut recent = Recent::default();
        let name = |first| (JobId::default(), first, Appender(1));
        for first in 0..40 {
            recent.insert(name(first), block(1 << 20));
        }
        assert!(recent.bytes <= RECENT_BYTES_MAX);
        assert!(!recent.blocks.contains_key(&name(0)) && recent.blocks.contains_key(&name(39)));
        recent.remove(name(39));
        recent.insert(name(39), block(1));
        assert_eq!(recent.blocks[&name(39)].count(), 1);
        assert_eq!(recent.order.len(), recent.blocks.len());
    }
}
