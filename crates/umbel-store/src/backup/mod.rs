//! Copies of a store: taken while it is used, restored into a new directory.
//!
//! A backup is a stream of writes in an order in which they can be done again, and is the same for
//! every engine. [`Backup`] makes it from a live store, [`Writer`] puts it into a directory of its
//! own, [`restore()`] makes data from it. The format stands in `proto/BACKUP.md`.
//!
//! An engine has no view of one moment, so the copy makes one: it *follows* the commits, reads all
//! entries in the order of their keys while turns go on, and passes on each page and then whatever
//! was committed meanwhile. A page may show a key before or after such a commit. But the last commit
//! of a key is always passed on behind every page that shows what was there before it, so that the
//! writes done in their order end as the data were at the last commit that was passed on.

pub(crate) mod frame;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
pub(crate) mod restore;
mod writer;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use umbel_proto::disk;

use crate::key::Key;
use crate::{Direction, Engine, Error, Scan, Store};

use frame::Encoder;

pub use restore::{EPOCHS_SKIPPED, Restored, restore};
pub use writer::{Summary, Writer};

/// How much is read at once; every read of the store shares a lock with the commits.
const PAGE_ENTRIES_MAX: usize = 512;
const PAGE_BYTES_MAX: usize = 1 << 20;

/// A copy of a store as it is made: the bytes of a backup, piece by piece, none of them above about
/// a megabyte. The store is used meanwhile. Whoever drops it early leaves no backup and no harm.
#[derive(Debug)]
pub struct Backup {
    engine: Arc<dyn Engine>,
    encoder: Encoder,
    pieces: VecDeque<Bytes>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Begin,
    /// The entries that are still to be read.
    Entries(Scan),
    /// All entries were read; what was committed meanwhile is not all passed on.
    End,
    Over,
}

impl Store {
    /// Copies the data while they are used. The copy is the state at one commit: the last one
    /// before its end.
    #[must_use]
    pub fn backup(&self) -> Backup {
        Backup {
            engine: Arc::clone(self.engine()),
            encoder: Encoder::default(),
            pieces: VecDeque::new(),
            stage: Stage::Begin,
        }
    }
}

impl Backup {
    /// Does one step; what it adds lies in `pieces`.
    fn step(&mut self) -> Result<(), Error> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Begin => {
                self.engine.follow()?;
                let everything = Scan {
                    keys: Bytes::from_static(&[0])..Bytes::from_static(&[u8::MAX]),
                    direction: Direction::Forward,
                    entries_max: PAGE_ENTRIES_MAX,
                    bytes_max: PAGE_BYTES_MAX,
                };
                // From here on the following is ended by whoever drops this.
                self.stage = Stage::Entries(everything);
                let key = Key::Format.encode();
                let format = self.engine.get(&key)?.ok_or_else(|| Error::Missing {
                    what: "the record of its format".to_owned(),
                })?;
                let format = disk::decode_format(format)?;
                self.pieces.push_back(self.encoder.begin(format));
            }
            Stage::Entries(scan) => {
                self.stage = Stage::End;
                let page = self.engine.scan(&scan)?;
                for entry in page.entries {
                    self.encoder.put(&entry.key, &entry.value);
                }
                for batch in self.engine.followed()? {
                    self.encoder.batch(&batch);
                }
                self.pieces.extend(self.encoder.take());
                if let Some(next) = page.next {
                    self.stage = Stage::Entries(next);
                }
            }
            Stage::End => {
                let last = self.engine.unfollow()?;
                for batch in &last.batches {
                    self.encoder.batch(batch);
                }
                self.pieces.extend(self.encoder.take());
                self.pieces.push_back(self.encoder.end(last.durable));
            }
            Stage::Over => {}
        }
        Ok(())
    }

    fn unfollow(&mut self) {
        if let Stage::Entries(_) | Stage::End = self.stage {
            self.stage = Stage::Over;
            // Nobody waits for what it gives.
            let _ = self.engine.unfollow();
        }
    }
}

impl Iterator for Backup {
    type Item = Result<Bytes, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                return Some(Ok(piece));
            }
            if let Stage::Over = self.stage {
                return None;
            }
            if let Err(error) = self.step() {
                self.unfollow();
                self.pieces.clear();
                return Some(Err(error));
            }
        }
    }
}

impl Drop for Backup {
    fn drop(&mut self) {
        self.unfollow();
    }
}

#[cfg(test)]
mod tests;
