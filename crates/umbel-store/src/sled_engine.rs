//! The engine on sled 0.34: one tree, one commit thread, and a sync of our own.
//!
//! It is safe against the end of the process. Against a loss of power it is as safe as the order in
//! which the device writes: sled moves segments with `sync_file_range` alone.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;

use crate::backup::restore;
use crate::commit::{Committer, Storage};
use crate::key::Key;
use crate::lock::Lock;
use crate::mark::Mark;
use crate::open::{self, Opened};
use crate::sync::{Disk, RealDisk, Syncer};
use crate::waker::Waker;
use crate::{
    Direction, Engine, Entry, Error, Followed, Listener, Page, Refused, Scan, Settings, Stats,
    Write, WriteBatch, directory, live,
};

/// An [`Engine`] in a directory on this machine.
pub struct SledEngine {
    dir: PathBuf,
    committer: Committer,
    /// Gone once the engine is closed.
    opened: RwLock<Option<Opened>>,
    blobs_synced: Arc<AtomicU64>,
    live_bytes: Arc<AtomicU64>,
}

impl SledEngine {
    /// Opens the data directory, or makes it. `listener` hears of every commit.
    ///
    /// # Errors
    ///
    /// When the directory is another coordinator's, is not umbel's, has a format that this version
    /// does not read, is damaged, or the system refuses it. Each error says what to do.
    pub fn open(settings: &Settings, listener: Arc<dyn Listener>) -> Result<Self, Error> {
        if restore::is_unfinished(&settings.dir) {
            return Err(Error::Unfinished {
                dir: settings.dir.clone(),
            });
        }
        Self::open_unfinished(settings, listener)
    }

    /// Opens a directory that is being restored, or any other.
    pub(crate) fn open_unfinished(
        settings: &Settings,
        listener: Arc<dyn Listener>,
    ) -> Result<Self, Error> {
        Self::open_on(Box::new(RealDisk), settings, listener)
    }

    fn open_on(
        disk: Box<dyn Disk>,
        settings: &Settings,
        listener: Arc<dyn Listener>,
    ) -> Result<Self, Error> {
        let dir = settings.dir.clone();
        let (opened, syncer) = open::open(settings, disk)?;
        let blobs_synced = syncer.blobs_synced();
        let live_bytes = Arc::new(AtomicU64::new(opened.live_bytes));
        let storage = SledStorage {
            dir: dir.clone(),
            db: opened.db.clone(),
            lock: opened.lock.share()?,
            mark: opened.mark.share()?,
            number: opened.number,
            live_bytes: Arc::clone(&live_bytes),
            syncer,
            waker: Waker::start(opened.db.clone())
                .map_err(|error| Error::io("start a thread of", &dir, &dir, error))?,
        };
        let committer = Committer::start(storage, settings.undurable_bytes_max, listener)
            .map_err(|error| Error::io("start the commit thread of", &dir, &dir, error))?;
        tracing::info!(dir = %dir.display(), recovered = opened.db.was_recovered(), "store open");
        Ok(Self {
            dir,
            committer,
            opened: RwLock::new(Some(opened)),
            blobs_synced,
            live_bytes,
        })
    }

    fn opened(&self) -> RwLockReadGuard<'_, Option<Opened>> {
        self.opened.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SledEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Sled's own form would print every entry.
        f.debug_struct("SledEngine")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

impl Engine for SledEngine {
    fn submit(&self, batch: WriteBatch) {
        self.committer.submit(batch);
    }

    fn try_submit(&self, batch: WriteBatch) -> Result<(), Refused> {
        self.committer.try_submit(batch)
    }

    fn undurable_bytes(&self) -> usize {
        self.committer.undurable_bytes()
    }

    fn undurable_bytes_max(&self) -> usize {
        self.committer.undurable_bytes_max()
    }

    fn durable(&self) -> u64 {
        self.committer.durable()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let opened = self.opened();
        let db = &opened.as_ref().ok_or(Error::Closed)?.db;
        let value = db
            .get(key)
            .map_err(|error| Error::sled("read", &self.dir, error))?;
        Ok(value.map(Bytes::from_owner))
    }

