//! Starting a coordinator, and its two ways to end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use umbel_core::machine::Machine;
use umbel_store::{Opened, Settings, Store};

use crate::api::{About, Api};
use crate::clock::{self, Clock};
use crate::config::Config;
use crate::engine::{Engine, Signals, Start};
use crate::room::Room;
use crate::session::Sessions;
use crate::session::blocks::Blocks;
use crate::{Error, http, port, sweep};

/// How long clients may take to read what was said to them before a drain ends without them.
const GRACE: Duration = Duration::from_secs(5);

/// The process that accepts, decides and remembers.
#[derive(Debug)]
pub struct Coordinator;

/// A coordinator that serves. Dropping it ends it without a word to anybody, and without waiting.
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    signals: Arc<Signals>,
    store: Store,
    health: HealthReporter,
    engine: Option<thread::JoinHandle<()>>,
    port: JoinHandle<Result<(), tonic::transport::Error>>,
    port_over: CancellationToken,
    _beside_over: DropGuard,
}

impl Coordinator {
    /// Opens the data, restores what they hold, and serves. When this returns, clients and workers
    /// can connect.
    ///
    /// # Errors
    ///
    /// When the address may not be listened on or is in use, and when the data directory cannot be
    /// opened: each in words that name it and the way out.
    pub async fn start(config: Config) -> Result<Running, Error> {
        config.check()?;
        // The port first: where another coordinator has it, its data are not touched.
        let (listener, addr) = port::listen(config.listen).await?;
        let (signals, clock) = (Signals::new(), Clock::start());
        let (opened, machine) = open(&config, Arc::clone(&signals), clock).await?;
        let Opened {
            store,
            epoch,
            next_number,
            changes: _,
        } = opened;
        let started_ms = clock::wall_ms();
        let start = Start {
            machine,
            store: store.clone(),
            next_number,
            clock,
            signals: signals.clone(),
        };
        let (engine, thread) = Engine::start(start)?;

        let (health, health_service) = health().await;
        let blocks = Blocks::new(store.clone());
        let room = Room::new(store.clone(), config.bounds, config.data_dir.clone());
        let sessions = Sessions::new(engine.clone(), blocks.clone());
        let about = About {
            epoch,
            started_ms,
            data_dir: config.data_dir.clone(),
            store_bytes_max: config.bounds.store_bytes_max,
        };
        let http = http::router(engine.clone(), store.clone(), config.bounds);
        let api = Api::new(engine.clone(), store.clone(), blocks, room.clone(), about);
        let routes = port::routes(api, sessions, health_service, http);
        let port_over = CancellationToken::new();
        let port = port::serve(listener, routes, port_over.clone());
        let beside_over = CancellationToken::new();
        tokio::spawn(sweep::run(
            store.clone(),
            room,
            engine,
            config.machine.keep_bytes,
            beside_over.clone(),
        ));
        tracing::info!(%addr, data_dir = %config.data_dir.display(), epoch, "coordinator started");
        Ok(Running {
            addr,
            signals,
            store,
            health,
            engine: Some(thread),
            port,
            port_over,
            _beside_over: beside_over.drop_guard(),
        })
    }
}

/// Opens the store and restores the machine, on a thread that may wait for the disk.
async fn open(
    config: &Config,
    signals: Arc<Signals>,
    clock: Clock,
) -> Result<(Opened, Machine), Error> {
    let mut settings = Settings::new(&config.data_dir);
    settings.cache_bytes = config.cache_bytes;
    let machine = config.machine;
    let opened = tokio::task::spawn_blocking(move || {
        let mut opened = Store::open(&settings, signals)?;
        let epoch = opened.epoch;
        let mut unreadable = None;
        let changes = opened.changes.by_ref();
        let changes = changes.map_while(|change| change.map_err(|e| unreadable = Some(e)).ok());
        let machine = Machine::restore(machine, epoch, clock.now(), changes);
        // Half a memory is none: it would run again what is done.
        unreadable.map_or(Ok((opened, machine)), |error| Err(Error::Store(error)))
    });
    opened.await.map_err(|error| Error::Engine {
        what: error.to_string(),
    })?
}

async fn health() -> (HealthReporter, impl port::HealthService) {
    let health = HealthReporter::new();
    health.set_service_status("", ServingStatus::Serving).await;
    for service in SERVICES {
        health
            .set_service_status(service, ServingStatus::Serving)
            .await;
    }
    (
        health.clone(),
        tonic_health::server::HealthService::from_health_reporter(health),
    )
}

/// The services whose health can be asked for by name.
const SERVICES: [&str; 4] = [
    "umbel.v1.JobService",
    "umbel.v1.FunctionService",
    "umbel.v1.ClusterService",
    "umbel.v1.SessionService",
];

impl Running {
    /// The address that it serves on, with the port that was taken.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns when it has ended by itself: the store or the engine failed, nothing more is
    /// acknowledged, and the process should end with these words.
    pub async fn wait(&mut self) -> Error {
        tokio::select! {
            () = self.signals.ended.cancelled() => {}
            ended = &mut self.port => return match ended {
                Ok(Err(error)) => Error::Port(error),
                Ok(Ok(())) => Error::Engine { what: "the port was closed".to_owned() },
                Err(error) => Error::Engine { what: error.to_string() },
            },
        }
        self.why()
    }

    /// Takes nothing new, tells clients and workers, makes durable what was promised, and lets go
    /// of the data.
    ///
    /// # Errors
    ///
    /// When the store failed before or while closing: what was acknowledged is on disk all the
    /// same.
    pub async fn drain(mut self) -> Result<(), Error> {
        tracing::info!("coordinator stops");
        for service in SERVICES.iter().copied().chain([""]) {
            self.health
                .set_service_status(service, ServingStatus::NotServing)
                .await;
        }
        self.signals.drain();
        self.signals.ended.cancelled().await;
        self.port_over.cancel();
        if tokio::time::timeout(GRACE, &mut self.port).await.is_err() {
            tracing::warn!("some clients did not read to the end");
            self.port.abort();
        }
        let (store, engine) = (self.store.clone(), self.engine.take());
        let closed = tokio::task::spawn_blocking(move || {
            if let Some(engine) = engine {
                // It has told how it ended.
                let _ = engine.join();
            }
            store.close()
        });
        closed.await.map_err(|error| Error::Engine {
            what: error.to_string(),
        })??;
        if self.signals.failure().is_some() {
            return Err(self.why());
        }
        tracing::info!("coordinator stopped");
        Ok(())
    }

    fn why(&self) -> Error {
        match self.signals.failure().as_deref() {
            Some(Error::Store(error)) => Error::Store(error.clone()),
            Some(error) => Error::Engine {
                what: error.to_string(),
            },
            None => Error::Engine {
                what: "without words".to_owned(),
            },
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signals.drain();
        self.port.abort();
    }
}
