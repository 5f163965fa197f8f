//! The versions that this worker can run: fetched when the first work for one comes, kept on
//! disk by digest, and ready to be invoked for as long as they are used. Those that the
//! coordinator wants to be kept are made ready before there is work ([`keep`]).
//!
//! A fetch runs beside the session and the slots: the work for its version waits, and nothing
//! else does. Each version is loaded once at a time, however much work waits for it, and only some
//! at once.

mod fetch;
mod holdings;
mod keep;
mod ready;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Semaphore;
use tonic::transport::Endpoint;
use umbel_artifact::Cache;
use umbel_core::function::{Digest, Holdings, Version, VersionId};
use umbel_runtime::{CancelFlag, Failure, FailureKind, Instances};

use self::keep::Kept;
pub(crate) use self::ready::Ready;
use crate::floor::Floor;
use crate::session::Dial;
use crate::work::Work;

/// A version that was not used for so long is let go.
const IDLE: Duration = Duration::from_secs(10 * 60);
/// Versions that stand ready at a time, beside those that are to; what was used longest ago makes
/// room.
const READY_MAX: usize = 64;
/// Versions that are fetched, unpacked and loaded at once. Each may hold an artifact in memory.
const LOADS_MAX: usize = 4;

/// Where artifacts are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// The folder; it may be shared with the other workers of this host.
    pub dir: PathBuf,
    /// Beyond so many bytes what nobody uses is removed, the least recently used first.
    pub bytes_max: u64,
}

/// All versions, and those on their way.
#[derive(Debug)]
pub(crate) struct Shelf {
    floor: Arc<Floor>,
    cache: Option<Cache>,
    endpoint: Endpoint,
    dial: Dial,
    /// What the instances of all versions share.
    instances: Arc<Instances>,
    loads: Semaphore,
    /// Set when the worker leaves.
    left: CancelFlag,
    /// Whether there may be news for the coordinator, before the next sign of life.
    changed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What the coordinator has said of versions.
    told: BTreeMap<VersionId, Arc<Version>>,
    /// By what they are, with the time of their last use.
    ready: BTreeMap<Digest, (Instant, Arc<Ready>)>,
    /// By what they are, with the work that waits.
    loading: BTreeMap<Digest, Vec<(VersionId, Arc<Work>)>>,
    /// Those that could not be loaded, and when that was.
    failed: BTreeMap<Digest, Instant>,
    /// Those that are to stand ready.
    kept: Kept,
    /// The artifacts in the cache when it was last looked into.
    cached: Vec<Digest>,
    /// When it had last changed by then, if that tells whether it has since.
    seen: Option<SystemTime>,
    /// Whether somebody looks into it now.
    looks: bool,
    /// What the coordinator was told last.
    said: Option<Holdings>,
}

