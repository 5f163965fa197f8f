//! Streams that outlive their link: a job's states, and its results.

use std::ops::Range;

use futures::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use tonic::Streaming;
use umbel_proto::v1;

use crate::patience::Patience;
use crate::{Client, Error};

/// Which results to read, and in which order. By default: all that are there now, by index.
#[derive(Clone, Debug, Default)]
pub struct ResultsOptions {
    completion_order: bool,
    follow: bool,
    state: Option<v1::InvocationState>,
    range: Option<Range<u64>>,
}

impl ResultsOptions {
    /// As they were recorded, not by index.
    #[must_use]
    pub const fn as_completed(mut self) -> Self {
        self.completion_order = true;
        self
    }

    /// Waits for results that are not there yet, until the job has ended.
    #[must_use]
    pub const fn follow(mut self) -> Self {
        self.follow = true;
        self
    }

    /// Only results in this state.
    #[must_use]
    pub const fn state(mut self, state: v1::InvocationState) -> Self {
        self.state = Some(state);
        self
    }

    /// Only these indices.
    #[must_use]
    pub const fn range(mut self, range: Range<u64>) -> Self {
        self.range = Some(range);
        self
    }

    fn request(self, job: &str) -> v1::StreamResultsRequest {
        let order = if self.completion_order {
            v1::ResultOrder::Completion
        } else {
            v1::ResultOrder::Input
        };
        v1::StreamResultsRequest {
            job_id: job.to_owned(),
            order: order as i32,
            token: String::new(),
            follow: self.follow,
            state: self.state.unwrap_or_default() as i32,
            range: self.range.map(|range| v1::IndexRange {
                begin: range.start,
                end: range.end,
            }),
        }
    }
}

impl Client {
    /// A job's state now and whenever it changes, until it has ended. Connects again when the
    /// link breaks.
    pub fn watch(&self, job: &str) -> impl Stream<Item = Result<v1::Job, Error>> + Send + use<> {
        let watch = Watch {
            client: self.clone(),
            job: job.to_owned(),
            link: None,
            ended: false,
            patience: Patience::new(self),
        };
        stream::try_unfold(watch, |mut watch| async move {
            Ok(watch.next().await?.map(|job| (job, watch)))
        })
        .boxed()
    }

    /// Follows a job to its end and tells how it ended.
    ///
    /// # Errors
    /// As [`Client::watch`].
    pub async fn wait(&self, job: &str) -> Result<v1::Job, Error> {
        let last = self
            .watch(job)
            .try_fold(None, |_, job| async { Ok(Some(job)) })
            .await?;
        self.present(last, "state of the job")
    }

    /// A job's results. Goes on from where it was when the link breaks, so that no result is
    /// missing and none comes twice. Name the job by its id: `last` may be another one by then.
    pub fn results(
        &self,
        job: &str,
        options: ResultsOptions,
    ) -> impl Stream<Item = Result<v1::Result, Error>> + Send + use<> {
        let reader = Reader {
            client: self.clone(),
            request: options.request(job),
            link: None,
            patience: Patience::new(self),
        };
        stream::try_unfold(reader, |mut reader| async move {
            Ok::<_, Error>(reader.next().await?.map(|some| (some, reader)))
        })
        .map_ok(|some| stream::iter(some).map(Ok))
        .try_flatten()
        .boxed()
    }
}

struct Watch {
    client: Client,
    job: String,
    link: Option<Streaming<v1::WatchJobResponse>>,
    ended: bool,
    patience: Patience,
}

impl Watch {
    async fn next(&mut self) -> Result<Option<v1::Job>, Error> {
        if self.ended {
            return Ok(None);
        }
        loop {
            match self.heard().await {
                Ok(job) => {
                    self.patience.progress();
                    // A name may mean another job by the time the link has broken.
                    self.job.clone_from(&job.id);
                    self.ended = job.state() != v1::JobState::Running;
                    return Ok(Some(job));
                }
                Err(error) => {
                    self.link = None;
                    self.patience.bear(error).await?;
                }
            }
        }
    }

    async fn heard(&mut self) -> Result<v1::Job, Error> {
        if self.link.is_none() {
            let request = v1::WatchJobRequest {
                job_id: self.job.clone(),
            };
            let answer = self.client.jobs().watch_job(request).await;
            self.link = Some(self.client.answer(answer)?.into_inner());
        }
        let link = self.client.present(self.link.as_mut(), "link")?;
        let response = self.client.answer(link.message().await)?;
        let response =
            response.ok_or_else(|| self.client.broken("the stream ended before the job"))?;
        self.client.present(response.job, "job")
    }
}

struct Reader {
    client: Client,
    request: v1::StreamResultsRequest,
    link: Option<Streaming<v1::StreamResultsResponse>>,
    patience: Patience,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Vec<v1::Result>>, Error> {
        loop {
            match self.heard().await {
                Ok(Some(response)) => {
                    self.patience.progress();
                    self.request.token = response.token;
                    return Ok(Some(response.results));
                }
                Ok(None) => return Ok(None),
                Err(error) => {
                    self.link = None;
                    self.patience.bear(error).await?;
                }
            }
        }
    }

    async fn heard(&mut self) -> Result<Option<v1::StreamResultsResponse>, Error> {
        if self.link.is_none() {
            let answer = self
                .client
                .jobs()
                .stream_results(self.request.clone())
                .await;
            self.link = Some(self.client.answer(answer)?.into_inner());
        }
        let link = self.client.present(self.link.as_mut(), "link")?;
        self.client.answer(link.message().await)
    }
}
