//! Keeps an incarnation alive: one whose disk was full is followed by another once there is room.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::Error;
use crate::config::Config;
use crate::door::Door;
use crate::incarnation::Incarnation;
use crate::metrics::Metrics;
use crate::store::Opener;

/// The first pause before a full store is opened again, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// An incarnation that lived so long has found room: the pauses begin anew.
const WELL_AFTER: Duration = Duration::from_secs(30);

/// The services whose health can be asked for by name.
const SERVICES: [&str; 5] = [
    "",
    "umbel.v1.JobService",
    "umbel.v1.FunctionService",
    "umbel.v1.ClusterService",
    "umbel.v1.SessionService",
];

/// What follows one incarnation by another.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) config: Config,
    pub(crate) opener: Opener,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) started_ms: u64,
    pub(crate) door: Door,
    pub(crate) health: HealthReporter,
    /// Somebody asks for the end.
    pub(crate) stop: CancellationToken,
}

impl Keeper {
    /// Tells health checks whether requests are accepted.
    pub(crate) async fn serving(&self, serves: bool) {
        let status = if serves {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        for service in SERVICES {
            self.health.set_service_status(service, status).await;
        }
    }

    pub(crate) async fn begin(&self) -> Result<Incarnation, Error> {
        let metrics = Arc::clone(&self.metrics);
        Incarnation::begin(&self.config, &self.opener, metrics, self.started_ms).await
    }

    /// Keeps going until `stop`, then gives the incarnation that has taken in its last request,
    /// if there is one. An error is what no other incarnation would help against.
    pub(crate) async fn keep(self, first: Incarnation) -> Result<Option<Incarnation>, Error> {
        let mut current = first;
        let mut pause = PAUSE_MIN;
        loop {
            let began = Instant::now();
            let signals = Arc::clone(&current.signals);
            tokio::select! {
                () = signals.ended.cancelled() => {}
                () = self.stop.cancelled() => {
                    self.serving(false).await;
                    signals.drain();
                    signals.ended.cancelled().await;
                    if signals.failure().is_none() {
                        return Ok(Some(current));
                    }
                }
            }
            let why = why(&signals.failure());
            if !is_full(&why) {
                self.serving(false).await;
                return Err(why);
            }
            self.metrics.store_failed();
            tracing::error!(error = %why, "the store is closed, and opened again once there is room");
            self.door.close(&why.to_string());
            self.serving(false).await;
            // It says again what it failed with. One that does not end cannot be followed.
            if let Err(error @ Error::Engine { .. }) = current.end().await {
                tracing::error!(%error, "the store cannot be opened again in this process");
                return Err(why);
            }
            if began.elapsed() > WELL_AFTER {
                pause = PAUSE_MIN;
            }
            match self.again(&mut pause).await? {
                Some(next) => current = next,
                None => return Ok(None),
            }
            self.door.reopen(current.router.clone());
            self.serving(true).await;
            tracing::info!("the store is open again");
        }
    }

    /// Opens the store again, as often as that needs; none when it is asked to stop.
    async fn again(&self, pause: &mut Duration) -> Result<Option<Incarnation>, Error> {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(*pause) => {}
            }
            *pause = (*pause * 2).min(PAUSE_MAX);
            match self.begin().await {
                Ok(next) => return Ok(Some(next)),
                Err(error) if is_full(&error) => {
                    tracing::warn!(%error, "the store cannot be opened yet");
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether more room is all that is missing.
fn is_full(error: &Error) -> bool {
    matches!(error, Error::Store(umbel_store::Error::Full { .. }))
}

fn why(failure: &Option<Arc<Error>>) -> Error {
    match failure.as_deref() {
        Some(Error::Store(error)) => Error::Store(error.clone()),
        Some(error) => Error::Engine {
            what: error.to_string(),
        },
        None => Error::Engine {
            what: "without words".to_owned(),
        },
    }
}