impl Shelf {
    pub(crate) fn new(
        floor: Arc<Floor>,
        (endpoint, dial): (Endpoint, Dial),
        config: Option<&CacheConfig>,
        instances: Arc<Instances>,
    ) -> Result<Self, umbel_artifact::Error> {
        let cache = config.map(|config| Cache::open(&config.dir, config.bytes_max));
        let cache = cache.transpose()?;
        let state = State {
            cached: cache.as_ref().map(Cache::digests).unwrap_or_default(),
            ..State::default()
        };
        Ok(Self {
            floor,
            cache,
            endpoint,
            dial,
            instances,
            loads: Semaphore::new(LOADS_MAX),
            left: CancelFlag::new(),
            changed: AtomicBool::new(false),
            state: Mutex::new(state),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of it is a single step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The coordinator says what a version is.
    pub(crate) fn told(&self, version: Arc<Version>) {
        self.state().told.insert(version.id, version);
    }

    /// A new session begins: its coordinator says again what versions are.
    pub(crate) fn new_session(&self) {
        let mut state = self.state();
        state.told.clear();
        state.said = None;
        state.kept.doubt();
    }

    /// The worker leaves: nothing is started any more.
    pub(crate) fn leave(&self) {
        self.left.set();
    }

    /// Sees to it that work of a version gets what runs it; the machine is told when it has.
    pub(crate) fn supply(self: &Arc<Self>, id: VersionId, work: &Arc<Work>) {
        let mut state = self.state();
        let Some(version) = state.told.get(&id).cloned() else {
            drop(state);
            let words = format!("the coordinator did not say what version {} is", id.0);
            return self.give(
                [(id, Arc::clone(work))],
                &Err(rejected("UnknownVersion", words)),
            );
        };
        if let Some((used, ready)) = state.ready.get_mut(&version.content) {
            *used = Instant::now();
            let ready = Arc::clone(ready);
            drop(state);
            return self.give([(id, Arc::clone(work))], &Ok(ready));
        }
        self.load_for(&mut state, version, Some((id, Arc::clone(work))));
    }

    /// Loads a version, unless that is done already, for work that waits or ahead of any.
    fn load_for(
        self: &Arc<Self>,
        state: &mut State,
        version: Arc<Version>,
        work: Option<(VersionId, Arc<Work>)>,
    ) {
        let is_new = !state.loading.contains_key(&version.content);
        state
            .loading
            .entry(version.content)
            .or_default()
            .extend(work);
        if is_new {
            let shelf = Arc::clone(self);
            tokio::spawn(async move { shelf.load(version).await });
        }
    }

    fn give(
        &self,
        works: impl IntoIterator<Item = (VersionId, Arc<Work>)>,
        loaded: &Result<Arc<Ready>, Failure>,
    ) {
        let mut ids: Vec<VersionId> = Vec::new();
        for (id, work) in works {
            work.supply(loaded.clone());
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let mut machine = self.floor.machine();
        for id in ids {
            machine.ready(id);
        }
        drop(machine);
        self.floor.work_came();
    }

    async fn load(self: Arc<Self>, version: Arc<Version>) {
        // It is never closed.
        let _permit = self.loads.acquire().await;
        let began = Instant::now();
        let loaded = self.make(&version).await;
        let waiting = self.loaded(&version, &loaded);
        let (name, number) = (&version.function, version.number);
        match &loaded {
            Ok(_) => tracing::info!("{name}@{number} is ready after {:?}", began.elapsed()),
            Err(failure) => {
                tracing::warn!("{name}@{number} cannot be run here: {}", failure.message);
            }
        }
        // Ahead of what comes of the work: after a failure the next goes to another worker.
        self.news_came();
        self.give(waiting, &loaded);
        self.let_go();
        self.look();
        self.tend();
    }

    /// Takes in what came of a load; gives the work that has waited for it.
    fn loaded(
        &self,
        version: &Version,
        loaded: &Result<Arc<Ready>, Failure>,
    ) -> Vec<(VersionId, Arc<Work>)> {
        let content = version.content;
        let mut state = self.state();
        let waiting = state.loading.remove(&content).unwrap_or_default();
        match loaded {
            Ok(ready) => {
                if waiting.is_empty() {
                    ready.came_ahead();
                }
                ready.executable.join(&self.instances);
                ready.executable.keep(state.kept.floor(content));
                state.failed.remove(&content);
                state
                    .ready
                    .insert(content, (Instant::now(), Arc::clone(ready)));
            }
            Err(_) => {
                state.failed.insert(content, Instant::now());
                state.kept.put_off(content);
            }
        }
        waiting
    }

    /// Lets go of versions that were not used for a while, or are too many, but for those that are
    /// to stand ready.
    pub(crate) fn let_go(&self) {
        let mut gone = Vec::new();
        let mut state = self.state();
        loop {
            let ready = state.ready.iter();
            let loose = ready.filter(|(content, _)| state.kept.floor(**content) == 0);
            let loose: Vec<(Instant, Digest)> = loose
                .map(|(content, (used, _))| (*used, *content))
                .collect();
            let oldest = loose.iter().min().copied();
            let Some((used, content)) = oldest else { break };
            if used.elapsed() <= IDLE && loose.len() <= READY_MAX {
                break;
            }
            gone.extend(state.ready.remove(&content));
        }
        drop(state);
        if !gone.is_empty() {
            // Instances end with it, which may take a moment that nobody should wait for.
            tokio::task::spawn_blocking(move || drop(gone));
        }
    }
}

fn rejected(error_type: &str, message: String) -> Failure {
    Failure::new(FailureKind::Rejected, error_type, message)
}
