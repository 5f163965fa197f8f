//! Questions with one answer.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use umbel_core::limit::PAGE_SIZE_MAX;
use umbel_proto::v1;

use crate::{Client, Error};

const PAGE: i32 = PAGE_SIZE_MAX as i32;

/// Which jobs to list.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// Only jobs in this state.
    pub state: Option<v1::JobState>,
    /// Only jobs that bear all of these labels.
    pub labels: BTreeMap<String, String>,
    /// At most so many.
    pub limit: Option<usize>,
}

/// Jobs. A job is named by its id, its name (then the newest of that name) or `last`.
impl Client {
    /// Where a job stands.
    ///
    /// # Errors
    /// `UNKNOWN_JOB`, or the coordinator cannot be reached.
    pub async fn get(&self, job: &str) -> Result<v1::Job, Error> {
        let request = v1::GetJobRequest {
            job_id: job.to_owned(),
        };
        let response = self
            .answer(self.jobs().get_job(request).await)?
            .into_inner();
        self.present(response.job, "job")
    }

    /// Jobs, newest first.
    ///
    /// # Errors
    /// The coordinator cannot be reached.
    pub async fn list(&self, options: ListOptions) -> Result<Vec<v1::Job>, Error> {
        let limit = options.limit.unwrap_or(usize::MAX);
        let mut jobs = Vec::new();
        let mut page_token = String::new();
        while jobs.len() < limit {
            let request = v1::ListJobsRequest {
                page_size: (limit - jobs.len()).min(PAGE_SIZE_MAX) as i32,
                page_token,
                state: options.state.unwrap_or_default() as i32,
                labels: options.labels.clone(),
            };
            let response = self
                .answer(self.jobs().list_jobs(request).await)?
                .into_inner();
            jobs.extend(response.jobs);
            page_token = response.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        jobs.truncate(limit);
        Ok(jobs)
    }

    /// Ends a running job; what is not final becomes cancelled.
    ///
    /// # Errors
    /// `UNKNOWN_JOB`, `JOB_FINISHED`, or the coordinator cannot be reached.
    pub async fn cancel(&self, job: &str) -> Result<v1::Job, Error> {
        let request = v1::CancelJobRequest {
            job_id: job.to_owned(),
        };
        let response = self
            .answer(self.jobs().cancel_job(request).await)?
            .into_inner();
        self.present(response.job, "job")
    }

    /// Forgets an ended job with its inputs and results.
    ///
    /// # Errors
    /// `UNKNOWN_JOB`, the job still runs, or the coordinator cannot be reached.
    pub async fn delete(&self, job: &str) -> Result<(), Error> {
        let request = v1::DeleteJobRequest {
            job_id: job.to_owned(),
        };
        self.answer(self.jobs().delete_job(request).await)?;
        Ok(())
    }

    /// Why a job's invocations wait.
    ///
    /// # Errors
    /// `UNKNOWN_JOB`, or the coordinator cannot be reached.
    pub async fn explain(&self, job: &str) -> Result<v1::ExplainJobResponse, Error> {
        let request = v1::ExplainJobRequest {
            job_id: job.to_owned(),
        };
        Ok(self
            .answer(self.jobs().explain_job(request).await)?
            .into_inner())
    }

    /// Where one invocation stands.
    ///
    /// # Errors
    /// `UNKNOWN_JOB`, no such index, or the coordinator cannot be reached.
    pub async fn invocation(&self, job: &str, index: u64) -> Result<v1::Invocation, Error> {
        let request = v1::GetInvocationRequest {
            job_id: job.to_owned(),
            index,
        };
        let response = self
            .answer(self.jobs().get_invocation(request).await)?
            .into_inner();
        self.present(response.invocation, "invocation")
    }

    /// Where a job's invocations stand, in input order, without outputs; only those in `state` if
    /// it is given.
    pub fn invocations(
        &self,
        job: &str,
        state: Option<v1::InvocationState>,
    ) -> impl Stream<Item = Result<v1::Invocation, Error>> + Send + use<> {
        let request = v1::ListInvocationsRequest {
            job_id: job.to_owned(),
            page_size: PAGE,
            page_token: String::new(),
            state: state.unwrap_or_default() as i32,
        };
        let client = self.clone();
        let pages = stream::try_unfold(Some(request), move |request| {
            let client = client.clone();
            async move {
                let Some(request) = request else {
                    return Ok::<_, Error>(None);
                };
                let answer = client.jobs().list_invocations(request.clone()).await;
                let page = client.answer(answer)?.into_inner();
                let next = (!page.next_page_token.is_empty()).then_some({
                    v1::ListInvocationsRequest {
                        page_token: page.next_page_token,
                        ..request
                    }
                });
                Ok(Some((page.invocations, next)))
            }
        });
        pages
            .map_ok(|page| stream::iter(page).map(Ok))
            .try_flatten()
    }
}

/// Functions and the cluster.
impl Client {
    /// Runs one invocation of a function and answers its outcome from memory; nothing is stored.
    /// `timeout_ms` bounds its wait and its run together.
    ///
    /// # Errors
    /// `UNKNOWN_FUNCTION`, `NO_ABLE_WORKER`, `INVOKE_TIMEOUT`, or the coordinator cannot be
    /// reached. A function that fails is an outcome, not an error.
    pub async fn invoke(
        &self,
        target: &str,
        input: impl Into<Bytes>,
        timeout_ms: u64,
    ) -> Result<v1::InvokeResponse, Error> {
        let request = v1::InvokeRequest {
            target: target.to_owned(),
            program: None,
            input: input.into(),
            timeout_ms,
        };
        Ok(self
            .answer(self.function_service().invoke(request).await)?
            .into_inner())
    }

    /// The functions that are known, by name.
    ///
    /// # Errors
    /// The coordinator cannot be reached.
    pub async fn functions(&self) -> Result<Vec<v1::Function>, Error> {
        let mut functions = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = v1::ListFunctionsRequest {
                page_size: PAGE,
                page_token,
            };
            let answer = self.function_service().list_functions(request).await;
            let response = self.answer(answer)?.into_inner();
            functions.extend(response.functions);
            page_token = response.next_page_token;
            if page_token.is_empty() {
                return Ok(functions);
            }
        }
    }

    /// The workers, by name.
    ///
    /// # Errors
    /// The coordinator cannot be reached.
    pub async fn workers(&self) -> Result<Vec<v1::Worker>, Error> {
        let mut workers = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = v1::ListWorkersRequest {
                page_size: PAGE,
                page_token,
            };
            let answer = self.cluster().list_workers(request).await;
            let response = self.answer(answer)?.into_inner();
            workers.extend(response.workers);
            page_token = response.next_page_token;
            if page_token.is_empty() {
                return Ok(workers);
            }
        }
    }

    /// Asks a worker to take nothing new, finish and leave.
    ///
    /// # Errors
    /// No such worker, or the coordinator cannot be reached.
    pub async fn drain(&self, worker: &str) -> Result<(), Error> {
        let request = v1::DrainWorkerRequest {
            name: worker.to_owned(),
        };
        self.answer(self.cluster().drain_worker(request).await)?;
        Ok(())
    }

    /// How the cluster stands.
    ///
    /// # Errors
    /// The coordinator cannot be reached.
    pub async fn status(&self) -> Result<v1::GetClusterStatusResponse, Error> {
        let request = v1::GetClusterStatusRequest {};
        Ok(self
            .answer(self.cluster().get_cluster_status(request).await)?
            .into_inner())
    }
}
