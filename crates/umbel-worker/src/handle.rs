//! A worker that has started.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use umbel_core::id::WorkerId;
use umbel_runtime::Instances;

use crate::config::Config;
use crate::error::Error;
use crate::floor::Floor;
use crate::link::Link;
use crate::session::Dial;
use crate::shelf::Shelf;
use crate::{session, slot, watch as lookout};

/// How long programs get to be killed before the process goes on without them.
const KILL_TIMEOUT: Duration = Duration::from_millis(500);

/// Where a worker stands.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// It has no session yet.
    Seeking,
    /// Its session stands, or did.
    Ready,
    /// It has left.
    Ended(Result<(), Error>),
}

/// A worker that has started. Dropping it lets the worker leave at once.
#[derive(Debug)]
pub struct Handle {
    name: String,
    slots: u32,
    floor: Arc<Floor>,
    state: watch::Receiver<State>,
    drain: CancellationToken,
    leave: CancellationToken,
}

/// Starts slots, watch and session.
pub(crate) fn start(config: Config, worker: WorkerId) -> Result<Handle, Error> {
    let (handle, link) = assemble(config, worker, Dial::tcp())?;
    for number in 0..link.config.slots as usize {
        slot::start(&link.floor, number)?;
    }
    lookout::start(&link.floor)?;
    tokio::spawn(link.run());
    Ok(handle)
}

/// A worker whose slots nobody attends to yet, and whose session does not run.
pub(crate) fn assemble(
    config: Config,
    worker: WorkerId,
    dial: Dial,
) -> Result<(Handle, Link), Error> {
    let endpoint = session::endpoint(&config.coordinator).map_err(|error| Error::Address {
        url: config.coordinator.clone(),
        reason: error.to_string(),
    })?;
    let floor = Arc::new(Floor::new(config.slots as usize, config.limits));
    let (sender, state) = watch::channel(State::Seeking);
    let handle = Handle {
        name: config.name.clone(),
        slots: config.slots,
        floor: Arc::clone(&floor),
        state,
        drain: CancellationToken::new(),
        leave: CancellationToken::new(),
    };
    let instances = Arc::new(Instances::new(config.instances_max as usize));
    config.catalog.join(&instances);
    let shelf = Shelf::new(
        Arc::clone(&floor),
        (endpoint.clone(), dial.clone()),
        config.cache.as_ref(),
        instances,
    );
    let shelf = shelf.map_err(|error| Error::Cache {
        reason: error.to_string(),
    })?;
    let link = Link {
        floor,
        shelf: Arc::new(shelf),
        config,
        worker,
        endpoint,
        dial,
        state: sender,
        drain: handle.drain.clone(),
        leave: handle.leave.clone(),
    };
    Ok((handle, link))
}

impl Link {
    /// Keeps sessions until the worker has left, and tells that.
    pub(crate) async fn run(self) {
        let ended = self.keep().await;
        self.shelf.leave();
        self.floor.stop();
        wait_for_programs(&self.floor).await;
        self.state.send_replace(State::Ended(ended));
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // A thread that starts an instance would hold up the end of the process.
        self.shelf.leave();
    }
}

/// Programs see within some 10 ms that they are to end.
async fn wait_for_programs(floor: &Floor) {
    let until = Instant::now() + KILL_TIMEOUT;
    while floor.runs_program() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Handle {
    /// The worker's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many invocations it runs at a time.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// Waits until the worker's first session stands.
    ///
    /// # Errors
    /// When the worker ends before: the coordinator refused it for good.
    pub async fn ready(&self) -> Result<(), Error> {
        self.reach(|state| !matches!(state, State::Seeking)).await
    }

    /// Waits until the worker has left.
    ///
    /// # Errors
    /// When the coordinator refused it for good.
    pub async fn wait(&self) -> Result<(), Error> {
        self.reach(|state| matches!(state, State::Ended(_))).await
    }

    async fn reach(&self, mut wanted: impl FnMut(&State) -> bool) -> Result<(), Error> {
        let mut state = self.state.clone();
        let reached = state.wait_for(|state| wanted(state)).await;
        match reached.as_deref() {
            Ok(State::Ended(ended)) => ended.clone(),
            Ok(State::Seeking | State::Ready) => Ok(()),
            Err(_) => Err(Error::Broken {
                reason: "its task is gone".to_owned(),
            }),
        }
    }

    /// Takes nothing new, hands back what has not begun, finishes the rest, waits
    /// until it was heard, and leaves.
    pub fn drain(&self) {
        self.floor.machine().drain();
        self.drain.cancel();
        self.floor.wake.notify_one();
    }

    /// Leaves at once; programs that run are killed.
    pub fn leave_now(&self) {
        self.leave.cancel();
        self.floor.stop();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.leave_now();
        // The process may end right behind this; its programs must not outlive it.
        let until = Instant::now() + KILL_TIMEOUT;
        while self.floor.runs_program() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
