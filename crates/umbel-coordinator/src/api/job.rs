//! `JobService`.

use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use umbel_core::command::Reply;
use umbel_core::event::Event;
use umbel_core::id::JobId;
use umbel_core::view::JobView;
use umbel_proto::v1::job_service_server::JobService;
use umbel_proto::{convert, status, v1};

use super::token::{self, List};
use super::{Api, append, capsule, list, logs, opened, results, unexpected, unknown, watch};

/// Answers that wait for a client to read them.
pub(super) const ANSWERS_MAX: usize = 4;

pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send + 'static>>;

/// The stream of answers; it counts as open until its client has read to the end or is gone.
pub(super) fn answers<T: Send + 'static>(
    open: OwnedSemaphorePermit,
    from: mpsc::Receiver<Result<T, Status>>,
) -> Response<Answers<T>> {
    let answers = ReceiverStream::new(from);
    let answers = answers.map(move |answer| {
        let _open = &open;
        answer
    });
    Response::new(answers.boxed())
}

#[tonic::async_trait]
impl JobService for Api {
    type AppendInputsStream = Answers<v1::AppendInputsResponse>;
    type WatchJobStream = Answers<v1::WatchJobResponse>;
    type StreamResultsStream = Answers<v1::StreamResultsResponse>;
    type StreamLogsStream = Answers<v1::StreamLogsResponse>;
    type GetCapsuleStream = Answers<v1::GetCapsuleResponse>;

    async fn create_job(
        &self,
        request: Request<v1::CreateJobRequest>,
    ) -> Result<Response<v1::CreateJobResponse>, Status> {
        self.create(request.into_inner()).await.map(Response::new)
    }

    async fn append_inputs(
        &self,
        request: Request<Streaming<v1::AppendInputsRequest>>,
    ) -> Result<Response<Self::AppendInputsStream>, Status> {
        let open = opened(&self.uploads)?;
        let (to, from) = mpsc::channel(append::ANSWERS_MAX);
        tokio::spawn(append::append(self.clone(), request.into_inner(), to));
        Ok(answers(open, from))
    }

    async fn seal_job(
        &self,
        request: Request<v1::SealJobRequest>,
    ) -> Result<Response<v1::SealJobResponse>, Status> {
        let v1::SealJobRequest { job_id, total } = request.into_inner();
        let job = self.find(&job_id).await?;
        let view = self.job(|reply| Event::Seal { reply, job, total }).await?;
        Ok(Response::new(v1::SealJobResponse {
            job: Some(convert::job(&view)),
        }))
    }

    async fn get_job(
        &self,
        request: Request<v1::GetJobRequest>,
    ) -> Result<Response<v1::GetJobResponse>, Status> {
        let view = self.view(&request.into_inner().job_id).await?;
        Ok(Response::new(v1::GetJobResponse {
            job: Some(convert::job(&view)),
        }))
    }

    async fn list_jobs(
        &self,
        request: Request<v1::ListJobsRequest>,
    ) -> Result<Response<v1::ListJobsResponse>, Status> {
        self.jobs(request.into_inner()).await.map(Response::new)
    }

    async fn watch_job(
        &self,
        request: Request<v1::WatchJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        let open = opened(&self.watches)?;
        let view = self.view(&request.into_inner().job_id).await?;
        let (to, from) = mpsc::channel(ANSWERS_MAX);
        tokio::spawn(watch::watch(self.clone(), view.record.id, to));
        Ok(answers(open, from))
    }

    async fn stream_results(
        &self,
        request: Request<v1::StreamResultsRequest>,
    ) -> Result<Response<Self::StreamResultsStream>, Status> {
        let open = opened(&self.results)?;
        let request = request.into_inner();
        let view = self.view(&request.job_id).await?;
        let wish = results::Wish::new(&request, &view)?;
        let (to, from) = mpsc::channel(ANSWERS_MAX);
        tokio::spawn(results::stream(self.clone(), wish, to));
        Ok(answers(open, from))
    }

    async fn stream_logs(
        &self,
        request: Request<v1::StreamLogsRequest>,
    ) -> Result<Response<Self::StreamLogsStream>, Status> {
        let open = opened(&self.results)?;
        let request = request.into_inner();
        let view = self.view(&request.job_id).await?;
        let wish = logs::Wish::new(&request, &view)?;
        let (to, from) = mpsc::channel(ANSWERS_MAX);
        tokio::spawn(logs::stream(self.clone(), wish, to));
        Ok(answers(open, from))
    }

