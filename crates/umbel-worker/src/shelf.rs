//! The versions that this worker can run: fetched when the first work for one comes, kept on
//! disk by digest, and ready to be invoked for as long as they are used.
//!
//! A fetch runs beside the session and the slots: the work for its version waits, and nothing
//! else does. Each version is loaded once at a time, however much work waits for it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::time::sleep;
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use umbel_artifact::{Cache, Cached};
use umbel_core::function::{Digest, Holdings, Version, VersionId};
use umbel_core::limit::{MESSAGE_BYTES_MAX, WORKER_HOLDINGS_MAX};
use umbel_proto::status::{Reason, reason_of};
use umbel_proto::v1;
use umbel_proto::v1::session_service_client::SessionServiceClient;
use umbel_runtime::{Executable, Failure, FailureKind};

use crate::floor::Floor;
use crate::session::Dial;
use crate::version;
use crate::work::Work;

/// How often a fetch is tried, and the first pause between two; it doubles.
const ATTEMPTS_MAX: u32 = 6;
const PAUSE: Duration = Duration::from_millis(200);
/// A version that was not used for so long is let go.
const IDLE: Duration = Duration::from_secs(10 * 60);
/// Versions that stand ready at a time; what was used longest ago makes room.
const READY_MAX: usize = 64;

/// Where artifacts are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// The folder; it may be shared with the other workers of this host.
    pub dir: PathBuf,
    /// Beyond so many bytes what nobody uses is removed, the least recently used first.
    pub bytes_max: u64,
}

/// A version that is ready to be invoked. Its artifact stays in the cache as long as this lives.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) executable: Executable,
    _artifact: Option<Cached>,
}

impl Ready {
    /// What the worker brings itself, or a job's own program.
    pub(crate) fn own(executable: Executable) -> Self {
        Self {
            executable,
            _artifact: None,
        }
    }
}

/// All versions, and those on their way.
#[derive(Debug)]
pub(crate) struct Shelf {
    floor: Arc<Floor>,
    cache: Option<Cache>,
    endpoint: Endpoint,
    dial: Dial,
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
    /// What the coordinator was told last.
    said: Option<Holdings>,
}

