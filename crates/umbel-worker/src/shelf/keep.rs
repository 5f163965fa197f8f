//! Versions that stand ready before there is work for them.
//!
//! The coordinator says which, and how many instances of each; they are loaded, and their
//! instances started one by one, beside the session and the slots. One that ends is replaced. What
//! is not to be kept any more is let go by time, as everything is that is not used.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use umbel_core::function::{Digest, Keep, Version};
use umbel_runtime::Failure;

use super::{Ready, Shelf};

/// The pause after a version could not be made ready ahead; it doubles.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A new session's coordinator has so many signs of life's time to say what it wants kept.
const DOUBTS: u32 = 3;

/// What is to stand ready, by what it is.
#[derive(Debug, Default)]
pub(super) struct Kept {
    versions: BTreeMap<Digest, One>,
    /// Whether somebody starts instances now.
    fills: bool,
    /// Signs of life after which nothing is kept, if the coordinator says nothing; 0: it has.
    doubts: u32,
}

#[derive(Debug)]
struct One {
    version: Arc<Version>,
    floor: usize,
    /// Not before this, since it failed.
    not_before: Option<Instant>,
    pause: Duration,
}

impl One {
    fn is_due(&self) -> bool {
        self.not_before.is_none_or(|at| Instant::now() >= at)
    }
}

impl Kept {
    /// How many instances are to stand ready.
    pub(super) fn floor(&self, content: Digest) -> usize {
        self.versions.get(&content).map_or(0, |one| one.floor)
    }

    /// Another session may want something else.
    pub(super) fn doubt(&mut self) {
        self.doubts = DOUBTS;
    }

    /// It failed: it is tried again after a while.
    pub(super) fn put_off(&mut self, content: Digest) {
        if let Some(one) = self.versions.get_mut(&content) {
            one.not_before = Some(Instant::now() + one.pause);
            one.pause = PAUSE_MAX.min(2 * one.pause);
        }
    }

    fn succeeded(&mut self, content: Digest) {
        if let Some(one) = self.versions.get_mut(&content) {
            (one.not_before, one.pause) = (None, PAUSE);
        }
    }
}

impl Shelf {
    /// The coordinator says what is to stand ready from now on.
    pub(crate) fn keep(self: &Arc<Self>, kept: &[Keep]) {
        {
            let mut state = self.state();
            let state = &mut *state;
            state.kept.doubts = 0;
            let mut before = std::mem::take(&mut state.kept.versions);
            for keep in kept {
                let Some(version) = state.told.get(&keep.version).cloned() else {
                    continue;
                };
                let floor = usize::try_from(keep.instances).unwrap_or(usize::MAX);
                let content = version.content;
                let known = before.remove(&content).map(|known| One { floor, ..known });
                let one = known.unwrap_or(One {
                    version,
                    floor,
                    not_before: None,
                    pause: PAUSE,
                });
                state.kept.versions.insert(content, one);
            }
            for (content, (_, ready)) in &state.ready {
                ready.executable.keep(state.kept.floor(*content));
            }
        }
        self.tend();
        self.news_came();
    }

    /// A sign of life is due: what a coordinator did not say again is not kept.
    pub(crate) fn beat(self: &Arc<Self>) {
        let silent = {
            let mut state = self.state();
            let doubts = state.kept.doubts;
            state.kept.doubts = doubts.saturating_sub(1);
            doubts == 1
        };
        if silent {
            self.keep(&[]);
        }
        self.let_go();
        self.look();
        self.tend();
    }

    /// Sees to it that what is to stand ready does, or soon will.
    pub(super) fn tend(self: &Arc<Self>) {
        if self.left.is_set() || self.floor.machine().is_draining() {
            return;
        }
        let mut state = self.state();
        let missing = state.kept.versions.iter().filter(|(content, one)| {
            let there = state.ready.contains_key(content) || state.loading.contains_key(content);
            !there && one.is_due()
        });
        let missing: Vec<Arc<Version>> = missing.map(|(_, one)| Arc::clone(&one.version)).collect();
        for version in missing {
            self.load_for(&mut state, version, None);
        }
        drop(state);
        if let Some(first) = self.next_to_fill(false) {
            let shelf = Arc::clone(self);
            tokio::task::spawn_blocking(move || shelf.fill(first));
        }
    }

    /// A version that has fewer instances than it should. Only one thread starts instances at a
    /// time: it asks with `again`, and ends when there is none.
    fn next_to_fill(&self, again: bool) -> Option<(Arc<Version>, Arc<Ready>)> {
        let mut state = self.state();
        if state.kept.fills && !again {
            return None;
        }
        let short = state.kept.versions.iter().find_map(|(content, one)| {
            let (_, ready) = state.ready.get(content)?;
            let standing = ready.executable.ready_count().unwrap_or(usize::MAX);
            let short = standing < one.floor && one.is_due();
            short.then(|| (Arc::clone(&one.version), Arc::clone(ready)))
        });
        state.kept.fills = short.is_some();
        short
    }

    fn fill(&self, first: (Arc<Version>, Arc<Ready>)) {
        let mut next = Some(first);
        while let Some((version, ready)) = next {
            let filled = ready.executable.fill(&self.left, self.floor.limits);
            let standing = ready.executable.ready_count();
            self.filled(&version, &filled, standing);
            if self.left.is_set() {
                return;
            }
            next = self.next_to_fill(true);
        }
    }

    fn filled(&self, version: &Version, filled: &Result<(), Failure>, standing: Option<usize>) {
        let mut state = self.state();
        let content = version.content;
        if filled.is_ok() && standing.is_none_or(|standing| standing >= state.kept.floor(content)) {
            state.kept.succeeded(content);
        } else {
            // There may be no room for more, which is no failure.
            state.kept.put_off(content);
        }
        drop(state);
        if let Err(failure) = filled {
            let (name, number) = (&version.function, version.number);
            let words = &failure.message;
            tracing::warn!("no instance of {name}@{number} could be started ahead: {words}");
        }
        self.news_came();
    }
}
