//! The instances of one function: those that have nothing to do, and how many there are.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::instances::{Instances, Yields};

/// Keeps what is idle, hands out the newest, and drops what has been idle for too long, as long as
/// more are there than are to be kept.
///
/// The newest first: under less work the same few are used again, and the others come to an end.
pub(super) struct Pool<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    idle_timeout: Duration,
    state: Mutex<State<T>>,
    changed: Condvar,
    /// Those that it shares a bound with.
    all: OnceLock<Arc<Instances>>,
}

struct State<T> {
    /// Oldest first, each since when it is idle.
    idle: Vec<(Instant, T)>,
    /// So many are kept, however long they are idle.
    floor: usize,
    /// Seats that are taken: by what is idle, works, or starts.
    seated: usize,
    /// Those of them that have been started.
    ready: usize,
    /// Whether a thread waits for the oldest's time. There is none while nothing is idle.
    watched: bool,
    closed: bool,
}

impl<T> State<T> {
    /// Whether one may go without fewer being left than are to be kept.
    fn has_spare(&self) -> bool {
        self.floor == 0 || self.seated > self.floor
    }
}

/// The right of one instance to be there. Whoever has it counts, until it is dropped.
pub(super) struct Seat {
    pool: Weak<dyn Seats>,
    all: Option<Arc<Instances>>,
    ready: bool,
}

impl Seat {
    /// The instance has started.
    pub(super) fn is_ready(&mut self) {
        if let Some(pool) = self.pool.upgrade().filter(|_| !self.ready) {
            self.ready = true;
            pool.started();
        }
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").field("ready", &self.ready).finish()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.left(self.ready);
        }
        if let Some(all) = &self.all {
            all.leave();
        }
    }
}

/// What a seat tells its pool.
trait Seats: Send + Sync {
    fn started(&self);
    fn left(&self, was_ready: bool);
}

impl<T: Send + 'static> Seats for Shared<T> {
    fn started(&self) {
        self.state().ready += 1;
    }

    fn left(&self, was_ready: bool) {
        let mut state = self.state();
        state.seated = state.seated.saturating_sub(1);
        state.ready = state.ready.saturating_sub(usize::from(was_ready));
    }
}

