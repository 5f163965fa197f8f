//! All that stands on an open store: the engine, the services, what happens beside them. When the
//! store fails it ends as a whole, and another one begins from what is on the disk.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::{CancellationToken, DropGuard};
use umbel_core::machine::Machine;
use umbel_store::{Opened, Store};

use crate::api::{About, Api, Beside, feed};
use crate::clock::{self, Clock};
use crate::config::Config;
use crate::engine::{Engine, Signals, Start, Turns};
use crate::metrics::Metrics;
use crate::room::Room;
use crate::session::Sessions;
use crate::session::blocks::Blocks;
use crate::sorter::{self, Evaluator};
use crate::store::Opener;
use crate::streams::Streams;
use crate::{Error, http, port, sweep};

/// How long a store that failed may take to let go of its files. An engine that hangs cannot be
/// opened again in this process.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

/// One life of the store, and what serves it.
#[derive(Debug)]
pub(crate) struct Incarnation {
    pub(crate) signals: Arc<Signals>,
    /// What the port serves as long as this lives.
    pub(crate) router: axum::Router,
    store: Store,
    engine: Option<thread::JoinHandle<()>>,
    _beside_over: DropGuard,
}

impl Incarnation {
    /// Opens the store and restores the machine.
    pub(crate) async fn begin(
        config: &Config,
        opener: &Opener,
        metrics: Arc<Metrics>,
        started_ms: u64,
    ) -> Result<Self, Error> {
        let restored = open(config, opener, metrics, clock::wall_ms).await?;
        let (mut incarnation, turns) = Self::around(config, restored, started_ms);
        incarnation.engine = Some(turns.spawn()?);
        Ok(incarnation)
    }

    /// Puts the services around an engine that does not turn yet.
    pub(crate) fn around(config: &Config, restored: Restored, started_ms: u64) -> (Self, Turns) {
        let Restored {
            opened,
            machine,
            signals,
            clock,
        } = restored;
        let Opened {
            store,
            epoch,
            next_number,
            changes: _,
        } = opened;
        let (to_sort, sortings) = unbounded_channel();
        let (to_feed, feeds) = unbounded_channel();
        let start = Start {
            machine,
            store: store.clone(),
            next_number,
            clock,
            signals: Arc::clone(&signals),
            sortings: to_sort,
            feeds: to_feed,
        };
        let (engine, turns) = Engine::new(start);
        let blocks = Blocks::new(store.clone());
        let room = Room::new(store.clone(), config.bounds, config.data_dir.clone());
        let newcomers = Streams::new("sessions without a hello", config.streams.newcomers);
        let sessions = Sessions::new(engine.clone(), blocks.clone(), newcomers, store.clone());
        let about = About {
            epoch,
            started_ms,
            data_dir: config.data_dir.clone(),
            store_bytes_max: config.bounds.store_bytes_max,
        };
        let http = http::router(engine.clone(), store.clone(), config.bounds);
        let (behind, gate) = (store.clone(), room.clone());
        let evaluator = Evaluator::new();
        tokio::spawn(sorter::run(
            sortings,
            engine.clone(),
            blocks.clone(),
            evaluator.clone(),
        ));
        let beside = Beside {
            blocks,
            room: gate,
            evaluator,
        };
        let api = Api::new(engine.clone(), behind, beside, config.streams, about);
        tokio::spawn(feed::run(api.clone(), feeds));
        let beside_over = CancellationToken::new();
        tokio::spawn(sweep::run(
            store.clone(),
            room,
            engine,
            config.machine.keep_bytes,
            beside_over.clone(),
        ));
        tracing::info!(data_dir = %config.data_dir.display(), epoch, "store serves");
        let incarnation = Self {
            signals,
            router: port::router(api, sessions, http),
            store,
            engine: None,
            _beside_over: beside_over.drop_guard(),
        };
        (incarnation, turns)
    }

    /// Waits for the engine's thread, makes durable what was promised if the store is well, and
    /// lets go of the data.
    pub(crate) async fn end(mut self) -> Result<(), Error> {
        let (store, engine) = (self.store.clone(), self.engine.take());
        let closing = tokio::task::spawn_blocking(move || {
            if let Some(engine) = engine {
                // It has told how it ended.
                let _ = engine.join();
            }
            store.close()
        });
        let closed = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
        let closed = closed.map_err(|_| Error::Engine {
            what: "the store does not let go of its files".to_owned(),
        })?;
        let closed = closed.map_err(|error| Error::Engine {
            what: error.to_string(),
        })?;
        Ok(closed?)
    }
}

impl Drop for Incarnation {
    fn drop(&mut self) {
        self.signals.drain();
    }
}

/// What a store remembers, and what its threads share.
pub(crate) struct Restored {
    opened: Opened,
    machine: Machine,
    signals: Arc<Signals>,
    clock: Clock,
}

/// Opens the store and restores the machine, on a thread that may wait for the disk.
pub(crate) async fn open(
    config: &Config,
    opener: &Opener,
    metrics: Arc<Metrics>,
    wall_ms: fn() -> u64,
) -> Result<Restored, Error> {
    let (signals, clock) = (Signals::new(metrics), Clock::start(wall_ms));
    let (machine, opener, now) = (config.machine, opener.clone(), clock.now());
    let opened = tokio::task::spawn_blocking(move || {
        let mut opened = opener.open(signals.clone())?;
        let epoch = opened.epoch;
        let mut unreadable = None;
        let changes = opened.changes.by_ref();
        let changes = changes.map_while(|change| change.map_err(|e| unreadable = Some(e)).ok());
        let machine = Machine::restore(machine, epoch, now, changes);
        // Half a memory is none: it would run again what is done.
        match unreadable {
            Some(error) => Err(Error::Store(error)),
            None => Ok(Restored {
                opened,
                machine,
                signals,
                clock,
            }),
        }
    });
    opened.await.map_err(|error| Error::Engine {
        what: error.to_string(),
    })?
}
