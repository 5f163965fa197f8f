//! What is removed step by step: blocks that nobody accepted, and jobs that were deleted.

use std::ops::Range;

use bytes::Bytes;
use umbel_core::id::JobId;

use super::Store;
use super::scan::Entries;
use crate::key::{self, Key, Kind, OF_JOB, Whole};
use crate::{Direction, Error, Page, Scan, WriteBatch};

/// How many keys one step removes at most, and how many bytes of them it reads.
const STEP_KEYS_MAX: usize = 1024;
const STEP_BYTES_MAX: usize = 4 << 20;

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
        let Some(job) = self.deleting()? else {
            return Ok(false);
        };
        let mut batch = WriteBatch::unnumbered();
        let mut keys_left = STEP_KEYS_MAX;
        for kind in OF_JOB {
            let page = self.step(key::under(kind, job), keys_left)?;
            keys_left -= page.entries.len();
            for entry in page.entries {
                batch.delete(entry.key);
            }
            if page.next.is_some() || keys_left == 0 {
                self.engine.submit(batch);
                return Ok(true);
            }
        }
        // The mark goes last, so that a restart in between finds it.
        batch.delete(Key::Deleting(job).encode());
        self.engine.submit(batch);
        Ok(true)
    }

    /// A job that is marked as deleted.
    fn deleting(&self) -> Result<Option<JobId>, Error> {
        match Entries::new(&self.engine, key::all(Kind::Deleting))
            .next()
            .transpose()?
        {
            Some((Key::Deleting(job), _)) => Ok(Some(job)),
            Some(_) | None => Ok(None),
        }
    }

    fn step(&self, keys: Range<Bytes>, entries_max: usize) -> Result<Page, Error> {
        let direction = Direction::Forward;
        self.engine.scan(&Scan {
            keys,
            direction,
            entries_max,
            bytes_max: STEP_BYTES_MAX,
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
                let page = self.step(keys, STEP_KEYS_MAX)?;
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
