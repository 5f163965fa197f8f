//! The instances of one function that have nothing to do.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Keeps what is idle, hands out the newest, and drops what has been idle for too long.
///
/// The newest first: under less work the same few are used again, and the others come to an end.
pub(super) struct Pool<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    idle_timeout: Duration,
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    /// Oldest first, each since when it is idle.
    idle: Vec<(Instant, T)>,
    /// Whether a thread waits for the oldest's time. There is none while nothing is idle.
    watched: bool,
    closed: bool,
}

impl<T: Send + 'static> Pool<T> {
    pub(super) fn new(idle_timeout: Duration) -> Self {
        Self {
            shared: Arc::new(Shared {
                idle_timeout,
                state: Mutex::new(State {
                    idle: Vec::new(),
                    watched: false,
                    closed: false,
                }),
                changed: Condvar::new(),
            }),
        }
    }

    /// The one that has been idle for the shortest time.
    pub(super) fn take(&self) -> Option<T> {
        self.shared.state().idle.pop().map(|(_, one)| one)
    }

    /// Keeps one for later.
    pub(super) fn put(&self, one: T) {
        let mut state = self.shared.state();
        state.idle.push((Instant::now(), one));
        if !state.watched {
            let shared = Arc::clone(&self.shared);
            // Without the thread nothing is wrong but that idle ones stay.
            state.watched = thread::Builder::new()
                .name("umbel-idle".to_owned())
                .spawn(move || shared.watch())
                .is_ok();
        }
    }

    /// How many are idle.
    pub(super) fn len(&self) -> usize {
        self.shared.state().idle.len()
    }
}

impl<T> Shared<T> {
    /// Drops each when its time has come, until there is none.
    fn watch(&self) {
        let mut state = self.state();
        while let Some((since, _)) = state.idle.first().filter(|_| !state.closed) {
            let idle = since.elapsed();
            if idle < self.idle_timeout {
                let left = self.idle_timeout - idle;
                state = self
                    .changed
                    .wait_timeout(state, left)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
                continue;
            }
            let (_, expired) = state.idle.remove(0);
            drop(state);
            // Outside of the lock: it may take a while.
            drop(expired);
            state = self.state();
        }
        state.watched = false;
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics under the lock; if something did, the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Drop for Pool<T> {
    fn drop(&mut self) {
        let idle = {
            let mut state = self.shared.state();
            state.closed = true;
            std::mem::take(&mut state.idle)
        };
        self.shared.changed.notify_all();
        drop(idle);
    }
}

impl<T> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("idle", &self.shared.state().idle.len())
            .field("idle_timeout", &self.shared.idle_timeout)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// Tells of its own end.
    struct Idle(u32, mpsc::Sender<u32>);

    impl Drop for Idle {
        fn drop(&mut self) {
            let _nobody_listens = self.1.send(self.0);
        }
    }

    #[test]
    fn the_newest_is_used_again() {
        let pool = Pool::new(LONG);
        pool.put(1);
        pool.put(2);
        assert_eq!(pool.take(), Some(2));
        assert_eq!(pool.take(), Some(1));
        assert_eq!(pool.take(), None);
    }

    #[test]
    fn what_is_idle_for_too_long_ends_oldest_first() {
        let (sender, ended) = mpsc::channel();
        let pool = Pool::new(Duration::from_millis(20));
        pool.put(Idle(1, sender.clone()));
        pool.put(Idle(2, sender));

        assert_eq!(ended.recv_timeout(LONG), Ok(1));
        assert_eq!(ended.recv_timeout(LONG), Ok(2));
        assert_eq!(pool.len(), 0);
    }

    #[test]
    fn all_end_with_the_pool() {
        let (sender, ended) = mpsc::channel();
        let pool = Pool::new(LONG);
        pool.put(Idle(1, sender));

        drop(pool);

        assert_eq!(ended.try_recv(), Ok(1));
    }
}
