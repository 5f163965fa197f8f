//! Session after session, until the worker leaves.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Endpoint;
use umbel_core::id::WorkerId;

use crate::backoff::Backoff;
use crate::config::Config;
use crate::error::Error;
use crate::floor::Floor;
use crate::handle::State;
use crate::session::{self, Dial, End, Session};
use crate::shelf::Shelf;

/// How long a worker that leaves looks for a coordinator to hand its outcomes to.
const LAST_LOOK: Duration = Duration::from_secs(5);

/// All that the sessions of a worker share.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) floor: Arc<Floor>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) config: Config,
    pub(crate) worker: WorkerId,
    pub(crate) endpoint: Endpoint,
    pub(crate) dial: Dial,
    pub(crate) state: watch::Sender<State>,
    /// Set: the worker drains.
    pub(crate) drain: CancellationToken,
    /// Set: the worker leaves at once.
    pub(crate) leave: CancellationToken,
}

/// What was said last about the coordinator; each is said once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    NameTaken,
    Lost,
    Absent,
}

impl Link {
    /// Keeps a session until the worker has left.
    pub(crate) async fn keep(&self) -> Result<(), Error> {
        tokio::select! {
            ended = self.sessions() => ended,
            () = self.leave.cancelled() => Ok(()),
            () = self.drain_timeout() => {
                tracing::warn!("the drain took too long; what still runs is given up");
                Ok(())
            }
        }
    }

    async fn drain_timeout(&self) {
        let Some(timeout) = self.config.drain_timeout else {
            return std::future::pending().await;
        };
        self.drain.cancelled().await;
        sleep(timeout).await;
    }

    async fn sessions(&self) -> Result<(), Error> {
        let mut backoff = Backoff::new(self.worker);
        let mut trouble = Trouble::None;
        let mut last_look = None;
        loop {
            let end = self.session().await;
            let draining = {
                let mut machine = self.floor.machine();
                let stopped = machine.disconnected();
                self.floor.stop_slots(stopped);
                machine.is_draining()
            };
            let (stood, status) = match end {
                End::Left => return Ok(()),
                End::Lost { stood, status } => (stood, status),
            };
            if session::is_final(&status) {
                return Err(Error::Refused {
                    url: self.config.coordinator.clone(),
                    reason: status.message().to_owned(),
                });
            }
            if stood {
                backoff.reset();
                trouble = Trouble::None;
                last_look = None;
            }
            trouble = self.complain(trouble, stood, &status);
            if draining || self.drain.is_cancelled() {
                let until = *last_look.get_or_insert_with(|| Instant::now() + LAST_LOOK);
                if self.may_leave(until) {
                    return Ok(());
                }
            }
            tokio::select! {
                () = sleep(backoff.next()) => {}
                () = self.drain.cancelled(), if last_look.is_none() => {}
            }
        }
    }

    async fn session(&self) -> End {
        let stands = |version: &str| {
            tracing::info!(
                "worker {:?} is connected to {} (umbel {version})",
                self.config.name,
                self.config.coordinator
            );
            self.state.send_replace(State::Ready);
        };
        let session = Session {
            floor: &self.floor,
            shelf: &self.shelf,
            config: &self.config,
            worker: self.worker,
            endpoint: &self.endpoint,
            dial: &self.dial,
            stands: &stands,
            drain: &self.drain,
        };
        session.run().await
    }

    /// Whether a draining worker without a session has nothing to hand in, or has
    /// looked long enough for somebody to take it.
    fn may_leave(&self, until: Instant) -> bool {
        let mut machine = self.floor.machine();
        // What was handed back needs nobody's ear: it is not offered again.
        let held: u64 = machine
            .offers()
            .iter()
            .map(|offer| offer.indices.len())
            .sum();
        if machine.is_running() {
            return false;
        }
        if held > 0 && Instant::now() >= until {
            tracing::warn!(
                "worker {:?} leaves with {held} outcomes that no coordinator took; they will be run again",
                self.config.name
            );
        }
        held == 0 || Instant::now() >= until
    }

    /// Says what is wrong, unless that was said already.
    fn complain(&self, before: Trouble, stood: bool, status: &Status) -> Trouble {
        let (name, url) = (&self.config.name, &self.config.coordinator);
        let reason = status.message();
        let now = match before {
            _ if session::is_name_taken(status) => Trouble::NameTaken,
            _ if stood => Trouble::Lost,
            // It is still away, which was said when it went.
            Trouble::Lost => Trouble::Lost,
            _ => Trouble::Absent,
        };
        if now == before && !stood {
            return now;
        }
        match now {
            Trouble::NameTaken => {
                tracing::warn!("{reason}; worker {name:?} waits until the name is free");
            }
            Trouble::Lost => {
                tracing::warn!(
                    "lost the coordinator at {url} ({reason}); what runs goes on, and worker {name:?} looks for it"
                );
            }
            Trouble::Absent | Trouble::None => {
                tracing::warn!(
                    "no session with the coordinator at {url} ({reason}); worker {name:?} keeps trying"
                );
            }
        }
        now
    }
}
