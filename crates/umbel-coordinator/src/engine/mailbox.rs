//! The engine's way in. Two lanes: what brings bytes that must become durable, and all else, so
//! that a slow disk holds up uploads and reports but neither signs of life nor questions.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use umbel_core::limit::{MESSAGE_BYTES_MAX, TURN_EVENTS_MAX};

/// What waits in the lane of signs and questions, by count.
const SIGNS_MAX: usize = 4_096;
/// What waits in the lane of uploads and reports, in KiB.
const BULK_KIB_MAX: usize = 16 << 10;
/// Less than a whole turn is left to signs while bulk waits, so that neither starves.
const SIGNS_TURN_MAX: usize = TURN_EVENTS_MAX / 2;

const _: () = assert!(MESSAGE_BYTES_MAX >> 10 <= BULK_KIB_MAX);

/// A bounded mailbox with one reader, the engine's thread.
pub(super) struct Mailbox<T> {
    lanes: Mutex<Lanes<T>>,
    arrived: Condvar,
    signs: Arc<Semaphore>,
    bulk: Arc<Semaphore>,
}

struct Lanes<T> {
    signs: VecDeque<Mail<T>>,
    bulk: VecDeque<Mail<T>>,
    /// Something else happened that the engine looks at: a commit, or the end.
    nudged: bool,
    closed: bool,
}

/// Something for the engine, with the room that it takes in its lane.
struct Mail<T> {
    what: T,
    _room: Option<OwnedSemaphorePermit>,
}

