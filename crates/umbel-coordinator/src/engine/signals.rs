//! What the engine's thread, the commit thread and everybody who waits for them share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use umbel_store::{Commit, Listener};

use super::mailbox::Mailbox;
use super::turn::Mail;
use crate::Error;
use crate::metrics::Metrics;

/// Shared by all; the commit thread's half is [`Listener`].
#[derive(Debug)]
pub(crate) struct Signals {
    pub(super) mailbox: Mailbox<Mail>,
    pub(crate) metrics: Arc<Metrics>,
    durable: AtomicU64,
    failure: OnceLock<Arc<Error>>,
    /// Bytes became durable, so that there may be room for more.
    pub(crate) room: Notify,
    /// The coordinator drains: what is open ends soon, and what is new is refused.
    pub(crate) draining: CancellationToken,
    /// The engine has ended, by itself or because it was asked to.
    pub(crate) ended: CancellationToken,
}

impl Signals {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            mailbox: Mailbox::new(),
            metrics,
            durable: AtomicU64::new(0),
            failure: OnceLock::new(),
            room: Notify::new(),
            draining: CancellationToken::new(),
            ended: CancellationToken::new(),
        })
    }

    /// The highest batch number that the listener was told of.
    pub(super) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Nothing more is acknowledged. The first reason stays.
    pub(super) fn fail(&self, error: Error) {
        let _ = self.failure.set(Arc::new(error));
        self.room.notify_waiters();
        self.mailbox.nudge();
    }

    /// Why nothing more is acknowledged, if so.
    pub(crate) fn failure(&self) -> Option<Arc<Error>> {
        self.failure.get().cloned()
    }

    /// Asks the engine to end in order.
    pub(crate) fn drain(&self) {
        self.draining.cancel();
        self.mailbox.nudge();
    }
}

impl Listener for Signals {
    fn durable(&self, number: u64) {
        // The engine is woken by `committed`, which always follows.
        self.durable.fetch_max(number, Ordering::Release);
    }

    fn committed(&self, commit: &Commit) {
        self.metrics.commit(commit);
        self.room.notify_waiters();
        self.mailbox.nudge();
    }

    fn failed(&self, error: &umbel_store::Error) {
        self.fail(Error::Store(error.clone()));
    }

    fn fenced(&self, error: &umbel_store::Error) {
        self.fail(Error::Store(error.clone()));
    }
}
