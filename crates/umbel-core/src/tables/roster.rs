//! The workers: their sessions, names and slots.

use std::collections::{BTreeMap, BTreeSet};

use crate::function::{Digest, Holdings, Keep, Runtime, Runtimes, Version, VersionId};
use crate::id::{SessionId, WorkerId};
use crate::policy::Labels;
use crate::view::WorkerState;

/// One worker process.
#[derive(Debug)]
pub(crate) struct Worker {
    /// Its name.
    pub(crate) name: String,
    /// Its live session.
    pub(crate) session: Option<SessionId>,
    /// Its slots.
    pub(crate) slots: u32,
    /// Its labels.
    pub(crate) labels: Labels,
    /// The functions it has.
    pub(crate) functions: BTreeSet<String>,
    /// Whether it runs programs that a job brings.
    pub(crate) runs_programs: bool,
    /// What it can run of published functions.
    pub(crate) runtimes: Runtimes,
    /// The versions that stand ready on it, by what they are.
    pub(crate) has: Has,
    /// The versions that it was told of in this session.
    pub(crate) told: BTreeSet<VersionId>,
    /// Those that it was told to keep ready.
    pub(crate) kept: Vec<Keep>,
    /// Its version of umbel.
    pub(crate) version: String,
    /// When its session began, milliseconds since 1970.
    pub(crate) connected_ms: u64,
    /// When it was last heard, in engine time.
    pub(crate) heard_ms: u64,
    /// Until when it may return, in engine time, if its session has ended.
    pub(crate) away_until_ms: u64,
    /// Whether it takes nothing new.
    pub(crate) draining: bool,
    /// The number of the last report handled in this session.
    pub(crate) reported: u64,
}

/// What a worker has of versions, by what they are.
#[derive(Debug, Default)]
pub(crate) struct Has {
    /// Those that stand ready.
    pub(crate) warm: BTreeSet<Digest>,
    /// The artifacts in its cache.
    pub(crate) cached: BTreeSet<Digest>,
    /// How many instances stand ready of those that are to.
    pub(crate) standing: BTreeMap<Digest, u32>,
    /// Those that it could not make ready.
    pub(crate) failed: BTreeSet<Digest>,
}

impl From<Holdings> for Has {
    fn from(holdings: Holdings) -> Self {
        Self {
            warm: holdings.warm.into_iter().collect(),
            cached: holdings.cached.into_iter().collect(),
            standing: holdings.standing.into_iter().collect(),
            failed: holdings.failed.into_iter().collect(),
        }
    }
}

/// How near a version is to its first line of code on a worker; the nearest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Nearness {
    /// It stands ready.
    Warm,
    /// Its artifact is there, or on its way.
    Cached,
    /// It has to be fetched.
    Cold,
    /// It could not be made ready when that was last tried.
    Failed,
}

impl Worker {
    /// How near a version is.
    pub(crate) fn nearness(&self, version: &Version) -> Nearness {
        let has = &self.has;
        if has.failed.contains(&version.content) {
            Nearness::Failed
        } else if has.warm.contains(&version.content) {
            Nearness::Warm
        } else if has.cached.contains(&version.artifact.digest) || self.told.contains(&version.id) {
            Nearness::Cached
        } else {
            Nearness::Cold
        }
    }

    /// How many instances of a version it is to keep ready, and how many of them stand so.
    pub(crate) fn instances(&self, version: &Version) -> (u32, u32) {
        let mut kept = self.kept.iter();
        let kept = kept.find(|keep| keep.version == version.id);
        let kept = kept.map_or(0, |keep| keep.instances);
        let standing = self.has.standing.get(&version.content);
        (kept, standing.copied().unwrap_or(0).min(kept))
    }

    /// Where it stands.
    pub(crate) fn state(&self) -> WorkerState {
        match (self.session, self.draining) {
            (None, _) => WorkerState::Away,
            (Some(_), true) => WorkerState::Draining,
            (Some(_), false) => WorkerState::Ready,
        }
    }

    /// Whether it takes work.
    pub(crate) fn is_ready(&self) -> bool {
        self.state() == WorkerState::Ready
    }
}

