//! A coordinator of one job whose streams break where a test says so.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt as _};
use umbel_client::v1::append_inputs_request::Content;
use umbel_client::v1::create_job_request::Source;
use umbel_client::v1::job_service_server::{JobService, JobServiceServer};
use umbel_client::v1::{self, JobState};
use umbel_proto::block::Block;
use umbel_proto::columns::ColumnsBuilder;

const JOB: &str = "0192abcd-ef01-7234-89ab-000102030405";
/// Results in one message, so that a job has several.
const RESULTS: usize = 100;

/// What happened so far, and which links are still to break.
#[derive(Clone, Default)]
pub(crate) struct Script {
    state: Arc<Mutex<State>>,
    appended: Arc<Notify>,
}

#[derive(Default)]
struct State {
    job: Option<v1::Job>,
    request_id: String,
    inputs: Vec<Bytes>,
    /// For each link to come, after how many messages it breaks.
    breaks: VecDeque<usize>,
    links: usize,
}

impl Script {
    /// Serves on a free port; tells the address.
    pub(crate) async fn serve(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = JobServiceServer::new(self).max_decoding_message_size(8 << 20);
        let server = Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        format!("http://{address}")
    }

    /// Lets the next links break, and counts links anew.
    pub(crate) fn break_links_after(&self, messages: impl IntoIterator<Item = usize>) {
        let mut state = self.state();
        state.breaks.extend(messages);
        state.links = 0;
    }

    /// How many streams were opened.
    pub(crate) fn links(&self) -> usize {
        self.state().links
    }

    /// What was taken in.
    pub(crate) fn inputs(&self) -> Vec<Bytes> {
        self.state().inputs.clone()
    }

    /// Whether the job was cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.state()
            .job
            .as_ref()
            .is_some_and(|job| job.state() == JobState::Cancelled)
    }

    /// Waits until so many inputs were taken in.
    pub(crate) async fn until_durable(&self, count: usize) {
        while self.state().inputs.len() < count {
            self.appended.notified().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn open(&self) -> usize {
        let mut state = self.state();
        state.links += 1;
        state.breaks.pop_front().unwrap_or(usize::MAX)
    }

    fn job(&self, id: &str) -> Result<v1::Job, Status> {
        let job = self.state().job.clone();
        job.filter(|job| job.id == id)
            .ok_or_else(|| refusal(Code::NotFound, "UNKNOWN_JOB"))
    }

    /// Takes a block as a coordinator must: what is known is ignored, a gap is refused.
    fn append(&self, message: v1::AppendInputsRequest) -> Result<u64, Status> {
        let Some(Content::Block(block)) = message.content else {
            panic!("blocks are sent")
        };
        let block = Block::parse(block, 6 << 20).unwrap();
        let mut state = self.state();
        let (begin, durable) = (message.first_index as usize, state.inputs.len());
        let end = begin + block.count() as usize;
        if begin > durable || (begin < durable && end > durable) {
            return Err(refusal(Code::FailedPrecondition, "APPEND_GAP"));
        }
        if begin == durable {
            state.inputs.extend(block.entries().shared());
        }
        let durable = state.inputs.len() as u64;
        drop(state);
        self.appended.notify_one();
        Ok(durable)
    }

    async fn appender(
        self,
        mut messages: Streaming<v1::AppendInputsRequest>,
        answers: mpsc::Sender<Result<v1::AppendInputsResponse, Status>>,
    ) {
        let mut left = self.open();
        let Ok(Some(hello)) = messages.message().await else {
            return;
        };
        assert_eq!(hello.job_id, JOB);
        let next_index = self.state().inputs.len() as u64;
        answers
            .send(Ok(v1::AppendInputsResponse { next_index }))
            .await
            .unwrap();
        while let Ok(Some(message)) = messages.message().await {
            let appended = self.append(message);
            left = left.saturating_sub(1);
            let answer = if left == 0 { Err(broken()) } else { appended };
            let ended = answer.is_err();
            let answer = answer.map(|next_index| v1::AppendInputsResponse { next_index });
            if answers.send(answer).await.is_err() || ended {
                return;
            }
        }
    }
}

fn broken() -> Status {
    Status::unavailable("the script breaks the link here")
}

fn refusal(code: Code, reason: &str) -> Status {
    Status::with_error_details(
        code,
        reason,
        ErrorDetails::with_error_info(reason, "umbel", []),
    )
}

/// Inputs as outputs in columns. Nothing else is said of them.
fn in_columns(first: usize, inputs: &[Bytes]) -> v1::ResultsInColumns {
    let mut columns = ColumnsBuilder::new();
    for input in inputs {
        columns.push(input, 1, None, 0);
    }
    let (begin, end) = (first as u64, (first + inputs.len()) as u64);
    v1::ResultsInColumns {
        reported: vec![v1::IndexRange { begin, end }],
        columns: columns.finish(),
        worker: "w".to_owned(),
        ..v1::ResultsInColumns::default()
    }
}

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Breaks a stream of messages after so many.
fn cut<T: Send + 'static>(messages: Vec<T>, after: usize) -> Messages<T> {
    let breaks = after <= messages.len();
    let messages = stream::iter(messages.into_iter().map(Ok)).take(after);
    messages
        .chain(stream::iter(breaks.then(|| Err(broken()))))
        .boxed()
}

type Answer<T> = Result<Response<T>, Status>;

fn not_in_the_script<T>() -> Answer<T> {
    Err(Status::unimplemented("not in the script"))
}

