//! `umbel bench restart`: a coordinator that was killed with much in its store.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use umbel_client::{Client, JobSpec, ResultsOptions, v1};
use umbel_core::limit;

use super::bed::{Bed, INCREMENT, increments, wrong};
use super::meter::{Meter, Run};
use super::{deletes, from_1_to, usage};
use crate::exit::Exit;
use crate::fan_out::{Ended, differs, inputs};
use crate::output::count;
use crate::tally::Tally;

pub(super) const HELP: &str = "\
The coordinator is killed with SIGKILL and started again on its data. Measured are the time from its
start until it is ready, and its memory before and after. --left says what is in its store:

  fresh     Nothing has run. Workers come after the restart, and every result is verified.
  retrying  Every invocation has failed once and waits for its next attempt, up to years. A job
            of more than 65,536 is not placed further, so --jobs must be enough. Verified are
            the counts.
  ended     Every result is recorded and verified. After the restart all jobs are deleted, while a
            worker is invoked one time after another, until their bytes are gone.

Examples:
  umbel bench restart --n 1000000 --jobs 100
  umbel bench restart --n 1000000 --jobs 16 --left retrying
  umbel bench restart --n 10000000 --jobs 10000 --left ended";

/// The longest that an invocation that has failed may wait; the time is drawn by lot, so that of a
/// million the first ones wait minutes.
const BACKOFF_MS: u64 = limit::DURATION_MS_MAX;
/// How often it is asked whether all have failed once.
const EVERY: Duration = Duration::from_millis(50);
/// Jobs under way at a time where they run to their end.
const AT_ONCE: usize = 64;

/// What the command takes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Invocations in all
    #[arg(long, default_value_t = 1_000_000, value_parser = from_1_to(limit::JOB_INPUTS_MAX))]
    pub(super) n: u32,
    /// Jobs that they are of
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = from_1_to(100_000))]
    pub(super) jobs: u32,
    /// What is left of them when the coordinator is killed
    #[arg(long, value_enum, value_name = "WHAT", default_value = "fresh")]
    pub(super) left: Left,
}

/// What became of the jobs before the coordinator was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Left {
    /// Nothing has run
    Fresh,
    /// Every invocation has failed once and waits
    Retrying,
    /// All have ended
    Ended,
}

impl Args {
    pub(super) fn title(&self) -> String {
        let what = match self.left {
            Left::Fresh => "unfinished",
            Left::Retrying => "failed once, waiting",
            Left::Ended => "ended",
        };
        format!(
            "restart with {} {what}, jobs: {}",
            count(self.n.into()),
            count(self.jobs.into())
        )
    }

    pub(super) fn check(&self) -> Result<(), Exit> {
        let (jobs, n) = (self.jobs, self.n);
        if !n.is_multiple_of(jobs) {
            return Err(Exit::usage(format!(
                "--n {n} is no multiple of --jobs {jobs}"
            )));
        }
        let most = limit::RETRIES_WAITING_MAX;
        if self.left == Left::Retrying && u64::from(n / jobs) > most {
            return Err(Exit::usage(format!(
                "a job places nothing new while {most} of it wait for another attempt; with --left \
                 retrying and --n {n} there are --jobs {} at least",
                u64::from(n).div_ceil(most)
            )));
        }
        Ok(())
    }

    pub(super) async fn measure(&self, bed: &mut Bed) -> Result<Run, Exit> {
        let each = self.n / self.jobs;
        let ids = match self.left {
            Left::Fresh => self.fresh(bed, each).await?,
            Left::Retrying => self.retrying(bed, each).await?,
            Left::Ended => self.ended(bed, each).await?,
        };
        let mut run = restart(bed).await?;
        match self.left {
            Left::Fresh => {
                bed.workers(2, 1).await?;
                for id in &ids {
                    let ended = read(&bed.client, id, each).await?;
                    run.wrong = run.wrong.or_else(|| wrong(&ended));
                }
            }
            Left::Retrying => {
                for id in &ids {
                    let job = bed.client.get(id).await?;
                    run.wrong = run.wrong.or_else(|| not_retrying(&job, each));
                }
            }
            Left::Ended => deletes::measure(bed, &ids, &mut run).await?,
        }
        Ok(run)
    }

