//! What every engine of the store does: ordered atomic writes, durable numbers, paged reads.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use crate::{Error, VALUE_BYTES_MAX};

/// What a write costs in memory beside its key and value, roughly.
const WRITE_OVERHEAD_BYTES: usize = 64;

/// An ordered key-value store with atomic batches.
///
/// Batches become durable in the order of their submission. Reads show a batch at some time between
/// its submission and its being durable: who needs what he just submitted settles first, and who
/// shows what he read compares its number with [`Engine::durable`].
pub trait Engine: Send + Sync + fmt::Debug {
    /// Puts a batch last in line. It never waits, and after a failure or [`Engine::close`] the
    /// batch is dropped: nothing is acknowledged any more.
    fn submit(&self, batch: WriteBatch);

    /// As [`Engine::submit`], for those that can wait: refuses when the batches in line already
    /// hold as many bytes as the engine's bound.
    ///
    /// # Errors
    ///
    /// [`Refused::Full`] gives the batch back, to be tried again after the next
    /// [`Listener::committed`]; [`Refused::Failed`] says why there is no use in trying.
    fn try_submit(&self, batch: WriteBatch) -> Result<(), Refused>;

    /// How many bytes were submitted and are not durable yet.
    fn undurable_bytes(&self) -> usize;

    /// The bound of [`Engine::try_submit`] in bytes.
    fn undurable_bytes_max(&self) -> usize;

    /// The highest batch number that is durable; 0 before the first.
    fn durable(&self) -> u64;

    /// The value of `key`.
    ///
    /// # Errors
    ///
    /// When the engine cannot be read, or is closed.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error>;

    /// One page of the entries in a range of keys.
    ///
    /// # Errors
    ///
    /// When the engine cannot be read, or is closed.
    fn scan(&self, scan: &Scan) -> Result<Page, Error>;

    /// Returns when everything that was submitted before is durable.
    ///
    /// # Errors
    ///
    /// When it never will be, since the engine failed.
    fn settle(&self) -> Result<(), Error>;

    /// From now on every batch is kept as it is committed, to be taken with [`Engine::followed`]
    /// by the one who copies the data meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::CopyUnderWay`] when somebody follows already; else when the engine failed.
    fn follow(&self) -> Result<(), Error>;

    /// Takes the batches that were committed since the last time, in their order.
    ///
    /// # Errors
    ///
    /// [`Error::CopyBehind`] when they had become more than [`FOLLOWED_BYTES_MAX`]: none are kept
    /// any more. Also when the engine failed.
    fn followed(&self) -> Result<Vec<WriteBatch>, Error>;

    /// Ends the following between two commits: whatever a read has shown before is durable, and its
    /// batches were taken or are given here.
    ///
    /// # Errors
    ///
    /// As [`Engine::followed`]; the following has ended all the same.
    fn unfollow(&self) -> Result<Followed, Error>;

    /// The bytes of all keys and values as of the last commit: what a cap is held against. It
    /// costs nothing to ask.
    fn live_bytes(&self) -> u64;

    /// What the disk still has room for; `None` when there is none or it cannot be asked.
    fn free_bytes(&self) -> Option<u64> {
        None
    }

    /// Counts and sizes since the engine was opened.
    fn stats(&self) -> Stats;

    /// Makes what lies in line durable, lets go of the directory and ends. Later calls do nothing.
    ///
    /// # Errors
    ///
    /// When the engine failed before or while closing; then not all that lay in line is durable.
    fn close(&self) -> Result<(), Error>;
}

/// What an engine tells about its batches. It is called on the commit thread, which waits for it:
/// hand the fact on and return.
pub trait Listener: Send + Sync {
    /// All batches up to the one with this number are durable, with every unnumbered one before it.
    fn durable(&self, number: u64);

    /// A commit is done, and its bytes no longer count as undurable.
    fn committed(&self, commit: &Commit);

    /// Nothing more becomes durable: a write or a sync failed. Told once, and never retried, since
    /// after a failed sync nobody knows what the disk holds.
    fn failed(&self, error: &Error);

    /// Nothing more becomes durable: the data is another coordinator's now. Told once.
    fn fenced(&self, error: &Error);
}

