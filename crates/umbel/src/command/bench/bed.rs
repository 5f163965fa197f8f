//! What every scenario starts from: a coordinator, a client, workers, and jobs whose results are
//! verified.

use umbel_client::{Client, JobSpec, ResultRow};

use crate::exit::Exit;
use crate::fan_out::{Ended, differs, fan_out, inputs};
use crate::local::LocalCluster;

/// The function of which nothing but umbel's own cost is left.
pub(super) const INCREMENT: &str = "umbel.increment";
/// Invocations that are run before anything is measured, so that every process has its memory and
/// its links.
const WARM_UP: u32 = 2_000;

/// A cluster of real processes, with this process as its client.
#[derive(Debug)]
pub(super) struct Bed {
    pub(super) cluster: LocalCluster,
    pub(super) client: Client,
}

impl Bed {
    /// Starts a coordinator with empty data.
    pub(super) async fn start() -> Result<Self, Exit> {
        let cluster = LocalCluster::start().await?;
        let client = Client::connect(&cluster.url)?;
        Ok(Self { cluster, client })
    }

    /// Starts so many workers of so many slots, and warms everything up.
    pub(super) async fn workers(&mut self, workers: u32, slots: u32) -> Result<(), Exit> {
        let slots = slots.to_string();
        for _ in 0..workers {
            self.cluster
                .add_worker(&["worker", "start", "--slots", &slots])
                .await?;
        }
        self.warm_up().await
    }

    /// Starts a worker for functions of its own or published ones, whose artifacts it keeps where
    /// they go with the bench.
    pub(super) async fn worker_of(&mut self, options: &[&str]) -> Result<(), Exit> {
        let cache = self.cluster.directory().join("cache");
        let cache = cache.to_string_lossy();
        let command = [&["worker", "start", "--cache", &cache], options].concat();
        self.cluster.add_worker(&command).await
    }

    /// Runs a small job.
    pub(super) async fn warm_up(&self) -> Result<(), Exit> {
        let ended = increments(&self.client, 0, WARM_UP, false).await?;
        wrong(&ended).map_or(Ok(()), |wrong| Err(Exit::failed(wrong)))
    }
}

/// A job over the numbers from `first` on, sent or as a range, each to be one more.
pub(super) async fn increments(
    client: &Client,
    first: u32,
    total: u32,
    as_range: bool,
) -> Result<Ended, Exit> {
    let submission = client.submit(JobSpec::function(INCREMENT).start_as_appended());
    let upload = if as_range {
        let range = first.into()..u64::from(first) + u64::from(total);
        submission.begin_range(range).await?
    } else {
        let inputs = inputs(total, |index| (first + index).to_string());
        submission.begin(inputs).await?
    };
    let wrong =
        |result: &ResultRow<'_>| differs(result, (u64::from(first) + result.index + 1).to_string());
    fan_out(client, upload, total, wrong, |_| {}).await
}

/// A job of any function, whose outputs are known.
pub(super) async fn verified(
    client: &Client,
    function: &str,
    total: u32,
    input: impl Fn(u32) -> String + Send,
    output: impl Fn(u32) -> String,
) -> Result<Ended, Exit> {
    let spec = JobSpec::function(function).start_as_appended();
    let upload = client.submit(spec).begin(inputs(total, input)).await?;
    let wrong = |result: &ResultRow<'_>| differs(result, output(result.index as u32));
    fan_out(client, upload, total, wrong, |_| {}).await
}

/// What was wrong with the results of a job.
pub(super) fn wrong(ended: &Ended) -> Option<String> {
    (!ended.tally.is_perfect()).then(|| {
        let wrong = ended.tally.first_wrong.clone();
        wrong.unwrap_or_else(|| format!("of the results {}", ended.tally.sentence()))
    })
}