    async fn get_capsule(
        &self,
        request: Request<v1::GetCapsuleRequest>,
    ) -> Result<Response<Self::GetCapsuleStream>, Status> {
        let open = opened(&self.results)?;
        let parts = self.capsule(request.into_inner()).await?;
        let (to, from) = mpsc::channel(ANSWERS_MAX);
        tokio::spawn(capsule::send(parts, to));
        Ok(answers(open, from))
    }

    async fn get_invocation(
        &self,
        request: Request<v1::GetInvocationRequest>,
    ) -> Result<Response<v1::GetInvocationResponse>, Status> {
        let v1::GetInvocationRequest { job_id, index } = request.into_inner();
        let view = self.view(&job_id).await?;
        let invocation = Some(self.invocation(&view, index).await?);
        Ok(Response::new(v1::GetInvocationResponse { invocation }))
    }

    async fn list_invocations(
        &self,
        request: Request<v1::ListInvocationsRequest>,
    ) -> Result<Response<v1::ListInvocationsResponse>, Status> {
        self.invocations(request.into_inner())
            .await
            .map(Response::new)
    }

    async fn cancel_job(
        &self,
        request: Request<v1::CancelJobRequest>,
    ) -> Result<Response<v1::CancelJobResponse>, Status> {
        let job = self.find(&request.into_inner().job_id).await?;
        let view = self.job(|reply| Event::Cancel { reply, job }).await?;
        Ok(Response::new(v1::CancelJobResponse {
            job: Some(convert::job(&view)),
        }))
    }

    async fn delete_job(
        &self,
        request: Request<v1::DeleteJobRequest>,
    ) -> Result<Response<v1::DeleteJobResponse>, Status> {
        let job = self.find(&request.into_inner().job_id).await?;
        match self.ask(|reply| Event::Delete { reply, job }).await? {
            Reply::Done => Ok(Response::new(v1::DeleteJobResponse {})),
            reply => Err(unexpected(&reply)),
        }
    }

    async fn redrive_job(
        &self,
        request: Request<v1::RedriveJobRequest>,
    ) -> Result<Response<v1::RedriveJobResponse>, Status> {
        self.redrive(request.into_inner()).await.map(Response::new)
    }

    async fn explain_job(
        &self,
        request: Request<v1::ExplainJobRequest>,
    ) -> Result<Response<v1::ExplainJobResponse>, Status> {
        let job = self.find(&request.into_inner().job_id).await?;
        let explained = self.engine.look(move |machine, now| {
            Some((
                machine.job_view(job)?,
                machine.explain(now, job).unwrap_or_default(),
            ))
        });
        let explained = explained.await.map_err(|closed| self.gone(closed))?;
        let (view, reasons) = explained.ok_or_else(|| unknown(job))?;
        Ok(Response::new(v1::ExplainJobResponse {
            job: Some(convert::job(&view)),
            reasons: reasons.into_iter().map(convert::wait_reason).collect(),
        }))
    }
}

impl Api {
    /// Hands in what changes a job; gives it as it is afterwards.
    async fn job(
        &self,
        event: impl FnOnce(umbel_core::id::ReplyId) -> Event,
    ) -> Result<Box<JobView>, Status> {
        match self.ask(event).await? {
            Reply::Job(view) => Ok(view),
            reply => Err(unexpected(&reply)),
        }
    }

    async fn jobs(&self, request: v1::ListJobsRequest) -> Result<v1::ListJobsResponse, Status> {
        let limit = list::page_size(request.page_size)?;
        let state = convert::job_state("state", request.state).map_err(status::invalid)?;
        let labels = request.labels;
        let scope = format!("{state:?} {labels:?}");
        let place = token::decode(
            List::Jobs,
            scope.as_bytes(),
            "page_token",
            &request.page_token,
        )?;
        let before = place.map(|place| {
            place
                .try_into()
                .map(JobId)
                .map_err(|_| token::bad("page_token"))
        });
        let before = before.transpose()?;
        let accept = move |view: &JobView| {
            let held = &view.record.spec.labels;
            state.is_none_or(|state| state == view.status.state)
                && labels
                    .iter()
                    .all(|(key, value)| held.get(key) == Some(value))
        };
        let page = self
            .engine
            .look(move |machine, _| machine.jobs(before, limit, &accept));
        let (views, mut next) = page.await.map_err(|closed| self.gone(closed))?;
        let mut jobs = views.iter().map(convert::job).collect();
        if list::cut(&mut jobs) {
            next = views.get(jobs.len() - 1).map(|view| view.record.id);
        }
        let next = next.map(|next| token::encode(List::Jobs, scope.as_bytes(), &next.0));
        Ok(v1::ListJobsResponse {
            jobs,
            next_page_token: next.unwrap_or_default(),
        })
    }
}
