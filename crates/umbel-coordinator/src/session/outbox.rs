//! The way from the engine to one worker. The engine never waits for it: what it hands in is
//! small, and the inputs of a grant are loaded here, one grant at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use umbel_core::command::Refusal;
use umbel_core::id::SessionId;
use umbel_core::job::BlockRef;
use umbel_core::message::{GrantHead, ToWorker};
use umbel_proto::{convert, status, v1};

use super::blocks::Blocks;
use crate::engine::Engine;

/// Messages that may wait for a worker that does not read. The machine bounds what it grants; this
/// is for what it answers.
const WAITING_MAX: usize = 1 << 16;
/// KiB of messages with their inputs that wait for the network.
const READY_KIB_MAX: usize = 4 << 10;
/// Messages that wait for the network.
const READY_MAX: usize = 64;

/// The engine's end.
#[derive(Debug)]
pub(crate) struct Outbox {
    to: mpsc::UnboundedSender<Outgoing>,
    waiting: Arc<AtomicUsize>,
}

#[derive(Debug)]
enum Outgoing {
    Message(ToWorker),
    Close(Refusal),
    Stop,
}

/// A message for the network, with the room that it takes until it is handed on.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) message: v1::ConnectResponse,
    _room: OwnedSemaphorePermit,
}

/// The session's end: makes messages ready for the network, in order.
#[derive(Debug)]
pub(crate) struct Delivery {
    from: mpsc::UnboundedReceiver<Outgoing>,
    waiting: Arc<AtomicUsize>,
    room: Arc<Semaphore>,
    to: mpsc::Sender<Result<Ready, Status>>,
}

/// What the network takes from.
pub(crate) type Network = mpsc::Receiver<Result<Ready, Status>>;

/// Makes an outbox: the engine's end, the session's, and the network's.
pub(crate) fn open() -> (Outbox, Delivery, Network) {
    let (to, from) = mpsc::unbounded_channel();
    let (ready, network) = mpsc::channel(READY_MAX);
    let waiting = Arc::<AtomicUsize>::default();
    let outbox = Outbox {
        to,
        waiting: Arc::clone(&waiting),
    };
    let room = Arc::new(Semaphore::new(READY_KIB_MAX));
    (
        outbox,
        Delivery {
            from,
            waiting,
            room,
            to: ready,
        },
        network,
    )
}

impl Outbox {
    /// Hands in a message; false when too many wait already.
    pub(crate) fn send(&self, message: ToWorker) -> bool {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            return false;
        }
        // A session that has ended says so by another way.
        let _ = self.to.send(Outgoing::Message(message));
        true
    }

    /// Ends the session behind what was handed in.
    pub(crate) fn close(self, refusal: Refusal) {
        let _ = self.to.send(Outgoing::Close(refusal));
    }

    /// Ends the session since the coordinator ends.
    pub(crate) fn stop(self) {
        let _ = self.to.send(Outgoing::Stop);
    }
}

impl Delivery {
    /// Another way to the network, for what the session itself has to say at its end.
    pub(super) fn network(&self) -> mpsc::Sender<Result<Ready, Status>> {
        self.to.clone()
    }

    /// What the engine has said and was not delivered.
    #[cfg(test)]
    pub(crate) fn said(&mut self) -> Vec<ToWorker> {
        let outgoing = std::iter::from_fn(|| self.from.try_recv().ok());
        let messages = outgoing.filter_map(|outgoing| match outgoing {
            Outgoing::Message(message) => Some(message),
            Outgoing::Close(_) | Outgoing::Stop => None,
        });
        messages.collect()
    }

    /// Delivers until the engine or the worker ends the session.
    pub(crate) async fn run(
        mut self,
        session: SessionId,
        engine: Engine,
        blocks: Blocks,
        over: CancellationToken,
    ) {
        while let Some(outgoing) = self.from.recv().await {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            let message = match outgoing {
                Outgoing::Message(message) => match convert::outgoing(message) {
                    convert::Outgoing::Ready(message) => message,
                    convert::Outgoing::Load(head, refs) => {
                        let lease = head.lease;
                        match load(&blocks, *head, refs).await {
                            Ok(grant) => grant,
                            Err(reason) => {
                                tracing::warn!(%lease, reason, "inputs cannot be read");
                                engine.unreadable(session, lease, reason);
                                continue;
                            }
                        }
                    }
                },
                Outgoing::Close(refusal) => {
                    let _ = self.to.send(Err(status::refused(&refusal))).await;
                    break;
                }
                Outgoing::Stop => {
                    let _ = self.to.send(Err(crate::api::gone(engine.signals()))).await;
                    break;
                }
            };
            if !self.hand_on(message).await {
                break;
            }
        }
        over.cancel();
    }

    /// Waits for the network; false when the worker is gone.
    async fn hand_on(&self, message: v1::ConnectResponse) -> bool {
        let kib = (message.encoded_len() >> 10).clamp(1, READY_KIB_MAX);
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        let room = tokio::select! {
            () = self.to.closed() => return false,
            room = Arc::clone(&self.room).acquire_many_owned(kib) => room,
        };
        let Ok(room) = room else { return false };
        self.to
            .send(Ok(Ready {
                message,
                _room: room,
            }))
            .await
            .is_ok()
    }
}

/// A grant as it travels: with slices of the blocks that its inputs lie in.
async fn load(
    blocks: &Blocks,
    head: GrantHead,
    refs: Vec<BlockRef>,
) -> Result<v1::ConnectResponse, String> {
    let mut slices = Vec::new();
    for at in refs {
        let block = blocks.load(head.job, at).await?;
        convert::cut(&block, at.first, &head.indices, &mut slices);
    }
    Ok(convert::grant_message(head, slices))
}