/// Writes that become visible and durable together or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteBatch {
    number: Option<u64>,
    writes: Vec<Write>,
    bytes: usize,
}

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// The key has this value from now on.
    Put {
        /// The key.
        key: Bytes,
        /// Its value, at most [`VALUE_BYTES_MAX`] long.
        value: Bytes,
    },
    /// The key has no value any more.
    Delete {
        /// The key.
        key: Bytes,
    },
}

impl WriteBatch {
    /// The batch of one turn of the engine thread. Numbers start at 1 and ascend.
    #[must_use]
    pub fn numbered(number: u64) -> Self {
        Self {
            number: Some(number),
            ..Self::default()
        }
    }

    /// A batch beside the turns, such as blocks that a handler stages: it is durable when any
    /// numbered batch is that was submitted after it.
    #[must_use]
    pub fn unnumbered() -> Self {
        Self::default()
    }

    /// Sets a key. A later write to the same key wins.
    ///
    /// # Errors
    ///
    /// [`Error::ValueTooLarge`] when the value should have been cut into parts; the batch is as it
    /// was.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<(), Error> {
        let (key, value) = (key.into(), value.into());
        if value.len() > VALUE_BYTES_MAX {
            return Err(Error::ValueTooLarge {
                bytes: value.len(),
                bytes_max: VALUE_BYTES_MAX,
            });
        }
        self.bytes += key.len() + value.len() + WRITE_OVERHEAD_BYTES;
        self.writes.push(Write::Put { key, value });
        Ok(())
    }

    /// Removes a key; it need not exist.
    pub fn delete(&mut self, key: impl Into<Bytes>) {
        let key = key.into();
        self.bytes += key.len() + WRITE_OVERHEAD_BYTES;
        self.writes.push(Write::Delete { key });
    }

    /// The number of the turn, if it is a turn's batch.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        self.number
    }

    /// The writes in order.
    #[must_use]
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// What the batch holds in memory, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing is written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

/// The bytes of committed batches that are kept for one who follows; those who run go first.
pub const FOLLOWED_BYTES_MAX: usize = 64 << 20;

/// The last batches of a following, and where it ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Followed {
    /// What was committed and not taken yet.
    pub batches: Vec<WriteBatch>,
    /// The highest number that is among all batches of the following, or was durable before it.
    pub durable: u64,
}

/// Batches that are kept for one who follows.
#[derive(Debug, Default)]
pub(crate) struct Following {
    batches: Vec<WriteBatch>,
    bytes: usize,
    durable: u64,
    behind: bool,
}

impl Following {
    /// A following that begins when `durable` is the highest durable number.
    pub(crate) fn begin(durable: u64) -> Self {
        Self {
            durable,
            ..Self::default()
        }
    }

    /// Keeps what was just committed.
    pub(crate) fn push(&mut self, batches: Vec<WriteBatch>) {
        let number = batches.iter().filter_map(WriteBatch::number).max();
        self.durable = self.durable.max(number.unwrap_or(0));
        self.bytes += batches.iter().map(WriteBatch::bytes).sum::<usize>();
        if self.behind || self.bytes > FOLLOWED_BYTES_MAX {
            self.behind = true;
            self.batches = Vec::new();
        } else {
            self.batches.extend(batches);
        }
    }

    /// Gives what was kept.
    pub(crate) fn take(&mut self) -> Result<Vec<WriteBatch>, Error> {
        if self.behind {
            return Err(Error::CopyBehind {
                bytes_max: FOLLOWED_BYTES_MAX,
            });
        }
        self.bytes = 0;
        Ok(std::mem::take(&mut self.batches))
    }

    /// Gives the last of it.
    pub(crate) fn end(mut self) -> Result<Followed, Error> {
        Ok(Followed {
            batches: self.take()?,
            durable: self.durable,
        })
    }
}

/// Why [`Engine::try_submit`] did not take a batch.
#[derive(Debug)]
pub enum Refused {
    /// The bound of undurable bytes is reached; here is the batch again.
    Full(WriteBatch),
    /// The engine failed or is closed.
    Failed(Error),
}

