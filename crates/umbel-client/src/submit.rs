//! From a spec and inputs to an accepted job.

use std::ops::Range;

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt as _};
use tokio::time::timeout;
use umbel_core::limit::{INLINE_BYTES_MAX, INLINE_INPUTS_MAX, INPUT_BYTES_MAX};
use umbel_proto::v1;
use umbel_proto::v1::create_job_request::Source as Inline;
use uuid::Uuid;

use crate::blocks::{Blocks, LINGER, Source};
use crate::error::SourceError;
use crate::patience::Patience;
use crate::window::Window;
use crate::{Client, Error, JobSpec};

/// A job that waits for its inputs. Made by [`Client::submit`].
#[derive(Debug)]
#[must_use = "a job is submitted with its inputs"]
pub struct Submission {
    client: Client,
    spec: JobSpec,
    request_id: Option<String>,
}

/// An accepted job whose inputs may still have to be sent.
pub struct Upload<'a> {
    pub(crate) client: Client,
    pub(crate) job: v1::Job,
    existed: bool,
    warnings: Vec<String>,
    pub(crate) blocks: Blocks<'a>,
    pub(crate) window: Window,
    /// The highest index below which all inputs are known to be durable.
    pub(crate) durable: u64,
    /// All inputs went in with the job itself.
    pub(crate) complete: bool,
}

impl Submission {
    pub(crate) const fn new(client: Client, spec: JobSpec) -> Self {
        Self {
            client,
            spec,
            request_id: None,
        }
    }

    /// Makes the submission idempotent across processes: the same id gives the same job, and an
    /// upload that broke goes on where it was. Without it a submission is idempotent only within
    /// itself.
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.request_id = Some(id.into());
        self
    }

    /// Submits a job over a range: input i is the decimal number `range.start + i`.
    ///
    /// # Errors
    /// The coordinator refused, or cannot be reached.
    pub async fn range(self, range: Range<u64>) -> Result<v1::Job, Error> {
        Ok(self.begin_range(range).await?.job)
    }

    /// Submits a job with these inputs, and answers once all of them are durable.
    ///
    /// # Errors
    /// The coordinator refused or cannot be reached, or an input is too large; then the job is
    /// cancelled.
    pub async fn inputs<I>(self, inputs: I) -> Result<v1::Job, Error>
    where
        I: IntoIterator<IntoIter: Send, Item: Into<Bytes>>,
    {
        let inputs = inputs.into_iter().map(|input| Ok(input.into()));
        self.begin(stream::iter(inputs)).await?.finish().await
    }

    /// Submits a job with the inputs of a stream, which may fail midway: then the job is
    /// cancelled.
    ///
    /// # Errors
    /// As [`Submission::inputs`], and [`Error::Source`].
    pub async fn stream<'a, S>(self, inputs: S) -> Result<v1::Job, Error>
    where
        S: Stream<Item = Result<Bytes, SourceError>> + Send + 'a,
    {
        self.begin(inputs).await?.finish().await
    }

    /// Has the job accepted, over a range; nothing is left to upload.
    ///
    /// # Errors
    /// The coordinator refused, or cannot be reached.
    pub async fn begin_range(self, range: Range<u64>) -> Result<Upload<'static>, Error> {
        let source = Inline::Range(v1::IndexRange {
            begin: range.start,
            end: range.end,
        });
        self.create(Some(source), stream::empty().boxed()).await
    }

    /// Has the job accepted before its inputs are all there. [`Upload::finish`] sends them.
    ///
    /// Few inputs travel with the job itself. To find out, the first ones are awaited for a
    /// moment; with a request id as long as it takes, since what is sent under one id must not
    /// depend on time.
    ///
    /// # Errors
    /// The coordinator refused or cannot be reached, or one of the first inputs is too large or
    /// failed; then there is no job.
    pub async fn begin<'a, S>(self, inputs: S) -> Result<Upload<'a>, Error>
    where
        S: Stream<Item = Result<Bytes, SourceError>> + Send + 'a,
    {
        let mut source = inputs.boxed();
        let (head, ended) = first_inputs(&mut source, self.request_id.is_some()).await?;
        if ended {
            return self
                .create(Some(Inline::Inputs(v1::Inputs { inputs: head })), source)
                .await;
        }
        let source = stream::iter(head.into_iter().map(Ok)).chain(source).boxed();
        self.create(None, source).await
    }

    async fn create<'a>(
        self,
        inline: Option<Inline>,
        source: Source<'a>,
    ) -> Result<Upload<'a>, Error> {
        let complete = inline.is_some();
        let request = v1::CreateJobRequest {
            request_id: self
                .request_id
                .unwrap_or_else(|| Uuid::new_v4().to_string()),
            spec: Some(self.spec.into()),
            source: inline,
            seal: complete,
        };
        let client = self.client;
        let mut patience = Patience::new(&client);
        let response = loop {
            // The request id makes it safe to ask again after a link broke in between.
            match client.answer(client.jobs().create_job(request.clone()).await) {
                Ok(response) => break response.into_inner(),
                Err(error) => patience.bear(error).await?,
            }
        };
        let job = client.present(response.job, "job")?;
        Ok(Upload {
            client,
            job,
            existed: response.existed,
            warnings: response.warnings,
            blocks: Blocks::new(source),
            window: Window::default(),
            durable: 0,
            complete,
        })
    }
}

impl Upload<'_> {
    /// The job as it was accepted.
    pub const fn job(&self) -> &v1::Job {
        &self.job
    }

    /// Whether the request id was known, so that this is an earlier job.
    pub const fn existed(&self) -> bool {
        self.existed
    }

    /// Things worth a person's notice, such as a target that no worker has now.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether all inputs went in with the job itself, so that nothing is left to send.
    pub const fn is_complete(&self) -> bool {
        self.complete
    }
}

impl std::fmt::Debug for Upload<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Upload");
        shown
            .field("job", &self.job.id)
            .field("complete", &self.complete)
            .finish_non_exhaustive()
    }
}

/// The first inputs of a source, up to what may travel inside `CreateJob`, and whether these are
/// all.
async fn first_inputs(source: &mut Source<'_>, patient: bool) -> Result<(Vec<Bytes>, bool), Error> {
    let (mut head, mut bytes) = (Vec::new(), 0);
    loop {
        let next = if patient {
            source.next().await
        } else {
            match timeout(LINGER, source.next()).await {
                Ok(next) => next,
                Err(_) => return Ok((head, false)),
            }
        };
        let Some(input) = next else {
            return Ok((head, true));
        };
        let input = input.map_err(Error::Source)?;
        if input.len() > INPUT_BYTES_MAX {
            let index = head.len() as u64;
            return Err(Error::InputTooLarge {
                index,
                bytes: input.len(),
                max: INPUT_BYTES_MAX,
            });
        }
        bytes += input.len();
        head.push(input);
        if head.len() > INLINE_INPUTS_MAX || bytes > INLINE_BYTES_MAX {
            return Ok((head, false));
        }
    }
}
