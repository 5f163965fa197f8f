//! Sessions: one stream between a worker and the coordinator each.

mod artifact;
pub(crate) mod blocks;
pub(crate) mod outbox;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use umbel_core::command::Refusal;
use umbel_core::id::SessionId;
use umbel_core::limit;
use umbel_core::message::{FromWorker, Hello};
use umbel_proto::convert::Incoming;
use umbel_proto::v1::session_service_server::SessionService;
use umbel_proto::{convert, status, v1};

use umbel_store::Store;

use crate::engine::{Closed, Engine};
use crate::streams::Streams;
use blocks::Blocks;
use outbox::{Delivery, Ready};

/// How long a stream may say nothing before its hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a worker waits its turn to fetch before it is told to come again.
const FETCH_TURN: Duration = Duration::from_secs(20);
/// How often the engine is told that a worker was heard of.
const HEARD_EVERY: Duration = Duration::from_millis(500);

/// The service that workers connect to.
#[derive(Debug)]
pub(crate) struct Sessions {
    engine: Engine,
    blocks: Blocks,
    newcomers: Streams,
    fetches: Arc<Semaphore>,
    store: Store,
}

impl Sessions {
    pub(crate) fn new(engine: Engine, blocks: Blocks, newcomers: Streams, store: Store) -> Self {
        Self {
            engine,
            blocks,
            newcomers,
            fetches: Arc::new(Semaphore::new(limit::FETCHES_MAX)),
            store,
        }
    }

    /// A place among those that fetch, when one is free: each has a page in memory.
    async fn turn_to_fetch(&self) -> Result<OwnedSemaphorePermit, Status> {
        let turn = Arc::clone(&self.fetches).acquire_owned();
        match tokio::time::timeout(FETCH_TURN, turn).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(status::refused(&Refusal::TooManyStreams {
                kind: "artifacts",
                limit: limit::FETCHES_MAX as u64,
            })),
        }
    }
}

#[tonic::async_trait]
impl SessionService for Sessions {
    type ConnectStream =
        Pin<Box<dyn Stream<Item = Result<v1::ConnectResponse, Status>> + Send + 'static>>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let newcomer = self.newcomers.open();
        let newcomer = newcomer.map_err(|refusal| status::refused(&refusal))?;
        let (outbox, delivery, network) = outbox::open();
        let inbound = Inbound {
            session: self.engine.session(),
            engine: self.engine.clone(),
            messages: request.into_inner(),
            heard: Instant::now(),
        };
        let blocks = self.blocks.clone();
        tokio::spawn(serve(inbound, newcomer, outbox, delivery, blocks));
        let messages = ReceiverStream::new(network);
        let messages = messages.map(|ready| ready.map(|Ready { message, .. }| message));
        Ok(Response::new(messages.boxed()))
    }

    type FetchArtifactStream = artifact::Pages;

    async fn fetch_artifact(
        &self,
        request: Request<v1::FetchArtifactRequest>,
    ) -> Result<Response<Self::FetchArtifactStream>, Status> {
        let digest = request.into_inner().digest;
        let digest = convert::digest("digest", &digest).map_err(status::invalid)?;
        let turn = self.turn_to_fetch().await?;
        let found = self
            .engine
            .look(move |machine, _| machine.artifact(digest))
            .await
            .map_err(|_| crate::api::gone(self.engine.signals()))?;
        let Some(found) = found else {
            let words = format!("no version is made of artifact {digest} any more");
            return Err(artifact::broken(&words));
        };
        Ok(Response::new(artifact::pages(
            self.store.clone(),
            found,
            turn,
        )))
    }
}

/// Serves a stream from its hello to its end, and tells a worker that is at fault why it ends.
async fn serve(
    mut inbound: Inbound,
    newcomer: OwnedSemaphorePermit,
    outbox: outbox::Outbox,
    delivery: Delivery,
    blocks: Blocks,
) {
    let network = delivery.network();
    let hello = inbound.hello().await;
    drop(newcomer);
    let hello = match hello {
        Ok(Some(hello)) => hello,
        Ok(None) => return,
        Err(status) => return say(&network, status).await,
    };
    let (session, engine) = (inbound.session, inbound.engine.clone());
    if engine.join(session, hello, outbox).await.is_err() {
        return say(&network, crate::api::gone(engine.signals())).await;
    }
    // From here on the engine knows the session, and has to hear of its end.
    let _ended = Ended {
        session,
        engine: engine.clone(),
    };
    let over = CancellationToken::new();
    tokio::spawn(delivery.run(session, engine, blocks, over.clone()));
    let ended = tokio::select! {
        () = over.cancelled() => Ok(()),
        ended = inbound.run() => ended,
    };
    if let Err(status) = ended {
        say(&network, status).await;
    }
}

async fn say(network: &mpsc::Sender<Result<Ready, Status>>, status: Status) {
    // Who is gone needs no words. Nor does who does not read hold this up for ever.
    let _ = network.send_timeout(Err(status), HELLO_TIMEOUT).await;
}

/// Tells the engine of the end of a session, however it comes.
struct Ended {
    session: SessionId,
    engine: Engine,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.engine.ended(self.session);
    }
}

/// What a worker says.
struct Inbound {
    session: SessionId,
    engine: Engine,
    messages: Streaming<v1::ConnectRequest>,
    /// When the engine was last told that the worker was heard of.
    heard: Instant,
}

impl Inbound {
    /// The first message; none when the worker is gone before it.
    async fn hello(&mut self) -> Result<Option<Box<Hello>>, Status> {
        let first = tokio::time::timeout(HELLO_TIMEOUT, self.messages.message()).await;
        let first = first.map_err(|_| {
            broken(format!(
                "it did not say hello within {} s",
                HELLO_TIMEOUT.as_secs()
            ))
        })?;
        let Ok(Some(first)) = first else {
            return Ok(None);
        };
        match convert::incoming(first).map_err(status::invalid)? {
            Incoming::Hello(hello) => Ok(Some(hello)),
            Incoming::Message(_) => Err(broken("its first message was not its hello".to_owned())),
        }
    }

    /// Takes in messages until the worker ends the stream or breaks the protocol.
    async fn run(&mut self) -> Result<(), Status> {
        // An error of the stream is its end: the worker, or the way to it, is gone.
        while let Ok(Some(message)) = self.messages.message().await {
            let bytes = message.encoded_len();
            let message = match convert::incoming(message).map_err(status::invalid)? {
                Incoming::Message(message) => message,
                Incoming::Hello(_) => return Err(broken("it said hello twice".to_owned())),
            };
            if self.say(bytes, message).await.is_err() {
                return Err(crate::api::gone(self.engine.signals()));
            }
        }
        Ok(())
    }

    /// Hands a message to the engine. As long as there is no room for it the worker's silence is
    /// not its own fault, and it counts as heard.
    async fn say(&mut self, bytes: usize, message: FromWorker) -> Result<(), Closed> {
        if self.heard.elapsed() >= HEARD_EVERY {
            self.heard = Instant::now();
            self.engine.heard(self.session).await?;
        }
        let engine = self.engine.clone();
        let mut said = std::pin::pin!(engine.say(self.session, bytes, message));
        loop {
            match tokio::time::timeout(HEARD_EVERY, &mut said).await {
                Ok(said) => return said,
                Err(_) => {
                    self.heard = Instant::now();
                    self.engine.heard(self.session).await?;
                }
            }
        }
    }
}

fn broken(what: String) -> Status {
    status::refused(&Refusal::ProtocolBroken { what })
}