    async fn fresh(&self, bed: &Bed, each: u32) -> Result<Vec<String>, Exit> {
        let mut ids = Vec::new();
        for _ in 0..self.jobs {
            let submission = bed.client.submit(JobSpec::function(INCREMENT));
            let job = submission
                .stream(inputs(each, |index| index.to_string()))
                .await?;
            ids.push(job.id);
        }
        Ok(ids)
    }

    async fn retrying(&self, bed: &mut Bed, each: u32) -> Result<Vec<String>, Exit> {
        bed.workers(2, 1).await?;
        let mut ids = Vec::new();
        for _ in 0..self.jobs {
            let policy = v1::Policy {
                backoff_initial_ms: Some(BACKOFF_MS),
                backoff_max_ms: Some(BACKOFF_MS),
                ..v1::Policy::default()
            };
            let spec = JobSpec::function("umbel.flaky").policy(policy);
            let once = |_| r#"{"fail_attempts":1}"#.to_owned();
            let job = bed.client.submit(spec).stream(inputs(each, once)).await?;
            ids.push(job.id);
        }
        for id in &ids {
            while not_retrying(&bed.client.get(id).await?, each).is_some() {
                tokio::time::sleep(EVERY).await;
            }
        }
        Ok(ids)
    }

    async fn ended(&self, bed: &mut Bed, each: u32) -> Result<Vec<String>, Exit> {
        bed.workers(2, 1).await?;
        let client = &bed.client;
        stream::iter(0..self.jobs)
            .map(|_| increments(client, 0, each, false))
            .buffer_unordered(AT_ONCE)
            .err_into()
            .and_then(|ended| async move {
                match wrong(&ended) {
                    None => Ok(ended.job.id),
                    Some(wrong) => Err(Exit::failed(format!("the check failed: {wrong}"))),
                }
            })
            .try_collect()
            .await
    }
}

/// Kills the coordinator and starts it again: how long it took, and what it needed.
async fn restart(bed: &mut Bed) -> Result<Run, Exit> {
    let memory = |bed: &Bed| bed.cluster.coordinator.id().and_then(usage::memory_peak);
    let before = memory(bed);
    let disk_bytes = crate::process::directory_bytes(&bed.cluster.data());
    bed.cluster.coordinator.kill().await;

    let begun = Instant::now();
    bed.cluster.restart_coordinator().await?;
    let ready = begun.elapsed();
    bed.client = Client::connect(&bed.cluster.url)?;
    let after = memory(bed);

    let meter = Meter::start(&bed.cluster).await?;
    let (_, mut run) = meter.stop(&bed.cluster, 1, "restart").await?;
    // What it used since its start is the cost of the restart.
    let cpu = bed.cluster.coordinator.id().and_then(usage::cpu);
    run.figures.clear();
    run.push("restart_seconds", ready.as_secs_f64());
    run.push("restart_cpu_seconds", cpu.unwrap_or_default().as_secs_f64());
    if let Some(bytes) = after {
        run.push("restart_memory_peak_bytes", bytes as f64);
    }
    if let Some(bytes) = before {
        run.push("before_memory_peak_bytes", bytes as f64);
    }
    run.push("before_disk_bytes", disk_bytes as f64);
    Ok(run)
}

/// How a job is not as it is when all of it has failed once and waits.
fn not_retrying(job: &v1::Job, each: u32) -> Option<String> {
    let counts = job.counts.unwrap_or_default();
    let attempts = job.usage.unwrap_or_default().attempts;
    let each = u64::from(each);
    (counts.waiting != each || attempts != each).then(|| {
        format!(
            "job {}: {} of {each} wait, after {attempts} attempts",
            job.id, counts.waiting
        )
    })
}

async fn read(client: &Client, id: &str, total: u32) -> Result<Ended, Exit> {
    let mut tally = Tally::new(total);
    let options = ResultsOptions::default().as_completed().follow();
    let mut pages = client.results_pages(id, options);
    while let Some(page) = pages.try_next().await? {
        for row in page.rows() {
            let expected = (row.index + 1).to_string();
            tally.record(row.index, differs(&row, expected));
        }
    }
    let job = client.get(id).await?;
    Ok(Ended { job, tally })
}
