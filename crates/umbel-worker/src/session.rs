//! One session, from the dial to the end of its stream.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use umbel_core::function::Runtimes;
use umbel_core::id::WorkerId;
use umbel_core::limit::{MESSAGE_BYTES_MAX, PROTOCOL};
use umbel_core::message::{FromWorker, Hello, Invoke, Welcome};
use umbel_core::worker::InvokeHead;
use umbel_proto::convert::{FromCoordinator, from_coordinator, from_worker, hello};
use umbel_proto::status::{Reason, reason_of};
use umbel_proto::v1;
use umbel_proto::v1::session_service_client::SessionServiceClient;

use crate::config::Config;
use crate::floor::Floor;
use crate::report;
use crate::shelf::Shelf;
use crate::work::{Shop, Work};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A coordinator that takes a connection and then says nothing is given up.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
const KEEPALIVE: Duration = Duration::from_secs(5);
/// How long the last words of a worker that leaves may take.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);
/// What may be on its way to the worker: a few messages of full length.
const WINDOW_BYTES: u32 = 32 << 20;
/// Messages between this task and the stream. What waits longer waits in the
/// machine, where it is merged.
const OUTBOX_MESSAGES: usize = 4;
/// Whatever the coordinator says, signs of life are at least and at most so far
/// apart.
const HEARTBEAT_MS: std::ops::RangeInclusive<u64> = 10..=60_000;

/// How a session ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The worker has left: all that it did was heard.
    Left,
    /// It broke off, or never stood.
    Lost {
        /// Whether it stood.
        stood: bool,
        /// Why it ended.
        status: Status,
    },
}

/// Whose session it is.
pub(crate) struct Session<'a> {
    pub(crate) floor: &'a Floor,
    pub(crate) shelf: &'a Arc<Shelf>,
    pub(crate) config: &'a Config,
    pub(crate) worker: WorkerId,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) dial: &'a Dial,
    /// Told when the session stands.
    pub(crate) stands: &'a (dyn Fn(&str) + Send + Sync),
    /// Set when the worker drains, whoever asked for it.
    pub(crate) drain: &'a CancellationToken,
}

/// How a connection is made: over TCP, or over the network of whoever brings one.
#[derive(Clone)]
pub(crate) struct Dial(Arc<DialFn>);

type DialFn =
    dyn Fn(Endpoint) -> BoxFuture<'static, Result<Channel, tonic::transport::Error>> + Send + Sync;

impl Dial {
    pub(crate) fn tcp() -> Self {
        Self::new(|endpoint| async move { endpoint.connect().await }.boxed())
    }

    pub(crate) fn new(
        dial: impl Fn(Endpoint) -> BoxFuture<'static, Result<Channel, tonic::transport::Error>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self(Arc::new(dial))
    }

    /// One attempt to connect.
    pub(crate) async fn dial(&self, endpoint: &Endpoint) -> Result<Channel, Status> {
        let dialled = (self.0)(endpoint.clone()).await;
        dialled.map_err(|error| Status::unavailable(words(&error)))
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dial")
    }
}

type Outbox = mpsc::Sender<v1::ConnectRequest>;

/// The way to a coordinator; nothing is dialled yet.
pub(crate) fn endpoint(url: &str) -> Result<Endpoint, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(url.to_owned())?;
    Ok(endpoint
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES))
}

