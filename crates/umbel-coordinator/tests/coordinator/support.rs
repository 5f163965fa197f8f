//! A coordinator with clients, and a worker that does what a script says.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use umbel_coordinator::{Config, Coordinator, Running};
use umbel_core::histogram::Histogram;
use umbel_core::id::{LeaseId, WorkerId};
use umbel_core::job::Usage;
use umbel_core::limit::PROTOCOL;
use umbel_core::message::{
    Begun, ChunkReport, FromWorker, GrantHead, Hello, InvokeDone, Offer, Report, TakenBack,
};
use umbel_core::ranges::Ranges;
use umbel_proto::columns::ColumnsBuilder;
use umbel_proto::convert::{self, FromCoordinator, Inputs};
use umbel_proto::status::{Reason, reason_of};
use umbel_proto::v1;
use v1::cluster_service_client::ClusterServiceClient;
use v1::function_service_client::FunctionServiceClient;
use v1::job_service_client::JobServiceClient;
use v1::session_service_client::SessionServiceClient;

/// Longer than anything here takes on a busy machine; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("it takes too long")
}

/// A coordinator on a directory that lives as long as the test.
pub(crate) struct Cluster {
    pub(crate) running: Running,
    dir: TempDir,
}

impl Cluster {
    /// Around one that runs already.
    pub(crate) fn of(running: Running) -> Self {
        let dir = TempDir::new().expect("a directory");
        Self { running, dir }
    }

    /// What it answers to a plain request.
    pub(crate) async fn text(&self, path: &'static str) -> String {
        crate::port::get(self.running.addr(), path).await
    }
}

pub(crate) async fn start(dir: &Path) -> Running {
    start_with(dir, |_| {}).await
}

