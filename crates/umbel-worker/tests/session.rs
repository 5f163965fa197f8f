//! A worker's sessions with a coordinator that speaks from a script.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail by a panic, in its scaffolding too"
)]

use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{env, io};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use umbel_core::command::Refusal;
use umbel_core::id::{JobId, LeaseId};
use umbel_core::job::Target;
use umbel_core::message::{GrantHead, OfferAnswer, ToWorker, Welcome};
use umbel_core::ranges::Ranges;
use umbel_proto::columns::Columns;
use umbel_proto::convert::{Outgoing, grant_message, outgoing};
use umbel_proto::status::refused;
use umbel_proto::v1;
use umbel_proto::v1::connect_request::Message;
use umbel_proto::v1::session_service_server::{SessionService, SessionServiceServer};
use umbel_worker::{Builder, Error, Handle, Worker};

/// Set in the process that is these tests' supervisor.
const ROLE: &str = "UMBEL_TEST_ROLE";

/// Has these tests, started again, be the supervisor of the programs that they run.
fn install_supervisor() {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", "--nocapture", "supervisor", "--skip"])
        .env(ROLE, "supervisor");
    umbel_runtime::install_supervisor(command).unwrap();
}

#[test]
fn supervisor() {
    if env::var_os(ROLE).is_some() {
        let scratch = env::args().next_back().unwrap();
        let socket = io::stdin().as_fd().try_clone_to_owned().unwrap();
        umbel_runtime::supervise(socket, Path::new(&scratch)).unwrap();
    }
}

/// Far more than any step takes; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// One stream, seen from the coordinator.
struct Stream {
    hello: v1::Hello,
    from: Streaming<v1::ConnectRequest>,
    to: mpsc::Sender<Result<v1::ConnectResponse, Status>>,
}

impl Stream {
    async fn send(&self, message: v1::ConnectResponse) {
        self.to.send(Ok(message)).await.expect("the stream stands");
    }

    async fn say(&self, message: ToWorker) {
        match outgoing(message) {
            Outgoing::Ready(message) => self.send(message).await,
            Outgoing::Load(..) => panic!("the script grants with slices"),
        }
    }

    async fn welcome(&self, answers: Vec<OfferAnswer>) {
        let welcome = Welcome {
            heartbeat_ms: 50,
            epoch: 1,
            answers,
        };
        self.say(ToWorker::Welcome(welcome)).await;
    }

    async fn grant(&self, head: GrantHead, inputs: &[&str]) {
        let slice = v1::InputSlice {
            first_index: head.indices.first().expect("an index").into(),
            count: inputs.len() as u64,
            lengths: inputs.iter().map(|input| input.len() as u8).collect(),
            body: inputs.concat().into(),
        };
        self.send(grant_message(head, vec![slice])).await;
    }

    /// The next message that is no sign of life; none: the worker ended the stream.
    async fn next(&mut self) -> Option<Message> {
        loop {
            let message = timeout(PATIENCE, self.from.message()).await;
            let message = message.expect("a message in time").ok()??;
            match message.message.expect("a known message") {
                Message::Heartbeat(_) => {}
                message => return Some(message),
            }
        }
    }

    async fn report(&mut self) -> v1::Report {
        match self.next().await {
            Some(Message::Report(report)) => report,
            other => panic!("no report but {other:?}"),
        }
    }
}

type Dialled = mpsc::Sender<Stream>;

/// A coordinator that gives every stream to the test.
struct Script {
    dialled: Dialled,
    refusals: Arc<Mutex<Vec<Refusal>>>,
}