/// All workers that are connected or may return.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    workers: BTreeMap<WorkerId, Worker>,
    by_session: BTreeMap<SessionId, WorkerId>,
    by_name: BTreeMap<String, WorkerId>,
    /// The runtimes that some worker had since the coordinator started.
    runtimes: Runtimes,
}

impl Roster {
    /// Takes a worker in, in place of an earlier session of the same process.
    pub(crate) fn insert(&mut self, id: WorkerId, worker: Worker) {
        self.remove(id);
        self.runtimes.extend(worker.runtimes.iter());
        self.by_name.insert(worker.name.clone(), id);
        if let Some(session) = worker.session {
            self.by_session.insert(session, id);
        }
        self.workers.insert(id, worker);
    }

    /// Forgets a worker.
    pub(crate) fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        let worker = self.workers.remove(&id)?;
        self.by_name.remove(&worker.name);
        if let Some(session) = worker.session {
            self.by_session.remove(&session);
        }
        Some(worker)
    }

    /// A worker's session has ended; it may return until then.
    pub(crate) fn part(&mut self, id: WorkerId, until_ms: u64) {
        if let Some(worker) = self.workers.get_mut(&id)
            && let Some(session) = worker.session.take()
        {
            worker.away_until_ms = until_ms;
            self.by_session.remove(&session);
        }
    }

    /// Whether some worker, connected or gone, had a runtime since the coordinator started.
    pub(crate) fn ever_ran(&self, runtime: Runtime) -> bool {
        self.runtimes.contains(runtime)
    }

    pub(crate) fn find(&self, id: WorkerId) -> Option<&Worker> {
        self.workers.get(&id)
    }

    /// The worker whose live session this is.
    pub(crate) fn by_session(&self, session: SessionId) -> Option<WorkerId> {
        self.by_session.get(&session).copied()
    }

    /// The worker that bears a name.
    pub(crate) fn by_name(&self, name: &str) -> Option<WorkerId> {
        self.by_name.get(name).copied()
    }

    /// A worker gave a sign of life.
    pub(crate) fn heard(&mut self, id: WorkerId, engine_ms: u64) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.heard_ms = engine_ms;
        }
    }

    /// A worker takes nothing new from now on.
    pub(crate) fn drain(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.draining = true;
        }
    }

    /// A worker is told of a version; says whether it is news.
    pub(crate) fn tell(&mut self, id: WorkerId, version: VersionId) -> bool {
        let worker = self.workers.get_mut(&id);
        worker.is_some_and(|worker| worker.told.insert(version))
    }

    /// What a worker has of versions is now this.
    pub(crate) fn holds(&mut self, id: WorkerId, has: Has) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.has = has;
        }
    }

    /// What a worker is to keep ready is now this; says whether that is news.
    pub(crate) fn keep(&mut self, id: WorkerId, kept: &[Keep]) -> bool {
        let worker = self.workers.get_mut(&id);
        worker.is_some_and(|worker| {
            let news = worker.kept != kept;
            worker.kept = kept.to_vec();
            news
        })
    }

    /// A report was handled.
    pub(crate) fn reported(&mut self, id: WorkerId, number: u64) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.reported = number;
        }
    }

    /// All workers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        self.workers.iter().map(|(id, worker)| (*id, worker))
    }

    /// Workers by name, behind one.
    pub(crate) fn behind(&self, name: &str) -> impl Iterator<Item = (WorkerId, &Worker)> {
        let range = (
            std::ops::Bound::Excluded(name),
            std::ops::Bound::<&str>::Unbounded,
        );
        let ids = self.by_name.range::<str, _>(range);
        ids.filter_map(|(_, id)| Some((*id, self.find(*id)?)))
    }

    /// How many sessions are live.
    pub(crate) fn session_len(&self) -> usize {
        self.by_session.len()
    }

    /// Walks the invariants.
    pub(crate) fn check(&self) {
        assert_eq!(self.by_name.len(), self.workers.len());
        for (id, worker) in &self.workers {
            assert_eq!(self.by_name(&worker.name), Some(*id));
            if let Some(session) = worker.session {
                assert_eq!(self.by_session(session), Some(*id));
            }
        }
        let live = self.workers.values().filter(|w| w.session.is_some());
        assert_eq!(live.count(), self.by_session.len());
    }
}
