//! Blocks of inputs: staged before their acceptance, loaded when a chunk is sent.

use bytes::Bytes;
use umbel_core::id::{Appender, Index, JobId};
use umbel_core::job::BlockRef;
use umbel_proto::block::Block as Inputs;
use umbel_proto::disk;

use super::{Store, scan};
use crate::key::{Block, Key, Whole};
use crate::{Direction, Error, Refused, Scan, WriteBatch};

impl Store {
    /// Puts a block in line, ahead of the turn that will accept it. A mark goes with it, which the
    /// acceptance removes: what is still marked at the next open was never accepted.
    ///
    /// One upload stages each first index once: a second block under the same name would replace
    /// the first, accepted or not.
    ///
    /// # Errors
    ///
    /// [`Refused::Full`] above the bound of undurable bytes; try again after the next commit.
    pub fn stage(&self, job: JobId, block: &BlockRef, bytes: &Bytes) -> Result<(), Refused> {
        let batch = staged(job, block, bytes).map_err(Refused::Failed)?;
        self.engine.try_submit(batch)
    }

    /// Removes a block that was staged and will not be accepted. One whose acceptance was committed
    /// stays; this waits for what lies in line to know it.
    ///
    /// # Errors
    ///
    /// When the engine cannot be read.
    pub fn unstage(&self, job: JobId, block: &BlockRef) -> Result<(), Error> {
        let name = name(block);
        self.engine.settle()?;
        if self
            .engine
            .get(&Key::Appended(job, name).encode())?
            .is_none()
        {
            let mut batch = WriteBatch::unnumbered();
            batch.delete(Key::Staged(job, name).encode());
            for part in 0..scan::count(block.bytes as usize) {
                let Ok(part) = u16::try_from(part) else { break };
                batch.delete(Key::Part(Whole::Input(job, name), part).encode());
            }
            self.engine.submit(batch);
        }
        Ok(())
    }

    /// The bytes of a block. A block of one part is not copied. One that was only just staged may
    /// still lie in line: this waits for it.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] when it is not there, [`Error::Damaged`] when it has another length.
    pub fn load_block(&self, job: JobId, block: &BlockRef) -> Result<Bytes, Error> {
        let what = || format!("the block of inputs at {} of job {job}", block.first);
        let whole = Whole::Input(job, name(block));
        let bytes = match scan::load(&*self.engine, whole)? {
            Some(bytes) => bytes,
            None => {
                self.engine.settle()?;
                let bytes = scan::load(&*self.engine, whole)?;
                bytes.ok_or_else(|| Error::Missing { what: what() })?
            }
        };
        if bytes.len() != block.bytes as usize {
            let what = format!("{} has {} bytes of {}", what(), bytes.len(), block.bytes);
            return Err(Error::Damaged { what });
        }
        Ok(bytes)
    }

    /// The input of one invocation, out of the block that it was accepted with.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] when no block holds it, [`Error::Damaged`] when that cannot be read.
    pub fn input(&self, job: JobId, index: Index) -> Result<Bytes, Error> {
        let (first, inputs) = self.inputs(job, index)?;
        let position = (index - first) as usize;
        let input = inputs.entries().shared().nth(position);
        // Its own bytes, not the block's.
        input
            .map(|input| Bytes::copy_from_slice(&input))
            .ok_or_else(|| Error::Missing {
                what: format!("input {index} of job {job}"),
            })
    }

    /// The block of inputs that one lies in, as it was accepted, and the index that it begins with.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] when there is none up to there, [`Error::Damaged`] when it cannot be read.
    pub fn inputs(&self, job: JobId, index: Index) -> Result<(Index, Inputs), Error> {
        let missing = || Error::Missing {
            what: format!("input {index} of job {job}"),
        };
        let at = |first| {
            let appender = Appender(0);
            Key::Appended(job, Block { first, appender }).encode()
        };
        let nearest = Scan {
            keys: at(0)..at(index.saturating_add(1)),
            direction: Direction::Backward,
            entries_max: 1,
            bytes_max: usize::MAX,
        };
        let page = self.engine.scan(&nearest)?;
        let entry = page.entries.into_iter().next().ok_or_else(missing)?;
        let Key::Appended(_, found) = Key::decode(&entry.key)? else {
            return Err(missing());
        };
        let block = disk::decode_appended(found.first, found.appender, entry.value)?;
        let bytes = self.load_block(job, &block)?;
        let inputs = Inputs::parse_stored(bytes).map_err(|error| {
            let what = format!(
                "the block of inputs at {} of job {job}: {error}",
                block.first
            );
            Error::Damaged { what }
        })?;
        Ok((block.first, inputs))
    }
}

fn staged(job: JobId, block: &BlockRef, bytes: &Bytes) -> Result<WriteBatch, Error> {
    let mut batch = WriteBatch::unnumbered();
    batch.put(Key::Staged(job, name(block)).encode(), Bytes::new())?;
    scan::put(&mut batch, Whole::Input(job, name(block)), bytes)?;
    Ok(batch)
}

fn name(block: &BlockRef) -> Block {
    Block {
        first: block.first,
        appender: block.appender,
    }
}
