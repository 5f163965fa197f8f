//! A job's states, as a stream that outlives its link.

use futures::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use tonic::Streaming;
use umbel_proto::v1;

use crate::patience::Patience;
use crate::{Client, Error};

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