    fn scan(&self, scan: &Scan) -> Result<Page, Error> {
        // Sled panics on a range that ends before it starts.
        if scan.keys.start >= scan.keys.end {
            return Page::fill(scan, std::iter::empty());
        }
        let opened = self.opened();
        let db = &opened.as_ref().ok_or(Error::Closed)?.db;
        let found = db.range(&scan.keys.start[..]..&scan.keys.end[..]);
        let entry = |found: sled::Result<(sled::IVec, sled::IVec)>| {
            let (key, value) = found.map_err(|error| Error::sled("read", &self.dir, error))?;
            Ok(Entry {
                key: Bytes::from_owner(key),
                value: Bytes::from_owner(value),
            })
        };
        match scan.direction {
            Direction::Forward => Page::fill(scan, found.map(entry)),
            Direction::Backward => Page::fill(scan, found.rev().map(entry)),
        }
    }

    fn settle(&self) -> Result<(), Error> {
        self.committer.settle()
    }

    fn follow(&self) -> Result<(), Error> {
        self.committer.follow()
    }

    fn followed(&self) -> Result<Vec<WriteBatch>, Error> {
        self.committer.followed()
    }

    fn unfollow(&self) -> Result<Followed, Error> {
        self.committer.unfollow()
    }

    fn live_bytes(&self) -> u64 {
        self.live_bytes.load(Ordering::Relaxed)
    }

    fn free_bytes(&self) -> Option<u64> {
        directory::free_bytes(&self.dir).ok()
    }

    fn stats(&self) -> Stats {
        Stats {
            live_bytes: self.live_bytes(),
            blobs_synced: self.blobs_synced.load(Ordering::Relaxed),
            disk_bytes: directory::disk_bytes(&self.dir).ok(),
            free_bytes: self.free_bytes(),
            ..self.committer.stats()
        }
    }

    fn close(&self) -> Result<(), Error> {
        let closed = self.committer.close();
        let opened = self
            .opened
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // Sled flushes once more when it is dropped, and panics where the disk refuses. What was
        // acknowledged does not depend on it.
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(opened)));
        if closed.is_err() {
            // What the disk did not take may lie in the system's memory as if it had: whoever opens
            // the data again reads what is on the disk.
            directory::forget_cached(&self.dir.join(directory::SLED_DIR));
        }
        closed?;
        dropped.map_err(|panic| Error::Engine {
            what: Error::panic(&*panic),
        })
    }
}

impl Drop for SledEngine {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(dir = %self.dir.display(), %error, "store not closed cleanly");
        }
    }
}

/// What the commit thread has of the engine.
struct SledStorage {
    dir: PathBuf,
    db: sled::Db,
    lock: Lock,
    mark: Mark,
    /// The highest number that was written.
    number: u64,
    /// The bytes of all keys and values.
    live_bytes: Arc<AtomicU64>,
    syncer: Syncer,
    waker: Waker,
}

impl Storage for SledStorage {
    fn write(&mut self, batches: &[WriteBatch]) -> Result<(), Error> {
        let live_bytes = self.count(batches)?;
        let mark = Key::Mark.encode();
        let mut batch = sled::Batch::default();
        for write in batches.iter().flat_map(WriteBatch::writes) {
            match write {
                // Of a backup: its number is this store's now.
                Write::Put { key, value } if *key == mark => {
                    let found = live::read_mark(value).map_or(0, |(number, _)| number);
                    self.number = self.number.max(found);
                }
                Write::Put { key, value } => batch.insert(&key[..], &value[..]),
                Write::Delete { key } => batch.remove(&key[..]),
            }
        }
        let number = batches.iter().filter_map(WriteBatch::number).max();
        self.number = self.number.max(number.unwrap_or(0));
        batch.insert(&mark[..], &live::mark(self.number, live_bytes));
        self.db
            .apply_batch(batch)
            .map_err(|error| Error::sled("write", &self.dir, error))?;
        self.live_bytes.store(live_bytes, Ordering::Relaxed);
        collect(batches.iter().map(|batch| batch.writes().len()).sum());
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.waker
            .guard(|| self.db.flush())
            .map_err(|error| Error::sled("flush", &self.dir, error))?;
        self.syncer.sync()?;
        self.mark.set(self.number)?;
        // Last, so that nothing is acknowledged that went to a file without a name.
        self.lock.holds()
    }
}

impl SledStorage {
    /// The bytes of all keys and values once the batches are written. Only this thread writes.
    fn count(&self, batches: &[WriteBatch]) -> Result<u64, Error> {
        let before = self.live_bytes.load(Ordering::Relaxed);
        live::after(before, batches, |key| {
            let value = self.db.get(key);
            let value = value.map_err(|error| Error::sled("read", &self.dir, error))?;
            Ok(value.map(|value| value.len()))
        })
    }
}