/// The engine has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl<T> Mailbox<T> {
    pub(super) fn new() -> Self {
        Self {
            lanes: Mutex::new(Lanes {
                signs: VecDeque::new(),
                bulk: VecDeque::new(),
                nudged: false,
                closed: false,
            }),
            arrived: Condvar::new(),
            signs: Arc::new(Semaphore::new(SIGNS_MAX)),
            bulk: Arc::new(Semaphore::new(BULK_KIB_MAX)),
        }
    }

    /// Hands in a sign of life or a question; waits for room.
    pub(super) async fn sign(&self, what: T) -> Result<(), Closed> {
        let room = Arc::clone(&self.signs)
            .acquire_owned()
            .await
            .map_err(|_| Closed)?;
        self.push(
            Mail {
                what,
                _room: Some(room),
            },
            |lanes| &mut lanes.signs,
        )
    }

    /// Hands in a sign that cannot wait, since it comes from where something was dropped. There
    /// is at most one for each thing that can be dropped, so they are bounded too.
    pub(super) fn farewell(&self, what: T) -> Result<(), Closed> {
        self.push(Mail { what, _room: None }, |lanes| &mut lanes.signs)
    }

    /// The same, behind all bulk that came before.
    pub(super) fn farewell_behind_bulk(&self, what: T) -> Result<(), Closed> {
        self.push(Mail { what, _room: None }, |lanes| &mut lanes.bulk)
    }

    /// Hands in something of so many bytes that must become durable; waits for room.
    pub(super) async fn bulk(&self, bytes: usize, what: T) -> Result<(), Closed> {
        let kib = (bytes >> 10).clamp(1, BULK_KIB_MAX);
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.bulk)
            .acquire_many_owned(kib)
            .await
            .map_err(|_| Closed)?;
        self.push(
            Mail {
                what,
                _room: Some(room),
            },
            |lanes| &mut lanes.bulk,
        )
    }

    fn push(
        &self,
        mail: Mail<T>,
        lane: impl FnOnce(&mut Lanes<T>) -> &mut VecDeque<Mail<T>>,
    ) -> Result<(), Closed> {
        let mut lanes = self.lock();
        if lanes.closed {
            return Err(Closed);
        }
        lane(&mut lanes).push_back(mail);
        drop(lanes);
        self.arrived.notify_one();
        Ok(())
    }

    /// Wakes the engine though there is no mail.
    pub(super) fn nudge(&self) {
        self.lock().nudged = true;
        self.arrived.notify_one();
    }

    /// Nothing more comes in; who waits for room is told, and what lies here is dropped.
    pub(super) fn close(&self) {
        let mut lanes = self.lock();
        lanes.closed = true;
        let dropped = (
            std::mem::take(&mut lanes.signs),
            std::mem::take(&mut lanes.bulk),
        );
        drop(lanes);
        // Outside the lock: what is dropped may want to say farewell.
        drop(dropped);
        self.signs.close();
        self.bulk.close();
        self.arrived.notify_one();
    }

    /// Waits for mail, a nudge or the time, then takes what a turn may handle.
    pub(super) fn take(
        &self,
        until: Option<Instant>,
        hold_bulk: impl Fn() -> bool,
        into: &mut Vec<T>,
    ) {
        let mut lanes = self.lock();
        loop {
            let held = hold_bulk();
            let is_ready = !lanes.signs.is_empty() || (!held && !lanes.bulk.is_empty());
            if is_ready || lanes.nudged || lanes.closed {
                lanes.nudged = false;
                lanes.take(held, into);
                return;
            }
            let Some(until) = until else {
                lanes = self
                    .arrived
                    .wait(lanes)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.arrived.wait_timeout(lanes, left);
            lanes = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lanes<T>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Lanes<T> {
    fn take(&mut self, held: bool, into: &mut Vec<T>) {
        let bulk_waits = !held && !self.bulk.is_empty();
        let signs_max = if bulk_waits {
            SIGNS_TURN_MAX
        } else {
            TURN_EVENTS_MAX
        };
        let signs = self.signs.len().min(signs_max);
        into.extend(self.signs.drain(..signs).map(|mail| mail.what));
        if bulk_waits {
            let bulk = self.bulk.len().min(TURN_EVENTS_MAX - signs);
            into.extend(self.bulk.drain(..bulk).map(|mail| mail.what));
        }
    }
}

impl<T> fmt::Debug for Mailbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lanes = self.lock();
        f.debug_struct("Mailbox")
            .field("signs", &lanes.signs.len())
            .field("bulk", &lanes.bulk.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(mailbox: &Mailbox<u32>, held: bool) -> Vec<u32> {
        let mut into = Vec::new();
        mailbox.take(Some(Instant::now()), || held, &mut into);
        into
    }

    #[tokio::test]
    async fn a_slow_disk_holds_up_bulk_and_no_signs() {
        let mailbox = Mailbox::new();
        mailbox.bulk(100, 1).await.unwrap();
        mailbox.sign(2).await.unwrap();
        assert_eq!(taken(&mailbox, true), [2]);
        assert_eq!(taken(&mailbox, true), [0; 0]);
        assert_eq!(taken(&mailbox, false), [1]);
    }

    #[tokio::test]
    async fn a_full_lane_makes_its_senders_wait_for_the_engine() {
        let mailbox = Mailbox::new();
        mailbox.bulk(BULK_KIB_MAX << 10, 1).await.unwrap();
        let mut second = Box::pin(mailbox.bulk(1, 2));
        assert!(futures::poll!(&mut second).is_pending());
        mailbox.sign(3).await.unwrap();
        assert_eq!(taken(&mailbox, false), [3, 1]);
        second.await.unwrap();
    }

    #[tokio::test]
    async fn an_end_is_told_to_all_who_wait_for_room() {
        let mailbox = Mailbox::new();
        mailbox.bulk(BULK_KIB_MAX << 10, 1).await.unwrap();
        let mut second = Box::pin(mailbox.bulk(1, 2));
        assert!(futures::poll!(&mut second).is_pending());
        mailbox.close();
        assert_eq!(second.await, Err(Closed));
        assert_eq!(mailbox.farewell(3), Err(Closed));
        assert_eq!(taken(&mailbox, false), [0; 0]);
    }
}
