//! A job's results, as a stream that outlives its link.

use std::ops::Range;

use futures::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use tonic::Streaming;
use umbel_proto::convert::{OpenedResults, wire_cold_start};
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
            accept_columns: true,
            range: self.range.map(|range| v1::IndexRange {
                begin: range.start,
                end: range.end,
            }),
        }
    }
}

/// Some results of a job, as they came together. Reading them out costs no copy.
#[derive(Clone, Debug, Default)]
pub struct ResultsPage {
    columns: Vec<OpenedResults>,
    results: Vec<v1::Result>,
}

/// One result on its page.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultRow<'a> {
    /// Which input.
    pub index: u64,
    /// Succeeded, failed or cancelled.
    pub state: v1::InvocationState,
    /// What the function gave back, if it succeeded.
    pub output: &'a [u8],
    /// Why it failed, if it did.
    pub failure: Option<&'a v1::Failure>,
    /// Attempts that were made.
    pub attempts: u32,
    /// The function that ran.
    pub function: &'a str,
    /// The worker that ran the final attempt.
    pub worker: &'a str,
    /// The number of the version that ran, of a published function.
    pub version: Option<u32>,
    /// The arm that it ran for, where the rules or the split of an alias decided; empty: none.
    pub arm: &'a str,
    /// When the final attempt began, in microseconds since 1970; 0: not known.
    pub started_at_us: u64,
    /// How long the final attempt ran.
    pub duration_us: Option<u64>,
    /// Processor time of the final attempt.
    pub cpu_us: Option<u64>,
    /// What it took to have an instance, where none stood ready.
    pub cold_start: Option<v1::ColdStart>,
}

impl ResultsPage {
    /// How many results.
    #[must_use]
    pub fn len(&self) -> u64 {
        let columns: u64 = self.columns.iter().map(OpenedResults::len).sum();
        columns + self.results.len() as u64
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The results, in the order that was asked for.
    pub fn rows(&self) -> impl Iterator<Item = ResultRow<'_>> {
        let columns = self.columns.iter().flat_map(rows_of);
        columns.chain(self.results.iter().map(row_of))
    }

    /// The same as messages of their own.
    fn into_results(self) -> impl Iterator<Item = v1::Result> {
        let columns = self.columns.into_iter();
        let columns = columns.flat_map(|columns| columns.results().collect::<Vec<_>>());
        columns.chain(self.results)
    }

    fn open(response: v1::StreamResultsResponse, client: &Client) -> Result<Self, Error> {
        let columns = response.columns.into_iter().map(|columns| {
            OpenedResults::open(columns).map_err(|invalid| client.nonsense(invalid.to_string()))
        });
        Ok(Self {
            columns: columns.collect::<Result<_, _>>()?,
            results: response.results,
        })
    }
}

fn rows_of(columns: &OpenedResults) -> impl Iterator<Item = ResultRow<'_>> {
    columns.rows().map(|row| ResultRow {
        index: row.index.into(),
        state: v1::InvocationState::Succeeded,
        output: row.output,
        failure: None,
        attempts: columns.attempts,
        function: &columns.function,
        worker: &columns.worker,
        version: columns.version,
        arm: &columns.arm,
        started_at_us: row.started_at_us,
        duration_us: row.duration_us,
        cpu_us: row.cpu_us,
        cold_start: row.cold_start.map(wire_cold_start),
    })
}

fn row_of(result: &v1::Result) -> ResultRow<'_> {
    ResultRow {
        index: result.index,
        state: result.state(),
        output: &result.output,
        failure: result.failure.as_ref(),
        attempts: result.attempts,
        function: &result.function,
        worker: &result.worker,
        version: result.version,
        arm: &result.arm,
        started_at_us: result.started_at_us,
        duration_us: result.duration_us,
        cpu_us: result.cpu_us,
        cold_start: result.cold_start,
    }
}

impl Client {
    /// A job's results. Goes on from where it was when the link breaks, so that no result is
    /// missing and none comes twice. Name the job by its id: `last` may be another one by then.
    pub fn results(
        &self,
        job: &str,
        options: ResultsOptions,
    ) -> impl Stream<Item = Result<v1::Result, Error>> + Send + use<> {
        self.results_pages(job, options)
            .map_ok(|page| stream::iter(page.into_results()).map(Ok))
            .try_flatten()
            .boxed()
    }

    /// The same by the page: for those who read very many, since a result on its page takes no
    /// memory of its own.
    pub fn results_pages(
        &self,
        job: &str,
        options: ResultsOptions,
    ) -> impl Stream<Item = Result<ResultsPage, Error>> + Send + use<> {
        let reader = Reader {
            client: self.clone(),
            request: options.request(job),
            link: None,
            patience: Patience::new(self),
        };
        stream::try_unfold(reader, |mut reader| async move {
            Ok::<_, Error>(reader.next().await?.map(|page| (page, reader)))
        })
        .boxed()
    }
}

struct Reader {
    client: Client,
    request: v1::StreamResultsRequest,
    link: Option<Streaming<v1::StreamResultsResponse>>,
    patience: Patience,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<ResultsPage>, Error> {
        loop {
            match self.heard().await {
                Ok(Some(response)) => {
                    self.patience.progress();
                    self.request.token.clone_from(&response.token);
                    return ResultsPage::open(response, &self.client).map(Some);
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
