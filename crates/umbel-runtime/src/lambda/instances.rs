//! All instances of one worker, of whatever function.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

/// Instances that share a bound. For one that is needed now an idle one of any function goes, the
/// one that was idle for longest, and one that is to be kept only where there is no other.
pub struct Instances {
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    count: usize,
    pools: Vec<Weak<dyn Yields>>,
}

/// The instances of one function, which may have to yield.
pub(super) trait Yields: Send + Sync {
    /// Since when the one is idle that was idle for longest; if it is to be spare, none of those
    /// that are to be kept.
    fn oldest(&self, spare: bool) -> Option<Instant>;
    /// Ends that one; tells whether there was one.
    fn give_up_oldest(&self) -> bool;
}

impl Instances {
    /// So many at the most, and more only while none of them is idle.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most,
            state: Mutex::default(),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.state().count
    }

    pub(super) fn welcome(&self, pool: Weak<dyn Yields>) {
        let mut state = self.state();
        state.pools.retain(|pool| pool.strong_count() > 0);
        state.pools.push(pool);
    }

    /// One more, come what may.
    pub(super) fn enter(&self) {
        self.state().count += 1;
        while self.count() > self.most && (self.give_up(true) || self.give_up(false)) {}
    }

    /// One more, if there is room, or something idle that is not to be kept.
    pub(super) fn enter_ahead(&self) -> bool {
        loop {
            {
                let mut state = self.state();
                if state.count < self.most {
                    state.count += 1;
                    return true;
                }
            }
            if !self.give_up(true) {
                return false;
            }
        }
    }

    pub(super) fn leave(&self) {
        let mut state = self.state();
        state.count = state.count.saturating_sub(1);
    }

    /// Ends what was idle for longest. The pools are asked outside of the lock, which their
    /// instances take when they end.
    fn give_up(&self, spare: bool) -> bool {
        let pools: Vec<Arc<dyn Yields>> = {
            let state = self.state();
            state.pools.iter().filter_map(Weak::upgrade).collect()
        };
        let idle = pools.iter().filter_map(|pool| {
            let since = pool.oldest(spare)?;
            Some((since, pool))
        });
        let oldest = idle.min_by_key(|(since, _)| *since);
        oldest.is_some_and(|(_, pool)| pool.give_up_oldest())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of it is a single step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Instances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instances")
            .field("most", &self.most)
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}
