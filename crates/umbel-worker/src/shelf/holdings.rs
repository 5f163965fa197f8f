//! What the coordinator is told of the versions here, so that work comes where they are near.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use umbel_core::function::{Digest, Holdings};
use umbel_core::limit::WORKER_HOLDINGS_MAX;

use super::{Shelf, State};

/// A version that could not be loaded is as good as any other after so long.
const FAILED: Duration = Duration::from_secs(60);

impl Shelf {
    /// There may be something to say before the next sign of life.
    pub(super) fn news_came(&self) {
        self.changed.store(true, Ordering::Release);
        self.floor.wake.notify_one();
    }

    /// What the worker has of versions, if something has happened to it and it is news to the
    /// coordinator.
    pub(crate) fn hot_news(&self) -> Option<Holdings> {
        let changed = self.changed.swap(false, Ordering::AcqRel);
        changed.then(|| self.news()).flatten()
    }

    /// The same, whether something is known to have happened or not.
    pub(crate) fn news(&self) -> Option<Holdings> {
        let mut state = self.state();
        let holdings = holdings(&mut state);
        if state.said.as_ref() == Some(&holdings) {
            return None;
        }
        state.said = Some(holdings.clone());
        Some(holdings)
    }

    /// The same for a hello, which says it whether it is news or not.
    pub(crate) fn introduce(&self) -> Holdings {
        let mut state = self.state();
        let holdings = holdings(&mut state);
        state.said = Some(holdings.clone());
        holdings
    }

    /// Looks into the cache if it has changed, which other workers fill and empty too; on a thread
    /// that may wait for the disk.
    pub(crate) fn look(self: &Arc<Self>) {
        let seen = {
            let mut state = self.state();
            if self.cache.is_none() || std::mem::replace(&mut state.looks, true) {
                return;
            }
            state.seen
        };
        let shelf = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let news = shelf.cache.as_ref().and_then(|cache| cache.news(seen));
            let mut state = shelf.state();
            if let Some((mut cached, seen)) = news {
                cached.sort_unstable();
                cached.truncate(WORKER_HOLDINGS_MAX);
                (state.cached, state.seen) = (cached, seen);
            }
            state.looks = false;
        });
    }
}

fn holdings(state: &mut State) -> Holdings {
    state.failed.retain(|_, at| at.elapsed() < FAILED);
    let bounded = |digests: Vec<Digest>| digests.into_iter().take(WORKER_HOLDINGS_MAX).collect();
    let ready = state.ready.iter();
    let standing = ready.filter_map(|(content, (_, ready))| {
        let floor = state.kept.floor(*content);
        let standing = floor.min(ready.executable.ready_count().unwrap_or(floor));
        (floor > 0).then_some((*content, u32::try_from(standing).unwrap_or(u32::MAX)))
    });
    Holdings {
        standing: standing.collect(),
        warm: bounded(state.ready.keys().copied().collect()),
        cached: bounded(state.cached.clone()),
        failed: bounded(state.failed.keys().copied().collect()),
    }
}
