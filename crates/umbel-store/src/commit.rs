//! The commit thread: it takes what lies in line, in order, writes it as one, syncs, and says so.
//!
//! It never waits for company. The sync in progress is the grouping: what is submitted meanwhile
//! travels together in the next commit.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::engine::Following;
use crate::{Commit, Error, Followed, Listener, Refused, Stats, WriteBatch};

/// How many batches go into one commit at most.
const COMMIT_BATCHES_MAX: usize = 1024;

/// How many bytes go into one commit, save for its first batch. Sled holds a lock of the whole
/// process while it applies them, and every read waits for it.
const COMMIT_BYTES_MAX: usize = 4 << 20;

/// What the commit thread writes to.
pub(crate) trait Storage: Send + 'static {
    /// Writes the batches in order, all or none.
    fn write(&mut self, batches: &[WriteBatch]) -> Result<(), Error>;

    /// Returns when everything that was written would survive a loss of power.
    fn sync(&mut self) -> Result<(), Error>;
}

/// The line of batches and the thread at its end.
#[derive(Debug)]
pub(crate) struct Committer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    line: Mutex<Line>,
    /// There is something to commit, or nothing will be any more.
    changed: Condvar,
    /// Something was committed, or nothing will be any more.
    settled: Condvar,
    undurable_bytes_max: usize,
    durable: AtomicU64,
    sums: Sums,
}

#[derive(Debug)]
struct Line {
    batches: VecDeque<WriteBatch>,
    /// The bytes in `batches` and in the commit under way.
    undurable_bytes: usize,
    /// How many batches were taken into line, ever.
    submitted: u64,
    /// How many of them are durable.
    committed: u64,
    /// What is kept for one who copies the data.
    following: Option<Following>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Open,
    /// What lies in line is still committed, and nothing is added.
    Closing,
    Failed(Error),
}

#[derive(Debug, Default)]
struct Sums {
    commits: AtomicU64,
    batches: AtomicU64,
    bytes: AtomicU64,
    write_us: AtomicU64,
    sync_us: AtomicU64,
}

impl Committer {
    /// Starts the thread over `storage`.
    pub(crate) fn start(
        storage: impl Storage,
        undurable_bytes_max: usize,
        listener: Arc<dyn Listener>,
    ) -> std::io::Result<Self> {
        let line = Line {
            batches: VecDeque::new(),
            undurable_bytes: 0,
            submitted: 0,
            committed: 0,
            following: None,
            phase: Phase::Open,
        };
        let shared = Arc::new(Shared {
            line: Mutex::new(line),
            changed: Condvar::new(),
            settled: Condvar::new(),
            undurable_bytes_max,
            durable: AtomicU64::new(0),
            sums: Sums::default(),
        });
        let thread = std::thread::Builder::new()
            .name("umbel-commit".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || run(&shared, storage, &*listener)
            })?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    pub(crate) fn submit(&self, batch: WriteBatch) {
        self.shared.push(self.shared.lock(), batch);
    }

    pub(crate) fn try_submit(&self, batch: WriteBatch) -> Result<(), Refused> {
        let line = self.shared.lock();
        match &line.phase {
            Phase::Failed(error) => return Err(Refused::Failed(error.clone())),
            Phase::Closing => return Err(Refused::Failed(Error::Closed)),
            Phase::Open => {}
        }
        // A batch alone is always taken, or one larger than the bound would wait for ever.
        let bytes = line.undurable_bytes + batch.bytes();
        if line.undurable_bytes > 0 && bytes > self.shared.undurable_bytes_max {
            return Err(Refused::Full(batch));
        }
        self.shared.push(line, batch);
        Ok(())
    }

    pub(crate) fn undurable_bytes(&self) -> usize {
        self.shared.lock().undurable_bytes
    }

    pub(crate) fn undurable_bytes_max(&self) -> usize {
        self.shared.undurable_bytes_max
    }

    pub(crate) fn durable(&self) -> u64 {
        self.shared.durable.load(Ordering::Acquire)
    }

