//! Wakes a flush that would sleep for ever.
//!
//! When sled's own threads meet a full disk they note the error, and not all of them wake who
//! waits for the write: a flush that sleeps by then is never told. Whoever begins another write
//! wakes it. So while a flush takes long, an empty batch is begun every now and then.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a flush may take before it is looked after, and how often then.
const EVERY: Duration = Duration::from_millis(500);

/// The thread, and what it is told. Dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct Waker {
    told: Arc<Told>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Told {
    flushes: AtomicBool,
    over: AtomicBool,
}

impl Waker {
    /// Starts the thread.
    pub(crate) fn start(db: sled::Db) -> std::io::Result<Self> {
        let told = Arc::<Told>::default();
        let thread = thread::Builder::new().name("umbel-waker".to_owned());
        let thread = thread.spawn({
            let told = Arc::clone(&told);
            move || run(&db, &told)
        })?;
        Ok(Self {
            told,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Does what may sleep.
    pub(crate) fn guard<T>(&self, flush: impl FnOnce() -> T) -> T {
        self.told.flushes.store(true, Ordering::Release);
        let flushed = flush();
        self.told.flushes.store(false, Ordering::Release);
        flushed
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        self.told.over.store(true, Ordering::Release);
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            thread.thread().unpark();
            // A panic in it was caught.
            let _ = thread.join();
        }
    }
}

fn run(db: &sled::Db, told: &Told) {
    let mut flushed_before = false;
    loop {
        thread::park_timeout(EVERY);
        if told.over.load(Ordering::Acquire) {
            return;
        }
        let flushes = told.flushes.load(Ordering::Acquire);
        if flushes && flushed_before {
            // What it says the flush says too.
            let _ = catch_unwind(AssertUnwindSafe(|| db.apply_batch(sled::Batch::default())));
        }
        flushed_before = flushes;
    }
}