impl Session<'_> {
    /// Runs one session to its end.
    pub(crate) async fn run(&self) -> End {
        let mut stood = false;
        match self.talk(&mut stood).await {
            Ok(()) => End::Left,
            Err(status) => End::Lost { stood, status },
        }
    }

    async fn talk(&self, stood: &mut bool) -> Result<(), Status> {
        let (outbox, mut inbox, welcome, version) = timeout(WELCOME_TIMEOUT, self.introduce())
            .await
            .map_err(|_| {
                Status::deadline_exceeded(format!("no welcome within {WELCOME_TIMEOUT:?}"))
            })??;
        *stood = true;
        let heartbeat_ms = welcome.heartbeat_ms;
        {
            let mut machine = self.floor.machine();
            let stopped = machine.welcome(&welcome);
            self.floor.stop_slots(stopped);
        }
        self.floor.work_came();
        (self.stands)(&version);
        let mut beat = heartbeat(heartbeat_ms);
        loop {
            let is_full = self.say(&outbox);
            if self.has_left() {
                drop(outbox);
                return farewell(inbox).await;
            }
            tokio::select! {
                // In this order, so that the same network gives the same session. None of them
                // is kept from its turn: a sign of life is due once in a while, and what there
                // is to say was said above.
                biased;
                _ = beat.tick() => self.beat(&outbox),
                message = inbox.message() => match message? {
                    Some(message) => self.hear(read(message)?),
                    None => return Err(Status::unavailable("the coordinator ended the session")),
                },
                () = self.floor.wake.notified() => {}
                _ = outbox.reserve(), if is_full => {}
            }
        }
    }

    /// Dials, says hello and hears the welcome.
    async fn introduce(
        &self,
    ) -> Result<(Outbox, Streaming<v1::ConnectResponse>, Welcome, String), Status> {
        let channel = self.dial.dial(self.endpoint).await?;
        let mut client = SessionServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let (outbox, messages) = mpsc::channel(OUTBOX_MESSAGES);
        let first = outbox.send(hello(self.hello())).await;
        first.map_err(|_| Status::internal("the outbox is closed"))?;
        let response = client.connect(ReceiverStream::new(messages)).await?;
        let mut inbox = response.into_inner();
        let ended = || Status::unavailable("the coordinator ended the session");
        let message = inbox.message().await?.ok_or_else(ended)?;
        match read(message)? {
            FromCoordinator::Welcome { welcome, version } => Ok((outbox, inbox, welcome, version)),
            _ => Err(Status::internal(
                "the coordinator's first message was no welcome",
            )),
        }
    }

    fn hello(&self) -> Hello {
        self.shelf.new_session();
        let offers = self.floor.machine().offers();
        Hello {
            protocol: PROTOCOL,
            worker: self.worker,
            name: self.config.name.clone(),
            slots: self.config.slots,
            labels: self.config.labels.clone(),
            functions: self.config.catalog.names().map(str::to_owned).collect(),
            runs_programs: self.config.runs_programs,
            runtimes: if self.config.cache.is_some() {
                self.config.runtimes
            } else {
                Runtimes::NONE
            },
            holdings: self.shelf.introduce(),
            version: umbel_proto::VERSION.to_owned(),
            offers,
        }
    }

    /// Says what there is to say, as far as the outbox takes it; tells whether it
    /// is full.
    fn say(&self, outbox: &Outbox) -> bool {
        loop {
            let Ok(permit) = outbox.try_reserve() else {
                return true;
            };
            // Where a version cannot be run is known before what came of its work.
            if let Some(holdings) = self.shelf.hot_news() {
                permit.send(from_worker(FromWorker::Holds(holdings)));
                continue;
            }
            let next = {
                let mut machine = self.floor.machine();
                machine.next_message(self.floor.clock.now_us())
            };
            match next {
                // Parts are merged outside of the lock.
                Some(outgoing) => permit.send(from_worker(report::message(outgoing))),
                None => return false,
            }
        }
    }

    /// A full outbox is on its way, and so a sign of life itself.
    fn beat(&self, outbox: &Outbox) {
        if let Ok(permit) = outbox.try_reserve() {
            let begun = self.floor.machine().begun();
            permit.send(from_worker(FromWorker::Heartbeat(begun)));
        }
        self.shelf.beat();
        if let Ok(permit) = outbox.try_reserve()
            && let Some(holdings) = self.shelf.news()
        {
            permit.send(from_worker(FromWorker::Holds(holdings)));
        }
    }

    fn has_left(&self) -> bool {
        let machine = self.floor.machine();
        machine.is_draining() && machine.is_settled()
    }

    fn hear(&self, message: FromCoordinator) {
        let floor = self.floor;
        let mut machine = floor.machine();
        match message {
            FromCoordinator::Grant { head, inputs } => {
                drop(machine);
                // Programs and inputs are looked up outside of the lock.
                let version = head.version;
                let target = (&head.target, version);
                let work = Work::of_chunk(head.job, target, inputs, &self.shop())
                    .keeping_logs(head.log_basis_points);
                let work = Arc::new(work);
                machine = floor.machine();
                machine.grant(*head, Arc::clone(&work));
                drop(machine);
                if let Some(version) = version {
                    self.shelf.supply(version, &work);
                }
                floor.work_came();
            }
            FromCoordinator::Version(version) => {
                drop(machine);
                self.shelf.told(version);
            }
            FromCoordinator::Keep(kept) => {
                drop(machine);
                self.shelf.keep(&kept);
            }
            FromCoordinator::Ack(number) => {
                machine.acknowledged(number);
                if machine.has_work() {
                    floor.work_came();
                }
            }
            FromCoordinator::TakeBack { lease, keep } => machine.take_back(lease, keep),
            FromCoordinator::Revoke(leases) => {
                let stopped = machine.revoke(&leases);
                floor.stop_slots(stopped);
                // What was kept of them may have been all that held the slots up.
                if machine.has_work() {
                    floor.work_came();
                }
            }
            FromCoordinator::Drain => {
                if !machine.is_draining() {
                    tracing::info!(
                        "the coordinator asks worker {:?} to leave",
                        self.config.name
                    );
                }
                machine.drain();
                self.drain.cancel();
            }
            FromCoordinator::Invoke(invoke) => {
                drop(machine);
                self.hear_invoke(invoke);
            }
            FromCoordinator::InvokeCancel(id) => {
                let stopped = machine.invoke_cancelled(id);
                floor.stop_slots(stopped);
            }
            // There is one, and it came first.
            FromCoordinator::Welcome { .. } => {}
        }
    }

    fn hear_invoke(&self, invoke: Invoke) {
        let version = invoke.version;
        let target = (&invoke.target, version);
        let work = Arc::new(Work::of_invoke(target, invoke.input, &self.shop()));
        let head = InvokeHead {
            id: invoke.id,
            target: invoke.target,
            version,
            timeout_ms: invoke.timeout_ms,
        };
        self.floor.machine().invoke(head, Arc::clone(&work));
        if let Some(version) = version {
            self.shelf.supply(version, &work);
        }
        self.floor.work_came();
    }

    fn shop(&self) -> Shop<'_> {
        Shop {
            worker: &self.config.name,
            catalog: &self.config.catalog,
            runs_programs: self.config.runs_programs,
        }
    }
}

