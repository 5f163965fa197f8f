//! A worker without threads, over a network that the caller brings: its session is the real one,
//! its slots run when the caller says so. A simulation of the network drives it.

use std::sync::Arc;

use futures::future::BoxFuture;
use tonic::transport::{Channel, Endpoint};
use umbel_core::id::WorkerId;
use umbel_core::worker::{Piece, Slot};
use umbel_runtime::CancelFlag;

use crate::config::Config;
use crate::error::Error;
use crate::floor::Floor;
use crate::handle::{self, Handle};
use crate::session::Dial;
use crate::work::Work;
use crate::{slot, watch};

/// The slots of a worker that has no threads.
#[derive(Debug)]
pub struct Hands {
    floor: Arc<Floor>,
    output: Vec<u8>,
}

/// A piece that a slot holds and has not worked off.
#[derive(Debug)]
pub struct Held {
    slot: Slot,
    piece: Piece<Arc<Work>>,
    cancel: Arc<CancelFlag>,
}

/// Starts a worker's session, which dials by `dial`. Must be called within a tokio runtime.
///
/// # Errors
/// As [`Config::start`].
pub fn start(
    config: Config,
    worker: WorkerId,
    dial: impl Fn(Endpoint) -> BoxFuture<'static, Result<Channel, tonic::transport::Error>>
    + Send
    + Sync
    + 'static,
) -> Result<(Handle, Hands), Error> {
    let config = config.checked(worker)?;
    let (handle, link) = handle::assemble(config, worker, Dial::new(dial))?;
    let floor = Arc::clone(&link.floor);
    tokio::spawn(link.run());
    let output = Vec::new();
    Ok((handle, Hands { floor, output }))
}

impl Hands {
    /// What an idle slot is to run now.
    #[must_use]
    pub fn pull(&self, slot: Slot) -> Option<Held> {
        let (piece, cancel) = self.floor.piece_now(slot)?;
        Some(Held {
            slot,
            piece,
            cancel,
        })
    }

    /// Runs a piece, as far as it is still wanted, and hands in what came of it.
    pub fn run(&mut self, held: &Held) {
        let Held {
            slot,
            piece,
            cancel,
        } = held;
        self.output.clear();
        slot::work_off(&self.floor, *slot, piece, cancel, &mut self.output);
    }

    /// Looks for what runs long, as the watch does every 10 ms.
    pub fn look(&self) {
        watch::look(&self.floor);
    }
}