/// Frees the pages that `writes` writes have replaced.
///
/// Sled leaves that to crossbeam's collector, which by itself frees some hundred objects at every
/// 128th pin. A batch is one pin and replaces a page with each of its writes, so that garbage would
/// grow for as long as anybody writes: 600 MB after 200,000 small writes, against 50 MB with this.
fn collect(writes: usize) {
    /// A flush of the collector frees up to eight bags of 64 objects.
    const WRITES_PER_FLUSH: usize = 64;
    // The epoch has to advance twice before the newest garbage may go.
    for _ in 0..2 + writes / WRITES_PER_FLUSH {
        crossbeam_epoch::pin().flush();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io;
    use std::sync::mpsc::Receiver;

    use super::*;
    use crate::VALUE_BYTES_MAX;
    use crate::testing::{Event, Told};

    fn open(dir: &std::path::Path) -> (SledEngine, Receiver<Event>) {
        let (listener, told) = Told::new();
        (
            SledEngine::open(&Settings::new(dir), listener).unwrap(),
            told,
        )
    }

    fn put(number: u64, entries: &[(&str, &str)]) -> WriteBatch {
        let mut batch = WriteBatch::numbered(number);
        for (key, value) in entries {
            batch.put(key.to_string(), value.to_string()).unwrap();
        }
        batch
    }

    fn wait(told: &Receiver<Event>, number: u64) {
        while told.recv().unwrap().durable() != Some(number) {}
    }

    #[test]
    fn what_is_durable_is_there_after_the_next_open() {
        let dir = tempfile::tempdir().unwrap();
        let (engine, told) = open(dir.path());
        engine.submit(put(1, &[("a", "1"), ("b", "2")]));
        let mut second = put(2, &[("c", "3")]);
        second.delete("a");
        engine.submit(second);
        wait(&told, 2);
        assert_eq!(engine.durable(), 2);
        drop(engine);
        let (engine, _told) = open(dir.path());
        assert_eq!(engine.get(b"a").unwrap(), None);
        assert_eq!(engine.get(b"b").unwrap().unwrap(), "2");
        assert_eq!(engine.get(b"c").unwrap().unwrap(), "3");
    }

    #[test]
    fn live_bytes_follow_every_write_and_are_known_again_after_the_next_open() {
        let dir = tempfile::tempdir().unwrap();
        let (engine, told) = open(dir.path());
        engine.submit(put(1, &[("a", "1"), ("b", "22")]));
        wait(&told, 1);
        assert_eq!(engine.live_bytes(), 2 + 3);
        let mut second = put(2, &[("a", "4444"), ("a", "333"), ("c", "1")]);
        second.delete("b");
        second.delete("nobody");
        engine.submit(second);
        wait(&told, 2);
        assert_eq!(engine.live_bytes(), 4 + 2);
        assert_eq!(engine.stats().live_bytes, 6);
        drop(engine);
        let (engine, _told) = open(dir.path());
        assert_eq!(engine.live_bytes(), 6);
        // A batch beside the turns does not take the number back.
        let mut beside = WriteBatch::unnumbered();
        beside.delete("a");
        engine.submit(beside);
        engine.settle().unwrap();
        assert_eq!(engine.live_bytes(), 2);
        let mark = engine.get(&Key::Mark.encode()).unwrap().unwrap();
        assert_eq!(live::read_mark(&mark), Some((2, Some(2))));
    }

    #[test]
    fn data_that_do_not_say_how_much_they_are_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let (engine, told) = open(dir.path());
        engine.submit(put(1, &[("a", "1"), ("b", "22")]));
        wait(&told, 1);
        let db = engine.opened().as_ref().unwrap().db.clone();
        db.insert(&Key::Mark.encode()[..], &1_u64.to_be_bytes())
            .unwrap();
        drop(db);
        drop(engine);
        assert_eq!(open(dir.path()).0.live_bytes(), 5);
    }

    #[test]
    fn a_second_coordinator_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let (_engine, _told) = open(dir.path());
        let (listener, _) = Told::new();
        let error = SledEngine::open(&Settings::new(dir.path()), listener)
            .unwrap_err()
            .to_string();
        assert!(error.contains(&dir.path().display().to_string()), "{error}");
        assert!(
            error.contains(&format!("pid {}", std::process::id())),
            "{error}"
        );
    }

    #[test]
    fn a_closed_engine_lets_go_of_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (engine, _told) = open(dir.path());
        engine.submit(put(1, &[("a", "1")]));
        engine.close().unwrap();
        assert!(matches!(engine.get(b"a"), Err(Error::Closed)));
        let (again, _told) = open(dir.path());
        assert_eq!(again.get(b"a").unwrap().unwrap(), "1");
    }

    #[test]
    fn a_scan_reads_a_range_in_pages_from_either_end() {
        let dir = tempfile::tempdir().unwrap();
        let (engine, told) = open(dir.path());
        engine.submit(put(
            1,
            &[("a", "0"), ("b", "1"), ("b\0", "2"), ("c", "3"), ("d", "4")],
        ));
        wait(&told, 1);
        let read = |direction, entries_max, bytes_max| {
            let keys = Bytes::from("b")..Bytes::from("d");
            let mut next = Some(Scan {
                keys,
                direction,
                entries_max,
                bytes_max,
            });
            let mut pages = Vec::new();
            while let Some(scan) = next {
                let page = engine.scan(&scan).unwrap();
                let values = page.entries.iter().flat_map(|entry| entry.value.to_vec());
                pages.push(String::from_utf8(values.collect()).unwrap());
                next = page.next;
            }
            pages
        };
        assert_eq!(read(Direction::Forward, 2, 100), ["12", "3"]);
        assert_eq!(read(Direction::Forward, 9, 5), ["12", "3"]);
        assert_eq!(read(Direction::Forward, 3, 1), ["1", "2", "3"]);
        assert_eq!(read(Direction::Backward, 2, 100), ["32", "1"]);
        assert_eq!(read(Direction::Backward, 3, 100), ["321"]);
    }

    #[test]
    fn a_range_that_ends_before_it_starts_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let (engine, _told) = open(dir.path());
        for keys in [
            Bytes::from("b")..Bytes::from("a"),
            Bytes::from("a")..Bytes::from("a"),
        ] {
            let direction = Direction::Forward;
            let page = engine
                .scan(&Scan {
                    keys,
                    direction,
                    entries_max: 9,
                    bytes_max: 9,
                })
                .unwrap();
            assert_eq!(
                page,
                Page {
                    entries: Vec::new(),
                    next: None
                }
            );
        }
    }

    #[test]
    fn values_of_the_largest_size_make_no_blobs() {
        let dir = tempfile::tempdir().unwrap();
        let (engine, told) = open(dir.path());
        for number in 1..=20 {
            let mut batch = WriteBatch::numbered(number);
            for part in 0..16_u64 {
                let key = [number.to_be_bytes(), part.to_be_bytes()].concat();
                batch.put(key, vec![7; VALUE_BYTES_MAX]).unwrap();
            }
            engine.submit(batch);
        }
        wait(&told, 20);
        let stats = engine.stats();
        assert_eq!((stats.batches, stats.blobs_synced), (20, 0));
        assert!(stats.disk_bytes.unwrap() >= 20 << 20, "{stats:?}");
        assert!(stats.free_bytes.unwrap() > 0);
    }

    #[test]
    fn a_full_disk_fails_with_words_and_nothing_is_acknowledged() {
        #[derive(Debug)]
        struct FullDisk(AtomicU64);
        impl Disk for FullDisk {
            fn sync(&self, _: &File) -> io::Result<()> {
                // The sync of the open still finds room.
                match self.0.fetch_add(1, Ordering::Relaxed) {
                    0 => Ok(()),
                    _ => Err(io::Error::from_raw_os_error(28)),
                }
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let (listener, told) = Told::new();
        let disk = Box::new(FullDisk(AtomicU64::new(0)));
        let engine = SledEngine::open_on(disk, &Settings::new(dir.path()), listener).unwrap();
        engine.submit(put(1, &[("a", "1")]));
        let Event::Failed(error) = told.recv().unwrap() else {
            panic!("it did not fail")
        };
        let words = error.to_string();
        assert!(
            words.contains("is full") && words.contains("free some space"),
            "{words}"
        );
        assert_eq!(engine.durable(), 0);
        assert!(matches!(engine.close(), Err(Error::Full { .. })));
    }

    #[test]
    fn a_directory_removed_under_the_engine_fences_it() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let (engine, told) = open(&data);
        fs::rename(&data, dir.path().join("moved")).unwrap();
        let (_other, _) = open(&data);
        engine.submit(put(1, &[("a", "1")]));
        assert!(matches!(
            told.recv().unwrap(),
            Event::Fenced(Error::Fenced { .. })
        ));
        assert_eq!(engine.durable(), 0);
    }
}