impl<T: Send + 'static> Pool<T> {
    pub(super) fn new(idle_timeout: Duration) -> Self {
        Self {
            shared: Arc::new(Shared {
                idle_timeout,
                state: Mutex::new(State {
                    idle: Vec::new(),
                    floor: 0,
                    seated: 0,
                    ready: 0,
                    watched: false,
                    closed: false,
                }),
                changed: Condvar::new(),
                all: OnceLock::new(),
            }),
        }
    }

    /// Shares the bound of all instances from now on.
    pub(super) fn join(&self, all: &Arc<Instances>) {
        if self.shared.all.set(Arc::clone(all)).is_ok() {
            let pool: Weak<Shared<T>> = Arc::downgrade(&self.shared);
            all.welcome(pool);
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

    /// A seat for one that is needed now: one that nobody uses goes for it, of whatever function.
    pub(super) fn seat(&self) -> Seat {
        self.shared.state().seated += 1;
        let all = self.shared.all.get().cloned();
        if let Some(all) = &all {
            all.enter();
        }
        self.seated(all)
    }

    /// A seat for one that is to stand ready; none if so many are there as are to be kept, or if
    /// there is no room for more.
    pub(super) fn seat_ahead(&self) -> Option<Seat> {
        {
            let mut state = self.shared.state();
            if state.closed || state.seated >= state.floor {
                return None;
            }
            state.seated += 1;
        }
        let all = self.shared.all.get().cloned();
        if all.as_ref().is_some_and(|all| !all.enter_ahead()) {
            self.shared.left(false);
            return None;
        }
        Some(self.seated(all))
    }

    fn seated(&self, all: Option<Arc<Instances>>) -> Seat {
        let pool: Weak<Shared<T>> = Arc::downgrade(&self.shared);
        Seat {
            pool,
            all,
            ready: false,
        }
    }

    /// So many are kept from now on, however long they are idle.
    pub(super) fn keep(&self, floor: usize) {
        let mut state = self.shared.state();
        state.floor = floor;
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Drops idle ones that are of no use any more.
    pub(super) fn retain(&self, is_usable: impl Fn(&T) -> bool) {
        let mut state = self.shared.state();
        let (kept, gone) = std::mem::take(&mut state.idle)
            .into_iter()
            .partition(|(_, one)| is_usable(one));
        state.idle = kept;
        drop(state);
        let gone: Vec<(Instant, T)> = gone;
        drop(gone);
    }

    /// How many are idle.
    pub(super) fn len(&self) -> usize {
        self.shared.state().idle.len()
    }

    /// How many have started and not ended, idle or not.
    pub(super) fn ready_len(&self) -> usize {
        self.shared.state().ready
    }
}

impl<T: Send + 'static> Yields for Shared<T> {
    fn oldest(&self, spare: bool) -> Option<Instant> {
        let state = self.state();
        let may_go = !spare || state.has_spare();
        state
            .idle
            .first()
            .map(|(since, _)| *since)
            .filter(|_| may_go)
    }

    fn give_up_oldest(&self) -> bool {
        let mut state = self.state();
        if state.idle.is_empty() {
            return false;
        }
        let (_, oldest) = state.idle.remove(0);
        drop(state);
        // Outside of the lock: it may take a while.
        drop(oldest);
        true
    }
}

impl<T> Shared<T> {
    /// Drops each when its time has come, until there is none.
    fn watch(&self) {
        let mut state = self.state();
        while let Some((since, _)) = state.idle.first().filter(|_| !state.closed) {
            let idle = since.elapsed();
            if idle >= self.idle_timeout && state.has_spare() {
                let (_, expired) = state.idle.remove(0);
                drop(state);
                // Outside of the lock: it may take a while.
                drop(expired);
                state = self.state();
                continue;
            }
            // What is to be kept is looked at again after a while: another may have come.
            let left = self.idle_timeout.saturating_sub(idle);
            let left = if left.is_zero() { LOOK_AGAIN } else { left };
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        state.watched = false;
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics under the lock; if something did, the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long what is kept beyond its time is left alone.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

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
        let state = self.shared.state();
        f.debug_struct("Pool")
            .field("idle", &state.idle.len())
            .field("floor", &state.floor)
            .field("idle_timeout", &self.shared.idle_timeout)
            .finish_non_exhaustive()
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

    #[test]
    fn what_is_to_be_kept_outlives_its_time_and_goes_when_it_is_not_any_more() {
        let (sender, ended) = mpsc::channel();
        let pool = Pool::new(Duration::ZERO);
        pool.keep(1);
        let seats = [pool.seat_ahead().unwrap(), pool.seat()];
        assert!(pool.seat_ahead().is_none(), "as many as are to be kept");
        for (number, seat) in (1..).zip(seats) {
            pool.put((Idle(number, sender.clone()), seat));
        }
        assert_eq!(ended.recv_timeout(LONG), Ok(1), "one too many, the oldest");
        assert_eq!((pool.len(), ended.try_recv().ok()), (1, None));

        pool.keep(0);

        assert_eq!(ended.recv_timeout(LONG), Ok(2));
    }

    #[test]
    fn beyond_the_bound_of_all_what_was_idle_for_longest_goes_first() {
        let (sender, ended) = mpsc::channel();
        let all = Arc::new(Instances::new(3));
        let [one, two] = [Pool::new(LONG), Pool::new(LONG)];
        one.join(&all);
        two.join(&all);
        one.keep(1);
        let idle = |pool: &Pool<(Idle, Seat)>, number| {
            pool.put((Idle(number, sender.clone()), pool.seat()));
        };
        idle(&one, 1);
        idle(&two, 2);
        idle(&two, 3);
        assert_eq!(all.count(), 3);
        idle(&two, 4);
        assert_eq!(ended.try_recv(), Ok(2), "1 is older, and to be kept");
        two.keep(3);
        assert!(two.seat_ahead().is_none(), "nothing of use goes for it");
        let busy = [two.take(), two.take()];
        idle(&two, 5);
        assert_eq!(ended.try_recv(), Ok(1), "what is needed now comes first");
        drop(busy);
        assert_eq!((all.count(), two.len()), (1, 1));
    }
}
