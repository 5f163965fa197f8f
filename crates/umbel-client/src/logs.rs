//! What a job's invocations printed.

use std::ops::Range;

use futures::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use tonic::Streaming;
use umbel_proto::v1;

use crate::patience::Patience;
use crate::{Client, Error};

/// Which logs to read. By default: all that are there now.
#[derive(Clone, Debug, Default)]
pub struct LogsOptions {
    follow: bool,
    range: Option<Range<u64>>,
}

impl LogsOptions {
    /// Waits for logs that are not there yet, until the job has ended.
    #[must_use]
    pub const fn follow(mut self) -> Self {
        self.follow = true;
        self
    }

    /// Only of these indices.
    #[must_use]
    pub const fn range(mut self, range: Range<u64>) -> Self {
        self.range = Some(range);
        self
    }
}

impl Client {
    /// What a job's invocations printed, in the order in which they ended: of failures always, of
    /// successes where the job's policy keeps it. Goes on from where it was when the link breaks.
    pub fn logs(
        &self,
        job: &str,
        options: LogsOptions,
    ) -> impl Stream<Item = Result<v1::InvocationLog, Error>> + Send + use<> {
        let reader = Reader {
            client: self.clone(),
            request: v1::StreamLogsRequest {
                job_id: job.to_owned(),
                token: String::new(),
                follow: options.follow,
                range: options.range.map(|range| v1::IndexRange {
                    begin: range.start,
                    end: range.end,
                }),
            },
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

struct Reader {
    client: Client,
    request: v1::StreamLogsRequest,
    link: Option<Streaming<v1::StreamLogsResponse>>,
    patience: Patience,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Vec<v1::InvocationLog>>, Error> {
        loop {
            match self.heard().await {
                Ok(Some(response)) => {
                    self.patience.progress();
                    self.request.token = response.token;
                    return Ok(Some(response.logs));
                }
                Ok(None) => return Ok(None),
                Err(error) => {
                    self.link = None;
                    self.patience.bear(error).await?;
                }
            }
        }
    }

    async fn heard(&mut self) -> Result<Option<v1::StreamLogsResponse>, Error> {
        if self.link.is_none() {
            let answer = self.client.jobs().stream_logs(self.request.clone()).await;
            self.link = Some(self.client.answer(answer)?.into_inner());
        }
        let link = self.client.present(self.link.as_mut(), "link")?;
        self.client.answer(link.message().await)
    }
}