/// Which end of the range a scan starts at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the smallest key up.
    Forward,
    /// From the largest key down.
    Backward,
}

/// A range of keys to read, and how much of it at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// The keys, half open.
    pub keys: Range<Bytes>,
    /// Where to begin.
    pub direction: Direction,
    /// How many entries a page has at most.
    pub entries_max: usize,
    /// How many bytes of keys and values a page has at most; the first entry is always given.
    pub bytes_max: usize,
}

impl Scan {
    /// What is left of this scan behind the entry with the key `last`.
    fn behind(&self, last: &Bytes) -> Self {
        let keys = match self.direction {
            Direction::Forward => {
                // The smallest key above `last` is `last` with a zero byte behind it.
                let mut start = Vec::with_capacity(last.len() + 1);
                start.extend_from_slice(last);
                start.push(0);
                Bytes::from(start)..self.keys.end.clone()
            }
            Direction::Backward => self.keys.start.clone()..last.clone(),
        };
        Self { keys, ..*self }
    }
}

/// One entry that a scan found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
}

/// Some entries in the order of the scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Entry>,
    /// The scan that gives the next page; `None` when the range is read to its end.
    pub next: Option<Scan>,
}

impl Page {
    /// Fills a page from `entries`, which lie in the range and order of `scan`.
    pub(crate) fn fill(
        scan: &Scan,
        entries: impl Iterator<Item = Result<Entry, Error>>,
    ) -> Result<Self, Error> {
        let mut page = Self {
            entries: Vec::new(),
            next: None,
        };
        let mut bytes = 0;
        for entry in entries {
            let entry = entry?;
            bytes += entry.key.len() + entry.value.len();
            if let Some(last) = page.entries.last()
                && (page.entries.len() >= scan.entries_max || bytes > scan.bytes_max)
            {
                page.next = Some(scan.behind(&last.key));
                break;
            }
            page.entries.push(entry);
        }
        Ok(page)
    }
}

/// One commit: the batches that were written and synced as one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Commit {
    /// The highest number among its batches, if any of them had one.
    pub number: Option<u64>,
    /// How many batches it was.
    pub batches: usize,
    /// How large they were in memory.
    pub bytes: usize,
    /// How long the write into the engine took.
    pub write: Duration,
    /// How long it took until the disk had it.
    pub sync: Duration,
}

/// Sums since the engine was opened, and how things stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Commits that were written and synced.
    pub commits: u64,
    /// Batches in them.
    pub batches: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Time in microseconds that went into writing.
    pub write_us: u64,
    /// Time in microseconds that went into syncing.
    pub sync_us: u64,
    /// Files beside the log that the engine wrote and the commit thread had to sync.
    pub blobs_synced: u64,
    /// Bytes that were submitted and are not durable yet.
    pub undurable_bytes: u64,
    /// The bytes of all keys and values, as of the last commit.
    pub live_bytes: u64,
    /// What the engine's files take on the disk; `None` when there are none or they cannot be read.
    pub disk_bytes: Option<u64>,
    /// What the disk still has room for; `None` as above.
    pub free_bytes: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_over_the_limit_is_refused_and_leaves_the_batch_alone() {
        let mut batch = WriteBatch::numbered(1);
        batch.put(&b"fits"[..], vec![0; VALUE_BYTES_MAX]).unwrap();
        let before = batch.clone();
        let error = batch
            .put(&b"large"[..], vec![0; VALUE_BYTES_MAX + 1])
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("65537 bytes is over the store's limit of 65536")
        );
        assert_eq!(batch, before);
    }

    #[test]
    fn who_follows_too_slowly_is_told_so_and_costs_no_memory() {
        let mut following = Following::begin(3);
        let mut batch = WriteBatch::numbered(4);
        for key in 0..64_u8 {
            batch.put(vec![key], vec![0; VALUE_BYTES_MAX]).unwrap();
        }
        for _ in 0..20 {
            following.push(vec![batch.clone()]);
        }
        assert!(following.batches.is_empty());
        let error = following.end().unwrap_err();
        assert!(matches!(error, Error::CopyBehind { .. }), "{error}");
        assert!(error.to_string().contains("64 MiB"), "{error}");
    }
}