#[tonic::async_trait]
impl JobService for Script {
    type AppendInputsStream = ReceiverStream<Result<v1::AppendInputsResponse, Status>>;
    type WatchJobStream = Messages<v1::WatchJobResponse>;
    type StreamResultsStream = Messages<v1::StreamResultsResponse>;
    type StreamLogsStream = Messages<v1::StreamLogsResponse>;
    type GetCapsuleStream = Messages<v1::GetCapsuleResponse>;

    async fn create_job(
        &self,
        request: Request<v1::CreateJobRequest>,
    ) -> Answer<v1::CreateJobResponse> {
        let request = request.into_inner();
        let mut state = self.state();
        let existed = state.job.is_some() && state.request_id == request.request_id;
        if !existed {
            state.request_id = request.request_id;
            state.job = Some(v1::Job {
                id: JOB.to_owned(),
                state: JobState::Running as i32,
                sealed: request.seal,
                ..v1::Job::default()
            });
            if let Some(Source::Inputs(inline)) = request.source {
                state.inputs = inline.inputs;
            }
        }
        let job = state.job.clone();
        Ok(Response::new(v1::CreateJobResponse {
            job,
            existed,
            warnings: Vec::new(),
        }))
    }

    async fn append_inputs(
        &self,
        request: Request<Streaming<v1::AppendInputsRequest>>,
    ) -> Answer<Self::AppendInputsStream> {
        let (answers, stream) = mpsc::channel(1);
        tokio::spawn(self.clone().appender(request.into_inner(), answers));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn seal_job(&self, request: Request<v1::SealJobRequest>) -> Answer<v1::SealJobResponse> {
        let total = request.into_inner().total;
        let mut state = self.state();
        if total != state.inputs.len() as u64 {
            return Err(refusal(Code::FailedPrecondition, "JOB_SEALED"));
        }
        let job = state.job.as_mut().map(|job| {
            job.sealed = true;
            job.clone()
        });
        Ok(Response::new(v1::SealJobResponse { job }))
    }

    async fn cancel_job(&self, _: Request<v1::CancelJobRequest>) -> Answer<v1::CancelJobResponse> {
        let job = self.state().job.as_mut().map(|job| {
            job.set_state(JobState::Cancelled);
            job.clone()
        });
        Ok(Response::new(v1::CancelJobResponse { job }))
    }

    async fn watch_job(
        &self,
        request: Request<v1::WatchJobRequest>,
    ) -> Answer<Self::WatchJobStream> {
        let left = self.open();
        let running = self.job(&request.into_inner().job_id)?;
        let mut ended = running.clone();
        ended.set_state(JobState::Succeeded);
        // A link that lasts sees the end.
        let job = Some(if left == usize::MAX { ended } else { running });
        Ok(Response::new(cut(vec![v1::WatchJobResponse { job }], left)))
    }

    async fn stream_results(
        &self,
        request: Request<v1::StreamResultsRequest>,
    ) -> Answer<Self::StreamResultsStream> {
        let left = self.open();
        let request = request.into_inner();
        self.job(&request.job_id)?;
        let begin = request.token.parse().unwrap_or(0);
        let inputs = self.inputs();
        let result = |index: usize| v1::Result {
            index: index as u64,
            state: v1::InvocationState::Succeeded as i32,
            output: inputs[index].clone(),
            ..v1::Result::default()
        };
        assert!(request.accept_columns);
        // Half of them in columns, the rest by themselves.
        let messages = (begin..inputs.len()).step_by(RESULTS).map(|first| {
            let end = inputs.len().min(first + RESULTS);
            let middle = first.midpoint(end);
            v1::StreamResultsResponse {
                columns: vec![in_columns(first, &inputs[first..middle])],
                results: (middle..end).map(result).collect(),
                token: end.to_string(),
                ..v1::StreamResultsResponse::default()
            }
        });
        Ok(Response::new(cut(messages.collect(), left)))
    }

    async fn get_job(&self, _: Request<v1::GetJobRequest>) -> Answer<v1::GetJobResponse> {
        not_in_the_script()
    }

    async fn list_jobs(&self, _: Request<v1::ListJobsRequest>) -> Answer<v1::ListJobsResponse> {
        not_in_the_script()
    }

    async fn get_invocation(
        &self,
        _: Request<v1::GetInvocationRequest>,
    ) -> Answer<v1::GetInvocationResponse> {
        not_in_the_script()
    }

    async fn list_invocations(
        &self,
        _: Request<v1::ListInvocationsRequest>,
    ) -> Answer<v1::ListInvocationsResponse> {
        not_in_the_script()
    }

    async fn redrive_job(
        &self,
        _: Request<v1::RedriveJobRequest>,
    ) -> Answer<v1::RedriveJobResponse> {
        not_in_the_script()
    }

    async fn delete_job(&self, _: Request<v1::DeleteJobRequest>) -> Answer<v1::DeleteJobResponse> {
        not_in_the_script()
    }

    async fn stream_logs(
        &self,
        _: Request<v1::StreamLogsRequest>,
    ) -> Answer<Self::StreamLogsStream> {
        not_in_the_script()
    }

    async fn get_capsule(
        &self,
        _: Request<v1::GetCapsuleRequest>,
    ) -> Answer<Self::GetCapsuleStream> {
        not_in_the_script()
    }

    async fn explain_job(
        &self,
        _: Request<v1::ExplainJobRequest>,
    ) -> Answer<v1::ExplainJobResponse> {
        not_in_the_script()
    }
}