async fn start_with(dir: &Path, with: impl FnOnce(&mut Config)) -> Running {
    let mut config = Config::new(dir);
    config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    with(&mut config);
    Coordinator::start(config).await.expect("it starts")
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// The same with other settings.
    pub(crate) async fn start_with(with: impl FnOnce(&mut Config)) -> Self {
        let dir = TempDir::new().expect("a directory");
        Self {
            running: start_with(dir.path(), with).await,
            dir,
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Ends it in order and starts another on the same data.
    pub(crate) async fn restart(self) -> Self {
        let Self { running, dir } = self;
        soon(running.drain()).await.expect("it ends in order");
        Self {
            running: start(dir.path()).await,
            dir,
        }
    }

    pub(crate) async fn channel(&self) -> Channel {
        channel(self.running.addr()).await
    }

    pub(crate) async fn jobs(&self) -> JobServiceClient<Channel> {
        JobServiceClient::new(self.channel().await).max_decoding_message_size(8 << 20)
    }

    pub(crate) async fn functions(&self) -> FunctionServiceClient<Channel> {
        FunctionServiceClient::new(self.channel().await)
    }

    pub(crate) async fn cluster(&self) -> ClusterServiceClient<Channel> {
        ClusterServiceClient::new(self.channel().await)
    }

    /// A worker that knows `shout`, and has joined.
    pub(crate) async fn worker(&self, name: &str) -> Worker {
        let mut worker = self.connect(hello(name)).await.expect("it may connect");
        let first = worker.next().await.expect("it is welcome");
        assert!(
            matches!(first, FromCoordinator::Welcome { .. }),
            "{first:?}"
        );
        worker
    }

    pub(crate) async fn connect(&self, hello: Hello) -> Result<Worker, Status> {
        let worker = self.connect_silent().await?;
        worker.say_raw(convert::hello(hello));
        Ok(worker)
    }

    /// A session that begins with any message.
    pub(crate) async fn connect_raw(&self, first: v1::ConnectRequest) -> Worker {
        let worker = self.connect_silent().await.expect("it may connect");
        worker.say_raw(first);
        worker
    }

    /// A session that has said nothing yet.
    pub(crate) async fn connect_silent(&self) -> Result<Worker, Status> {
        let (say, said) = mpsc::unbounded_channel();
        let mut client = SessionServiceClient::new(self.channel().await);
        let inbound = client.connect(UnboundedReceiverStream::new(said)).await?;
        Ok(Worker {
            say,
            inbound: inbound.into_inner(),
            report: 0,
        })
    }
}

pub(crate) async fn channel(addr: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{addr}"))
        .expect("a URL")
        .connect()
        .await
        .expect("it listens")
}

pub(crate) fn hello(name: &str) -> Hello {
    let mut id = [0; 16];
    id[..name.len()].copy_from_slice(name.as_bytes());
    Hello {
        protocol: PROTOCOL,
        worker: WorkerId(id),
        name: name.to_owned(),
        slots: 2,
        labels: std::collections::BTreeMap::new(),
        functions: vec!["shout".to_owned()],
        runs_programs: false,
        version: "0".to_owned(),
        runtimes: umbel_core::function::Runtimes::NONE,
        holdings: umbel_core::function::Holdings::default(),
        offers: Vec::<Offer>::new(),
    }
}

/// A worker's end of a session.
pub(crate) struct Worker {
    say: mpsc::UnboundedSender<v1::ConnectRequest>,
    inbound: Streaming<v1::ConnectResponse>,
    report: u64,
}

impl Worker {
    pub(crate) fn say(&self, message: FromWorker) {
        // A session that was ended is seen by its end.
        let _ = self.say.send(convert::from_worker(message));
    }

    pub(crate) fn say_raw(&self, message: v1::ConnectRequest) {
        let _ = self.say.send(message);
    }

    pub(crate) async fn next(&mut self) -> Result<FromCoordinator, Status> {
        let message = soon(self.inbound.message()).await?;
        let message = message.ok_or_else(|| Status::cancelled("the stream has ended"))?;
        Ok(convert::from_coordinator(message).expect("a coordinator speaks well"))
    }

    /// The next work; what else is said before it is answered or does not matter.
    pub(crate) async fn grant(&mut self) -> (GrantHead, Vec<Bytes>) {
        loop {
            match self.next().await.expect("the session goes on") {
                FromCoordinator::Grant { head, inputs } => {
                    return (*head.clone(), plain(&head, &inputs));
                }
                FromCoordinator::TakeBack { lease, .. } => self.keep_all(lease),
                _ => {}
            }
        }
    }

    /// Hears what is said until the session ends, and tells why it did.
    pub(crate) async fn last_words(&mut self) -> Status {
        loop {
            if let Err(status) = self.next().await {
                return status;
            }
        }
    }

    fn keep_all(&self, lease: LeaseId) {
        let begun = Begun { lease, count: 0 };
        self.say(FromWorker::TakenBack(TakenBack {
            begun,
            indices: Ranges::new(),
        }));
    }

    /// Reports that all of a grant succeeded; tells the report's number.
    pub(crate) fn succeed(&mut self, head: &GrantHead, outputs: &[Vec<u8>]) -> u64 {
        let mut columns = ColumnsBuilder::new();
        for output in outputs {
            columns.push(output, 5, Some(3), 1_700_000_000_000_000);
        }
        self.report += 1;
        let count = u32::try_from(outputs.len()).expect("a small grant");
        self.say(FromWorker::Report(Report {
            number: self.report,
            chunks: vec![ChunkReport {
                begun: Begun {
                    lease: head.lease,
                    count,
                },
                succeeded: head.indices.clone(),
                columns: columns.finish(),
                logs: Bytes::new(),
                failed: Vec::new(),
                usage: Usage {
                    duration_us: 5,
                    cpu_us: 3,
                    attempts: u64::from(count),
                },
                handed_back: Ranges::new(),
                warm: Histogram::new(),
                cold: Vec::new(),
            }],
        }));
        self.report
    }

    /// Waits until a report is acknowledged.
    pub(crate) async fn acknowledged(&mut self, report: u64) {
        loop {
            if let FromCoordinator::Ack(up_to) = self.next().await.expect("the session goes on")
                && up_to >= report
            {
                return;
            }
        }
    }

    /// Shouts all that it is given until the session ends.
    pub(crate) fn shout(mut self) -> JoinHandle<()> {
        tokio::spawn(async move {
            while let Ok(Some(message)) = self.inbound.message().await {
                match convert::from_coordinator(message).expect("a coordinator speaks well") {
                    FromCoordinator::Grant { head, inputs } => {
                        let outputs: Vec<Vec<u8>> = plain(&head, &inputs)
                            .iter()
                            .map(|input| shouted(input))
                            .collect();
                        self.succeed(&head, &outputs);
                    }
                    FromCoordinator::Invoke(invoke) => {
                        self.say(FromWorker::InvokeDone(InvokeDone {
                            id: invoke.id,
                            outcome: Ok(shouted(&invoke.input).into()),
                            duration_us: 7,
                            cpu_us: None,
                            cold_start: None,
                        }));
                    }
                    FromCoordinator::TakeBack { lease, .. } => self.keep_all(lease),
                    _ => {}
                }
            }
        })
    }
}

pub(crate) fn shouted(input: &[u8]) -> Vec<u8> {
    input.to_ascii_uppercase()
}

fn plain(head: &GrantHead, inputs: &Inputs) -> Vec<Bytes> {
    match inputs {
        Inputs::Range { begin } => {
            let inputs = head.indices.indices().map(|index| begin + u64::from(index));
            inputs.map(|number| number.to_string().into()).collect()
        }
        Inputs::Slices(slices) => {
            let entries = slices
                .iter()
                .map(|slice| slice.entries().expect("they fit"));
            entries
                .flat_map(|entries| entries.shared().collect::<Vec<_>>())
                .collect()
        }
    }
}

/// A request for a job of these inputs, sealed.
pub(crate) fn request(inputs: &[&str]) -> v1::CreateJobRequest {
    let inputs = inputs
        .iter()
        .map(|input| Bytes::copy_from_slice(input.as_bytes()))
        .collect();
    v1::CreateJobRequest {
        source: Some(v1::create_job_request::Source::Inputs(v1::Inputs {
            inputs,
        })),
        seal: true,
        ..open_request()
    }
}

/// A request for a job whose inputs are appended.
pub(crate) fn open_request() -> v1::CreateJobRequest {
    let spec = v1::JobSpec {
        target: "shout".to_owned(),
        ..v1::JobSpec::default()
    };
    v1::CreateJobRequest {
        spec: Some(spec),
        ..v1::CreateJobRequest::default()
    }
}

pub(crate) async fn create(
    client: &mut JobServiceClient<Channel>,
    request: v1::CreateJobRequest,
) -> v1::Job {
    soon(client.create_job(request))
        .await
        .expect("accepted")
        .into_inner()
        .job
        .expect("a job")
}

/// All results of a job that it will ever have.
pub(crate) async fn results(
    client: &mut JobServiceClient<Channel>,
    request: v1::StreamResultsRequest,
) -> Vec<v1::Result> {
    let mut stream = soon(client.stream_results(request))
        .await
        .expect("a stream")
        .into_inner();
    let mut results = Vec::new();
    while let Some(answer) = soon(stream.message()).await.expect("results") {
        results.extend(answer.results);
    }
    results
}

/// Waits until a job has ended.
pub(crate) async fn ended(client: &mut JobServiceClient<Channel>, job: &str) -> v1::Job {
    let request = v1::WatchJobRequest {
        job_id: job.to_owned(),
    };
    let mut stream = soon(client.watch_job(request))
        .await
        .expect("a stream")
        .into_inner();
    let mut last = None;
    while let Some(answer) = soon(stream.message()).await.expect("the job goes on") {
        last = answer.job;
    }
    last.expect("the job was shown")
}

pub(crate) fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, Reason) {
    let status = answer.expect_err("it is refused");
    let (reason, _) = reason_of(&status).unwrap_or_else(|| panic!("no reason in {status:?}"));
    (status.code(), reason)
}