    /// Waits until all that lies in line now is durable.
    pub(crate) fn settle(&self) -> Result<(), Error> {
        let mut line = self.shared.lock();
        let submitted = line.submitted;
        while line.committed < submitted {
            if let Phase::Failed(error) = &line.phase {
                return Err(error.clone());
            }
            line = self
                .shared
                .settled
                .wait(line)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    pub(crate) fn follow(&self) -> Result<(), Error> {
        let mut line = self.shared.lock();
        match &line.phase {
            Phase::Failed(error) => return Err(error.clone()),
            Phase::Closing => return Err(Error::Closed),
            Phase::Open => {}
        }
        if line.following.is_some() {
            return Err(Error::CopyUnderWay);
        }
        line.following = Some(Following::begin(self.durable()));
        Ok(())
    }

    pub(crate) fn followed(&self) -> Result<Vec<WriteBatch>, Error> {
        let mut line = self.shared.lock();
        if let Phase::Failed(error) = &line.phase {
            return Err(error.clone());
        }
        line.following.as_mut().ok_or(Error::Closed)?.take()
    }

    pub(crate) fn unfollow(&self) -> Result<Followed, Error> {
        let mut line = self.shared.lock();
        // The commit under way may be written and not yet synced, and so have been read. Those that
        // begin after it were not.
        let taken = line.submitted - line.batches.len() as u64;
        while line.committed < taken {
            if let Phase::Failed(error) = &line.phase {
                let error = error.clone();
                line.following = None;
                return Err(error);
            }
            line = self
                .shared
                .settled
                .wait(line)
                .unwrap_or_else(PoisonError::into_inner);
        }
        line.following.take().ok_or(Error::Closed)?.end()
    }

    /// The sums of all commits; what only the engine knows is left at its default.
    pub(crate) fn stats(&self) -> Stats {
        let sums = &self.shared.sums;
        Stats {
            commits: sums.commits.load(Ordering::Relaxed),
            batches: sums.batches.load(Ordering::Relaxed),
            bytes: sums.bytes.load(Ordering::Relaxed),
            write_us: sums.write_us.load(Ordering::Relaxed),
            sync_us: sums.sync_us.load(Ordering::Relaxed),
            undurable_bytes: self.undurable_bytes() as u64,
            ..Stats::default()
        }
    }

    /// Commits what lies in line and ends the thread.
    pub(crate) fn close(&self) -> Result<(), Error> {
        {
            let mut line = self.shared.lock();
            if matches!(line.phase, Phase::Open) {
                line.phase = Phase::Closing;
            }
        }
        self.shared.changed.notify_all();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread
            // A listener that closes the store on its failure runs on this very thread.
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic of the thread was already turned into a failure.
            let _ = thread.join();
        }
        match &self.shared.lock().phase {
            Phase::Failed(error) => Err(error.clone()),
            Phase::Open | Phase::Closing => Ok(()),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Line> {
        // No invariant spans a panic here: every change of the line is a single step.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, mut line: MutexGuard<'_, Line>, batch: WriteBatch) {
        if matches!(line.phase, Phase::Open) {
            line.undurable_bytes += batch.bytes();
            line.submitted += 1;
            line.batches.push_back(batch);
            drop(line);
            self.changed.notify_one();
        }
    }

    /// Waits for batches and takes as many as one commit may have; `None` at the end.
    fn take(&self) -> Option<Vec<WriteBatch>> {
        let mut line = self.lock();
        while line.batches.is_empty() {
            if !matches!(line.phase, Phase::Open) {
                return None;
            }
            line = self
                .changed
                .wait(line)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let mut bytes = 0;
        let mut count = 0;
        for batch in line.batches.iter().take(COMMIT_BATCHES_MAX) {
            bytes += batch.bytes();
            if count > 0 && bytes > COMMIT_BYTES_MAX {
                break;
            }
            count += 1;
        }
        Some(line.batches.drain(..count).collect())
    }

    fn succeed(&self, commit: &Commit, batches: Vec<WriteBatch>) {
        if let Some(number) = commit.number {
            self.durable.store(number, Ordering::Release);
        }
        {
            let mut line = self.lock();
            line.undurable_bytes -= commit.bytes;
            line.committed += commit.batches as u64;
            if let Some(following) = &mut line.following {
                following.push(batches);
            }
        }
        self.settled.notify_all();
        let us = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.sums.commits.fetch_add(1, Ordering::Relaxed);
        self.sums
            .batches
            .fetch_add(commit.batches as u64, Ordering::Relaxed);
        self.sums
            .bytes
            .fetch_add(commit.bytes as u64, Ordering::Relaxed);
        self.sums
            .write_us
            .fetch_add(us(commit.write), Ordering::Relaxed);
        self.sums
            .sync_us
            .fetch_add(us(commit.sync), Ordering::Relaxed);
    }

    /// Drops everything in line, now and later.
    fn fail(&self, error: &Error) {
        let mut line = self.lock();
        line.phase = Phase::Failed(error.clone());
        line.undurable_bytes = 0;
        line.batches = VecDeque::new();
        drop(line);
        self.settled.notify_all();
    }
}

fn run(shared: &Shared, mut storage: impl Storage, listener: &dyn Listener) {
    while let Some(batches) = shared.take() {
        // An engine that panics has failed like one that returns an error.
        let done = catch_unwind(AssertUnwindSafe(|| commit(&mut storage, &batches)))
            .unwrap_or_else(|panic| {
                Err(Error::Engine {
                    what: Error::panic(&*panic),
                })
            });
        match done {
            Ok(commit) => {
                shared.succeed(&commit, batches);
                if let Some(number) = commit.number {
                    listener.durable(number);
                }
                listener.committed(&commit);
            }
            Err(error) => {
                shared.fail(&error);
                match error {
                    Error::Fenced { .. } => listener.fenced(&error),
                    _ => listener.failed(&error),
                }
                return;
            }
        }
    }
}

fn commit(storage: &mut impl Storage, batches: &[WriteBatch]) -> Result<Commit, Error> {
    let mut commit = Commit {
        number: batches.iter().filter_map(WriteBatch::number).max(),
        batches: batches.len(),
        bytes: batches.iter().map(WriteBatch::bytes).sum(),
        ..Commit::default()
    };
    // A turn that changed nothing is durable as soon as those before it are.
    if batches.iter().any(|batch| !batch.is_empty()) {
        let begun = Instant::now();
        storage.write(batches)?;
        commit.write = begun.elapsed();
        storage.sync()?;
        commit.sync = begun.elapsed().saturating_sub(commit.write);
    }
    Ok(commit)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;
    use crate::testing::{Event, Told};

    /// A storage whose syncs wait until the test lets them go, with the outcome that it chose.
    struct Gated {
        written: Sender<Vec<Option<u64>>>,
        syncs: Receiver<Result<(), Error>>,
    }

    impl Storage for Gated {
        fn write(&mut self, batches: &[WriteBatch]) -> Result<(), Error> {
            self.written
                .send(batches.iter().map(WriteBatch::number).collect())
                .unwrap();
            Ok(())
        }

        fn sync(&mut self) -> Result<(), Error> {
            self.syncs.recv().unwrap()
        }
    }

    struct Bench {
        committer: Committer,
        written: Receiver<Vec<Option<u64>>>,
        syncs: Sender<Result<(), Error>>,
        told: Receiver<Event>,
    }

    fn bench(undurable_bytes_max: usize) -> Bench {
        let (written_in, written) = channel();
        let (syncs, syncs_out) = channel();
        let (listener, told) = Told::new();
        let storage = Gated {
            written: written_in,
            syncs: syncs_out,
        };
        let committer = Committer::start(storage, undurable_bytes_max, listener).unwrap();
        Bench {
            committer,
            written,
            syncs,
            told,
        }
    }

    fn batch(number: Option<u64>) -> WriteBatch {
        let mut batch = number.map_or_else(WriteBatch::unnumbered, WriteBatch::numbered);
        batch.put(&b"key"[..], &b"value"[..]).unwrap();
        batch
    }

    #[test]
    fn what_arrives_during_a_sync_is_the_next_commit_in_order() {
        let bench = bench(usize::MAX);
        bench.committer.submit(batch(Some(1)));
        assert_eq!(bench.written.recv().unwrap(), [Some(1)]);
        for number in [None, Some(2), None, Some(3)] {
            bench.committer.submit(batch(number));
        }
        bench.syncs.send(Ok(())).unwrap();
        assert_eq!(
            bench.written.recv().unwrap(),
            [None, Some(2), None, Some(3)]
        );
        bench.syncs.send(Ok(())).unwrap();
        bench.committer.close().unwrap();
        let told: Vec<_> = bench
            .told
            .iter()
            .filter_map(|event| event.durable())
            .collect();
        assert_eq!(told, [1, 3]);
    }

    #[test]
    fn nothing_is_durable_before_its_sync() {
        let bench = bench(usize::MAX);
        bench.committer.submit(batch(Some(1)));
        bench.written.recv().unwrap();
        assert_eq!(bench.committer.durable(), 0);
        assert!(bench.told.try_recv().is_err());
        bench.syncs.send(Ok(())).unwrap();
        assert_eq!(bench.told.recv().unwrap().durable(), Some(1));
        assert_eq!(bench.committer.durable(), 1);
        bench.committer.close().unwrap();
    }

    #[test]
    fn a_commit_is_bounded_in_bytes() {
        let bench = bench(usize::MAX);
        bench.committer.submit(batch(Some(1)));
        bench.written.recv().unwrap();
        let half = |number| {
            let mut batch = WriteBatch::numbered(number);
            while batch.bytes() < COMMIT_BYTES_MAX / 2 {
                batch
                    .put(&b"key"[..], vec![0; crate::VALUE_BYTES_MAX])
                    .unwrap();
            }
            batch
        };
        for number in 2..=4 {
            bench.committer.submit(half(number));
        }
        for _ in 0..4 {
            bench.syncs.send(Ok(())).unwrap();
        }
        assert_eq!(bench.written.recv().unwrap(), [Some(2)]);
        assert_eq!(bench.written.recv().unwrap(), [Some(3)]);
        assert_eq!(bench.written.recv().unwrap(), [Some(4)]);
        bench.committer.close().unwrap();
    }

    #[test]
    fn a_failure_is_told_once_and_is_final() {
        let bench = bench(usize::MAX);
        bench.committer.submit(batch(Some(1)));
        bench.written.recv().unwrap();
        bench.committer.submit(batch(Some(2)));
        let full = Error::Full {
            dir: "/data".into(),
            what: "no space".to_owned(),
        };
        bench.syncs.send(Err(full)).unwrap();
        assert!(matches!(
            bench.told.recv().unwrap(),
            Event::Failed(Error::Full { .. })
        ));
        bench.committer.submit(batch(Some(3)));
        let refused = bench.committer.try_submit(batch(None)).unwrap_err();
        assert!(matches!(refused, Refused::Failed(Error::Full { .. })));
        assert!(matches!(bench.committer.close(), Err(Error::Full { .. })));
        assert!(
            bench.told.recv().is_err(),
            "nothing is told after a failure"
        );
        assert!(
            bench.written.recv().is_err(),
            "nothing is written after a failure"
        );
        assert_eq!(bench.committer.undurable_bytes(), 0);
    }

    #[test]
    fn a_storage_that_panics_has_failed() {
        struct Broken;
        impl Storage for Broken {
            fn write(&mut self, _: &[WriteBatch]) -> Result<(), Error> {
                panic!("lost my way")
            }
            fn sync(&mut self) -> Result<(), Error> {
                Ok(())
            }
        }
        let (listener, told) = Told::new();
        let committer = Committer::start(Broken, usize::MAX, listener).unwrap();
        committer.submit(batch(Some(1)));
        let Event::Failed(error) = told.recv().unwrap() else {
            panic!("it did not fail")
        };
        assert!(error.to_string().contains("lost my way"), "{error}");
    }

    #[test]
    fn above_the_bound_only_turns_are_taken() {
        let bench = bench(batch(None).bytes());
        bench.committer.try_submit(batch(None)).unwrap();
        bench.written.recv().unwrap();
        let refused = bench.committer.try_submit(batch(None)).unwrap_err();
        assert!(matches!(refused, Refused::Full(back) if back == batch(None)));
        bench.committer.submit(batch(Some(1)));
        bench.syncs.send(Ok(())).unwrap();
        bench.syncs.send(Ok(())).unwrap();
        while bench.told.recv().unwrap().durable() != Some(1) {}
        let Event::Committed(commit) = bench.told.recv().unwrap() else {
            panic!("not committed")
        };
        assert_eq!((commit.number, commit.batches), (Some(1), 1));
        bench.committer.try_submit(batch(None)).unwrap();
        bench.syncs.send(Ok(())).unwrap();
        bench.committer.close().unwrap();
    }
}
