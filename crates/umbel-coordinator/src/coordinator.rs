//! Starting a coordinator, and its two ways to end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;
use tonic_health::server::{HealthReporter, HealthService};
use umbel_store::Settings;

use crate::clock;
use crate::config::Config;
use crate::door::Door;
use crate::engine::Turns;
use crate::incarnation::{self, Incarnation};
use crate::keeper::Keeper;
use crate::metrics::Metrics;
use crate::store::Opener;
use crate::{Error, port};

/// How long clients may take to read what was said to them before a drain ends without them.
const GRACE: Duration = Duration::from_secs(5);

/// The process that accepts, decides and remembers.
#[derive(Debug)]
pub struct Coordinator;

/// A coordinator that serves. Dropping it ends it without a word to anybody, and without waiting.
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    stop: CancellationToken,
    keeper: JoinHandle<Result<Option<Incarnation>, Error>>,
    port: JoinHandle<Result<(), tonic::transport::Error>>,
    port_over: CancellationToken,
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
        let mut settings = Settings::new(&config.data_dir);
        settings.cache_bytes = config.cache_bytes;
        Self::start_on(config, Opener::directory(settings)).await
    }

    /// The same on any store: for tests, which have disks that are slow or full.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    #[doc(hidden)]
    pub async fn start_on(config: Config, opener: Opener) -> Result<Running, Error> {
        config.check()?;
        // The port first: where another coordinator has it, its data are not touched.
        let (listener, addr) = port::listen(config.listen).await?;
        let metrics = Arc::new(Metrics::new());
        let (health, stop) = (HealthReporter::new(), CancellationToken::new());
        let started_ms = clock::wall_ms();
        let first = Arc::clone(&metrics);
        let first = Incarnation::begin(&config, &opener, first, started_ms).await?;
        let door = Door::open(first.router.clone(), Arc::clone(&metrics));
        let keeper = Keeper {
            config,
            opener,
            metrics,
            started_ms,
            door: door.clone(),
            health: health.clone(),
            stop: stop.clone(),
        };
        keeper.serving(true).await;
        let port_over = CancellationToken::new();
        let routes = port::routes(HealthService::from_health_reporter(health), door);
        let connections = port::connections(listener);
        let port = port::serve(connections, routes, port_over.clone());
        tracing::info!(%addr, "coordinator started");
        Ok(Running {
            addr,
            stop,
            keeper: tokio::spawn(keeper.keep(first)),
            port,
            port_over,
        })
    }

    /// One incarnation of parts that the caller brings: any store, connections from any network,
    /// the wall's clock in milliseconds since 1970. It serves as long as what is returned lives,
    /// and its engine turns when the caller turns it: for a simulation of the network.
    ///
    /// # Errors
    ///
    /// When what the store holds cannot be read.
    #[doc(hidden)]
    pub async fn assemble<S>(
        config: &Config,
        opener: &Opener,
        connections: impl Stream<Item = io::Result<S>> + Send + 'static,
        wall_ms: fn() -> u64,
    ) -> Result<(Assembled, Turns), Error>
    where
        S: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        let metrics = Arc::new(Metrics::new());
        let restored = incarnation::open(config, opener, Arc::clone(&metrics), wall_ms).await?;
        let (incarnation, turns) = Incarnation::around(config, restored, wall_ms());
        let door = Door::open(incarnation.router.clone(), metrics);
        let health = HealthService::from_health_reporter(HealthReporter::new());
        let routes = port::routes(health, door);
        let port = port::serve(connections, routes, CancellationToken::new());
        Ok((Assembled { incarnation, port }, turns))
    }
}

/// What [`Coordinator::assemble`] made. Dropping it ends it.
#[doc(hidden)]
#[derive(Debug)]
pub struct Assembled {
    incarnation: Incarnation,
    port: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Drop for Assembled {
    fn drop(&mut self) {
        self.incarnation.signals.drain();
        self.port.abort();
    }
}

impl Running {
    /// The address that it serves on, with the port that was taken.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns when it has ended by itself: the store or the engine failed, nothing more is
    /// acknowledged, and the process should end with these words. A full disk alone does not end
    /// it: the store is opened again once there is room.
    pub async fn wait(&mut self) -> Error {
        tokio::select! {
            kept = &mut self.keeper => match kept {
                Ok(Err(error)) => error,
                Ok(Ok(_)) => Error::Engine { what: "it was stopped".to_owned() },
                Err(error) => Error::Engine { what: error.to_string() },
            },
            ended = &mut self.port => match ended {
                Ok(Err(error)) => Error::Port(error),
                Ok(Ok(())) => Error::Engine { what: "the port was closed".to_owned() },
                Err(error) => Error::Engine { what: error.to_string() },
            },
        }
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
        self.stop.cancel();
        let kept = (&mut self.keeper).await;
        let kept = kept.map_err(|error| Error::Engine {
            what: error.to_string(),
        });
        self.port_over.cancel();
        if tokio::time::timeout(GRACE, &mut self.port).await.is_err() {
            tracing::warn!("some clients did not read to the end");
            self.port.abort();
        }
        if let Some(incarnation) = kept?? {
            incarnation.end().await?;
        }
        tracing::info!("coordinator stopped");
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
        self.port.abort();
    }
}