impl Shelf {
    pub(crate) fn new(
        floor: Arc<Floor>,
        (endpoint, dial): (Endpoint, Dial),
        config: Option<&CacheConfig>,
    ) -> Result<Self, umbel_artifact::Error> {
        let cache = config.map(|config| Cache::open(&config.dir, config.bytes_max));
        Ok(Self {
            floor,
            cache: cache.transpose()?,
            endpoint,
            dial,
            state: Mutex::default(),
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
        let waiting = state.loading.entry(version.content).or_default();
        waiting.push((id, Arc::clone(work)));
        if waiting.len() == 1 {
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
        let began = Instant::now();
        let loaded = self.make(&version).await;
        let waiting = {
            let mut state = self.state();
            if let Ok(ready) = &loaded {
                let entry = (Instant::now(), Arc::clone(ready));
                state.ready.insert(version.content, entry);
            }
            state.loading.remove(&version.content).unwrap_or_default()
        };
        let (name, number) = (&version.function, version.number);
        match &loaded {
            Ok(_) => tracing::info!("{name}@{number} is ready after {:?}", began.elapsed()),
            Err(failure) => {
                tracing::warn!("{name}@{number} cannot be run here: {}", failure.message);
            }
        }
        self.give(waiting, &loaded);
        self.let_go();
    }

    /// Fetches what is not there, and makes it ready.
    async fn make(self: &Arc<Self>, version: &Arc<Version>) -> Result<Arc<Ready>, Failure> {
        let cached = match self.cached(version).await? {
            Some(cached) => cached,
            None => self.fetch(version).await?,
        };
        let (name, version) = (Arc::clone(version), Arc::clone(version));
        let made = tokio::task::spawn_blocking(move || {
            let executable = version::executable(&version, cached.folder());
            let executable = executable.map_err(|words| unable(&version, &words))?;
            Ok(Arc::new(Ready {
                executable,
                _artifact: Some(cached),
            }))
        });
        made.await
            .unwrap_or_else(|error| Err(passing(&name, &error.to_string())))
    }

    async fn cached(self: &Arc<Self>, version: &Version) -> Result<Option<Cached>, Failure> {
        let digest = version.artifact.digest;
        self.with_cache(version, move |cache| cache.find(digest))
            .await
    }

    /// Uses the cache on a thread that may wait for the disk.
    async fn with_cache<T: Send + 'static>(
        self: &Arc<Self>,
        version: &Version,
        with: impl FnOnce(&Cache) -> Result<T, umbel_artifact::Error> + Send + 'static,
    ) -> Result<T, Failure> {
        let shelf = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || shelf.cache.as_ref().map(with));
        match done.await {
            Ok(Some(Ok(done))) => Ok(done),
            Ok(Some(Err(error @ umbel_artifact::Error::Io { .. }))) => {
                Err(passing(version, &error.to_string()))
            }
            Ok(Some(Err(error))) => Err(unable(version, &error.to_string())),
            Ok(None) => Err(unable(version, "this worker keeps no artifacts")),
            Err(error) => Err(passing(version, &error.to_string())),
        }
    }

    async fn fetch(self: &Arc<Self>, version: &Arc<Version>) -> Result<Cached, Failure> {
        let mut pause = PAUSE;
        let mut attempt = 1;
        let bytes = loop {
            match self.receive(version).await {
                Ok(bytes) => break bytes,
                Err(status) if attempt < ATTEMPTS_MAX && !is_final(&status) => {
                    let (name, number) = (&version.function, version.number);
                    let words = status.message();
                    tracing::warn!("the artifact of {name}@{number} did not come ({words}); again");
                }
                Err(status) if is_final(&status) => return Err(unable(version, status.message())),
                Err(status) => return Err(passing(version, status.message())),
            }
            sleep(pause).await;
            pause *= 2;
            attempt += 1;
        };
        let digest = version.artifact.digest;
        self.with_cache(version, move |cache| cache.insert(digest, &bytes[..]))
            .await
    }

    /// One attempt to fetch.
    async fn receive(&self, version: &Version) -> Result<BytesMut, Status> {
        let dialled = self.dial.dial(&self.endpoint).await?;
        let mut client =
            SessionServiceClient::new(dialled).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let request = v1::FetchArtifactRequest {
            digest: version.artifact.digest.0.to_vec().into(),
        };
        let mut pages = client.fetch_artifact(request).await?.into_inner();
        let expected = version.artifact.packed_bytes;
        let mut bytes = BytesMut::new();
        while let Some(page) = pages.message().await? {
            if (bytes.len() + page.data.len()) as u64 > expected {
                return Err(Status::data_loss("it is longer than it should be"));
            }
            bytes.extend_from_slice(&page.data);
        }
        if bytes.len() as u64 != expected {
            return Err(Status::unavailable(format!(
                "{} bytes of {expected} came",
                bytes.len()
            )));
        }
        Ok(bytes)
    }

    /// What the worker has of versions, if that is news to the coordinator.
    pub(crate) fn news(&self) -> Option<Holdings> {
        let holdings = self.holdings();
        let mut state = self.state();
        if state.said.as_ref() == Some(&holdings) {
            return None;
        }
        state.said = Some(holdings.clone());
        Some(holdings)
    }

    /// The same for a hello, which says it whether it is news or not.
    pub(crate) fn introduce(&self) -> Holdings {
        let holdings = self.holdings();
        self.state().said = Some(holdings.clone());
        holdings
    }

    fn holdings(&self) -> Holdings {
        let cached = self.cache.as_ref().map(Cache::digests);
        let mut cached = cached.unwrap_or_default();
        cached.sort_unstable();
        cached.truncate(WORKER_HOLDINGS_MAX);
        let warm = self.state().ready.keys().copied().collect();
        Holdings { warm, cached }
    }

    /// Lets go of versions that were not used for a while, or are too many.
    pub(crate) fn let_go(&self) {
        let mut gone = Vec::new();
        let mut state = self.state();
        let is_idle = |used: &Instant| used.elapsed() > IDLE;
        while let Some((digest, (used, _))) = state.ready.iter().min_by_key(|(_, (used, _))| *used)
            && (is_idle(used) || state.ready.len() > READY_MAX)
        {
            let digest = *digest;
            gone.extend(state.ready.remove(&digest));
        }
        drop(state);
        if !gone.is_empty() {
            // Instances end with it, which may take a moment that nobody should wait for.
            tokio::task::spawn_blocking(move || drop(gone));
        }
    }
}

/// Whether another attempt would end the same.
fn is_final(status: &Status) -> bool {
    let broken = matches!(reason_of(status), Some((Reason::ArtifactBroken, _)));
    broken || matches!(status.code(), Code::Unimplemented | Code::DataLoss)
}

/// A trouble of this worker or of the way to it: another attempt, or another worker, may do better.
fn passing(version: &Version, words: &str) -> Failure {
    let (name, number) = (&version.function, version.number);
    let words = format!("{name}@{number} could not be made ready on this worker: {words}");
    Failure::new(FailureKind::Crashed, "ArtifactUnavailable", words)
}

fn unable(version: &Version, words: &str) -> Failure {
    let (name, number) = (&version.function, version.number);
    rejected(
        "BrokenArtifact",
        format!("{name}@{number} cannot be run: {words}"),
    )
}

fn rejected(error_type: &str, message: String) -> Failure {
    Failure::new(FailureKind::Rejected, error_type, message)
}
