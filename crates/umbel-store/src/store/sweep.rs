//! What is removed step by step: blocks that nobody accepted, jobs that were deleted, and artifacts
//! that nothing needs.

use std::ops::Range;

use bytes::Bytes;
use umbel_core::id::JobId;

use super::Store;
use super::scan::Entries;
use crate::key::{self, Key, Kind, OF_JOB, Whole};
use crate::{Direction, Error, Page, Scan, WriteBatch};

/// How many keys one step removes at most, and how many bytes of them it reads.
const STEP: Left = Left {
    keys: 1024,
    bytes: 4 << 20,
};

/// What a step may still do.
#[derive(Clone, Copy, Debug)]
struct Left {
    keys: usize,
    bytes: usize,
}

impl Store {
    /// Removes a bounded number of keys of deleted jobs; tells whether there may be more. Call it
    /// now and then, from one thread that may wait for the disk. A restart goes on where it ended.
    ///
    /// # Errors
    ///
    /// When the engine cannot be read, or failed.
    pub fn sweep_step(&self) -> Result<bool, Error> {
        // What the step before removed would otherwise be found again.
        self.engine.settle()?;
        let mut left = STEP;
        let mut batch = WriteBatch::unnumbered();
        for entry in Entries::new(&self.engine, key::all(Kind::Deleting)) {
            let (Key::Deleting(job), _) = entry? else {
                continue;
            };
            if !self.remove(job, &mut batch, &mut left)? {
                break;
            }
            // The mark goes last, so that a restart in between finds it.
            batch.delete(Key::Deleting(job).encode());
            left.keys = left.keys.saturating_sub(1);
        }
        if batch.is_empty() {
            return self.sweep_artifact();
        }
        self.engine.submit(batch);
        Ok(true)
    }

    /// Removes what is left of a job, as far as a step may; tells whether that was all.
    fn remove(&self, job: JobId, batch: &mut WriteBatch, left: &mut Left) -> Result<bool, Error> {
        for kind in OF_JOB {
            if left.keys == 0 || left.bytes == 0 {
                return Ok(false);
            }
            let page = self.step(key::under(kind, job), left)?;
            for entry in page.entries {
                left.keys -= 1;
                let bytes = entry.key.len() + entry.value.len();
                left.bytes = left.bytes.saturating_sub(bytes);
                batch.delete(entry.key);
            }
            if page.next.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes a bounded number of parts of artifacts that no version needs; tells whether there
    /// may be more.
    fn sweep_artifact(&self) -> Result<bool, Error> {
        let mut marks = Entries::new(&self.engine, key::all(Kind::DeletingArtifact));
        let Some((Key::DeletingArtifact(upload), _)) = marks.next().transpose()? else {
            return Ok(false);
        };
        let mut batch = WriteBatch::unnumbered();
        let page = self.step(key::artifact(upload), &STEP)?;
        for entry in page.entries {
            batch.delete(entry.key);
        }
        if page.next.is_none() {
            batch.delete(Key::DeletingArtifact(upload).encode());
        }
        self.engine.submit(batch);
        Ok(true)
    }

    /// Marks all artifacts that were staged before this open and never published as to be removed;
    /// tells how many.
    pub(super) fn sweep_staged_artifacts(&self) -> Result<u64, Error> {
        let mut swept = 0;
        for entry in Entries::new(&self.engine, key::all(Kind::StagedArtifact)) {
            let (Key::StagedArtifact(upload), _) = entry? else {
                continue;
            };
            let mut batch = WriteBatch::unnumbered();
            batch.delete(Key::StagedArtifact(upload).encode());
            batch.put(Key::DeletingArtifact(upload).encode(), Bytes::new())?;
            self.engine.submit(batch);
            swept += 1;
        }
        Ok(swept)
    }

    fn step(&self, keys: Range<Bytes>, left: &Left) -> Result<Page, Error> {
        let direction = Direction::Forward;
        self.engine.scan(&Scan {
            keys,
            direction,
            entries_max: left.keys,
            bytes_max: left.bytes,
        })
    }

    /// Removes all blocks that were staged before this open and never accepted; tells how many.
    pub(super) fn sweep_staged(&self) -> Result<u64, Error> {
        let mut swept = 0;
        for entry in Entries::new(&self.engine, key::all(Kind::Staged)) {
            let (Key::Staged(job, block), _) = entry? else {
                continue;
            };
            let mut batch = WriteBatch::unnumbered();
            batch.delete(Key::Staged(job, block).encode());
            let first = Key::Part(Whole::Input(job, block), 0).encode();
            let parts = first.clone()..key::behind(&first[..first.len() - size_of::<u16>()]);
            let mut next = Some(parts);
            while let Some(keys) = next {
                let page = self.step(keys, &STEP)?;
                for entry in page.entries {
                    batch.delete(entry.key);
                }
                next = page.next.map(|scan| scan.keys);
            }
            self.engine.submit(batch);
            swept += 1;
        }
        Ok(swept)
    }
}