#[tonic::async_trait]
impl SessionService for Script {
    type ConnectStream = ReceiverStream<Result<v1::ConnectResponse, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<v1::ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let refusal = self.refusals.lock().unwrap().pop();
        if let Some(refusal) = refusal {
            return Err(refused(&refusal));
        }
        let mut from = request.into_inner();
        let first = from.message().await?.expect("a hello");
        let Some(Message::Hello(hello)) = first.message else {
            panic!("the first message is no hello");
        };
        let (to, stream) = mpsc::channel(64);
        let stood = self.dialled.send(Stream { hello, from, to }).await;
        stood.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    type FetchArtifactStream = ReceiverStream<Result<v1::FetchArtifactResponse, Status>>;

    async fn fetch_artifact(
        &self,
        _request: Request<v1::FetchArtifactRequest>,
    ) -> Result<Response<Self::FetchArtifactStream>, Status> {
        Err(Status::unimplemented("the script publishes nothing"))
    }
}

/// The coordinator with all that the tests need of it.
struct Coordinator {
    address: SocketAddr,
    streams: mpsc::Receiver<Stream>,
    serving: JoinHandle<()>,
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Coordinator {
    async fn start(refusals: Vec<Refusal>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (dialled, streams) = mpsc::channel(4);
        let refusals = Arc::new(Mutex::new(refusals));
        let service = SessionServiceServer::new(Script { dialled, refusals });
        let serving = tokio::spawn(async move {
            let server = Server::builder().add_service(service);
            let incoming = TcpListenerStream::new(listener);
            server
                .serve_with_incoming(incoming)
                .await
                .expect("a server");
        });
        Self {
            address,
            streams,
            serving,
        }
    }

    fn worker(&self) -> Builder {
        Worker::builder()
            .coordinator(format!("http://{}", self.address))
            .name("w1")
            .slots(1)
    }

    async fn dialled(&mut self) -> Stream {
        let stream = timeout(PATIENCE, self.streams.recv()).await;
        stream.expect("a worker in time").expect("a worker")
    }

    /// A worker with a session that stands.
    async fn with(&mut self, worker: Builder) -> (Handle, Stream) {
        let handle = worker.start().expect("a worker");
        let stream = self.dialled().await;
        stream.welcome(Vec::new()).await;
        timeout(PATIENCE, handle.ready()).await.unwrap().unwrap();
        (handle, stream)
    }
}

fn lease(number: u64) -> LeaseId {
    LeaseId { epoch: 1, number }
}

fn head(number: u64, function: &str, indices: std::ops::Range<u32>) -> GrantHead {
    GrantHead {
        lease: lease(number),
        job: JobId([7; 16]),
        target: Target::Function(function.to_owned()),
        version: None,
        arm: None,
        indices: Ranges::one(indices),
        attempt: 1,
        timeout_ms: None,
        slots: 1,
        log_basis_points: 0,
    }
}

fn runs(ranges: &[v1::IndexRange]) -> Vec<(u64, u64)> {
    ranges
        .iter()
        .map(|range| (range.begin, range.end))
        .collect()
}

fn outputs(chunk: &v1::ChunkReport) -> Vec<String> {
    let count = chunk.succeeded.iter().map(|run| run.end - run.begin).sum();
    let columns = Columns::parse(chunk.columns.clone(), count, 1 << 20).expect("columns");
    let text = |row: umbel_proto::columns::Row| String::from_utf8(row.output.to_vec()).unwrap();
    columns.rows().map(text).collect()
}

/// All reports until so many invocations have ended, each acknowledged at once.
async fn ended(stream: &mut Stream, count: u64) -> Vec<v1::ChunkReport> {
    let (mut chunks, mut ended) = (Vec::new(), 0);
    while ended < count {
        let report = stream.report().await;
        stream.say(ToWorker::Ack(report.number)).await;
        for chunk in report.chunks {
            ended += chunk
                .succeeded
                .iter()
                .map(|run| run.end - run.begin)
                .sum::<u64>();
            ended += chunk.failed.len() as u64;
            chunks.push(chunk);
        }
    }
    chunks
}

/// A function that returns when the test says so.
fn gate() -> (impl Fn(&[u8]) -> Result<String, String> + Send + Sync, Gate) {
    let (open, opened) = channel();
    let (began, begins) = channel();
    let (opened, began) = (Mutex::new(opened), Mutex::new(began));
    let function = move |input: &[u8]| {
        let _ = began.lock().unwrap().send(());
        let _ = opened.lock().unwrap().recv_timeout(PATIENCE);
        Ok(String::from_utf8_lossy(input).into_owned())
    };
    (function, Gate { open, begins })
}

struct Gate {
    open: std::sync::mpsc::Sender<()>,
    begins: Receiver<()>,
}

impl Gate {
    /// Waits until the function has begun.
    async fn began(self) -> Self {
        let waits = move || {
            self.begins.recv_timeout(PATIENCE).expect("it begins");
            self
        };
        tokio::task::spawn_blocking(waits).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_is_run_and_reported_in_columns() {
    let mut coordinator = Coordinator::start(Vec::new()).await;
    let (handle, mut stream) = coordinator.with(coordinator.worker()).await;
    assert_eq!((stream.hello.name.as_str(), stream.hello.slots), ("w1", 1));

    stream
        .grant(head(1, "umbel.increment", 4..7), &["41", "no", "9"])
        .await;

    let chunks = ended(&mut stream, 3).await;
    let all: Vec<String> = chunks
        .iter()
        .filter(|chunk| !chunk.succeeded.is_empty())
        .flat_map(outputs)
        .collect();
    assert_eq!(all, ["42", "10"]);
    let failed: Vec<_> = chunks.iter().flat_map(|chunk| &chunk.failed).collect();
    assert_eq!((failed.len(), failed[0].index), (1, 5));
    assert_eq!(chunks.last().unwrap().begun, 3);
    drop(handle);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_of_a_range_comes_back_whole_and_in_order() {
    let mut coordinator = Coordinator::start(Vec::new()).await;
    let (_handle, mut stream) = coordinator.with(coordinator.worker()).await;
    let grant = ToWorker::Grant(umbel_core::message::Grant {
        head: head(1, "umbel.echo", 100..4_196),
        inputs: umbel_core::message::GrantInputs::Range { begin: 7 },
    });

    stream.say(grant).await;

    let chunks = ended(&mut stream, 4_096).await;
    let all: Vec<String> = chunks.iter().flat_map(outputs).collect();
    let expected: Vec<String> = (107..4_203).map(|number: u32| number.to_string()).collect();
    assert_eq!(all, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_does_not_return_is_a_timeout_and_the_rest_runs_elsewhere() {
    let mut coordinator = Coordinator::start(Vec::new()).await;
    let stuck = AtomicU32::new(0);
    let (wait, gate) = gate();
    let function = move |input: &[u8]| match stuck.fetch_add(1, Ordering::Relaxed) {
        0 => wait(input),
        _ => Ok(String::from_utf8_lossy(input).into_owned()),
    };
    let worker = coordinator.worker().slots(2).function("stuck", function);
    let (_handle, mut stream) = coordinator.with(worker).await;
    let head = GrantHead {
        timeout_ms: Some(30),
        ..head(1, "stuck", 0..2)
    };

    stream.grant(head, &["a", "b"]).await;

    let chunks = ended(&mut stream, 2).await;
    let failed: Vec<_> = chunks.iter().flat_map(|chunk| &chunk.failed).collect();
    let failure = failed[0].failure.as_ref().unwrap();
    assert_eq!((failed.len(), failed[0].index), (1, 0));
    assert_eq!(failure.kind, i32::from(v1::FailureKind::Timeout));
    let succeeded: Vec<_> = chunks
        .iter()
        .flat_map(|chunk| runs(&chunk.succeeded))
        .collect();
    assert_eq!(succeeded, [(1, 2)]);
    gate.open.send(()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_finished_without_a_coordinator_is_reported_to_the_next() {
    let mut coordinator = Coordinator::start(Vec::new()).await;
    let (wait, gate) = gate();
    let worker = coordinator.worker().function("wait", wait);
    let (handle, stream) = coordinator.with(worker).await;
    stream.grant(head(1, "wait", 0..1), &["kept"]).await;
    let gate = gate.began().await;

    drop(stream);
    gate.open.send(()).unwrap();
    let mut stream = coordinator.dialled().await;
    let offer = &stream.hello.offers[0];
    assert_eq!(runs(&offer.indices), [(0, 1)]);
    let kept = Some((lease(2), Ranges::one(0..1)));
    let old_lease = lease(1);
    stream
        .welcome(vec![OfferAnswer {
            old_lease,
            kept,
            slots: 1,
        }])
        .await;

    let report = stream.report().await;
    let chunk = &report.chunks[0];
    assert_eq!(report.number, 1);
    assert_eq!(chunk.lease.as_ref().unwrap().number, 2);
    assert_eq!(outputs(chunk), ["kept"]);
    assert!(gate.begins.try_recv().is_err(), "it ran once");
    drop(handle);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draining_worker_hands_back_finishes_and_leaves() {
    let mut coordinator = Coordinator::start(Vec::new()).await;
    let (wait, gate) = gate();
    let worker = coordinator.worker().function("wait", wait);
    let (handle, mut stream) = coordinator.with(worker).await;
    stream.grant(head(1, "wait", 0..3), &["a", "b", "c"]).await;
    let gate = gate.began().await;

    handle.drain();

    assert!(matches!(stream.next().await, Some(Message::Leaving(_))));
    let back = stream.report().await;
    assert_eq!(runs(&back.chunks[0].handed_back), [(1, 3)]);
    gate.open.send(()).unwrap();
    let last = stream.report().await;
    assert_eq!(runs(&last.chunks[0].succeeded), [(0, 1)]);
    stream.say(ToWorker::Ack(last.number)).await;
    assert!(stream.next().await.is_none(), "it has left");
    drop(stream);
    assert_eq!(timeout(PATIENCE, handle.wait()).await.unwrap(), Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_is_killed_when_its_lease_is_revoked() {
    install_supervisor();
    let mut coordinator = Coordinator::start(Vec::new()).await;
    let (_handle, mut stream) = coordinator.with(coordinator.worker()).await;
    let program = ["sleep", "600"].map(str::to_owned).to_vec();
    let endless = GrantHead {
        target: Target::Program(program),
        ..head(1, "", 0..1)
    };
    stream.grant(endless, &[""]).await;

    stream.say(ToWorker::Revoke(vec![lease(1)])).await;
    stream.grant(head(2, "umbel.echo", 0..1), &["free"]).await;

    let chunks = ended(&mut stream, 1).await;
    assert!(chunks[0].failed.is_empty(), "{chunks:?}");
    assert_eq!(outputs(&chunks[0]), ["free"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_name_is_waited_for() {
    let taken = Refusal::WorkerNameTaken {
        name: "w1".to_owned(),
    };
    let mut coordinator = Coordinator::start(vec![taken.clone(), taken]).await;

    let (_handle, stream) = coordinator.with(coordinator.worker()).await;

    assert_eq!(stream.hello.name, "w1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_protocol_is_final() {
    let mismatch = Refusal::ProtocolMismatch { theirs: 1, ours: 2 };
    let coordinator = Coordinator::start(vec![mismatch]).await;

    let handle = coordinator.worker().start().unwrap();

    let ended = timeout(PATIENCE, handle.wait()).await.unwrap();
    match ended {
        Err(Error::Refused { reason, .. }) => assert!(reason.contains("protocol 1"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_name_that_is_none_is_told_at_the_start() {
    let refused = Worker::builder()
        .function("umbel.mine", |_: &[u8]| Ok::<_, String>(""))
        .start();
    assert!(matches!(refused, Err(Error::Function(_))), "{refused:?}");
}