/// Waits for the end of the stream, so that the last words are out.
async fn farewell(mut inbox: Streaming<v1::ConnectResponse>) -> Result<(), Status> {
    let end = async { while let Ok(Some(_)) = inbox.message().await {} };
    // Who does not answer a farewell has heard all that matters before.
    let _ = timeout(FAREWELL_TIMEOUT, end).await;
    Ok(())
}

fn heartbeat(ms: u64) -> Interval {
    let ms = ms.clamp(*HEARTBEAT_MS.start(), *HEARTBEAT_MS.end());
    let mut interval = interval(Duration::from_millis(ms));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

fn read(message: v1::ConnectResponse) -> Result<FromCoordinator, Status> {
    from_coordinator(message).map_err(|invalid| {
        Status::new(
            Code::Internal,
            format!("the coordinator broke the protocol: {invalid}"),
        )
    })
}

/// An error with its causes, outermost first. What an error says of its cause already is not
/// said again.
fn words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut words: Vec<String> = Vec::new();
    for cause in causes.map(ToString::to_string) {
        if !words.last().is_some_and(|said| said.ends_with(&cause)) {
            words.push(cause);
        }
    }
    words.join(": ")
}

/// Whether the coordinator will refuse this worker always: it speaks another protocol,
/// or something that was set about it, such as a label, is over a limit.
pub(crate) fn is_final(status: &Status) -> bool {
    matches!(
        reason_of(status),
        Some((
            Reason::ProtocolMismatch | Reason::BadRequest | Reason::FunctionPublished,
            _
        ))
    )
}

/// Whether another live worker bears the name.
pub(crate) fn is_name_taken(status: &Status) -> bool {
    matches!(reason_of(status), Some((Reason::WorkerNameTaken, _)))
}

#[cfg(test)]
mod tests {
    use umbel_proto::convert::Invalid;
    use umbel_proto::status::{invalid, refused};

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{words}")]
    struct Told {
        words: &'static str,
        source: Option<Box<Self>>,
    }

    #[test]
    fn a_cause_that_was_said_already_is_not_said_again() {
        let chain = ["transport error", "tcp", "tcp", "os: refused", "refused"];
        let told = chain
            .into_iter()
            .rev()
            .fold(None, |source, words| Some(Box::new(Told { words, source })));
        assert_eq!(words(&*told.unwrap()), "transport error: tcp: os: refused");
    }

    #[test]
    fn what_cannot_change_is_final() {
        let bad = Invalid::bad("hello.labels", "the value of label \"a\" is too long");
        assert!(is_final(&invalid(bad)));
        let taken = umbel_core::command::Refusal::WorkerNameTaken {
            name: "a".to_owned(),
        };
        assert!(!is_final(&refused(&taken)), "the name may become free");
    }
}
