//! `umbel bench restart`: a coordinator that was killed with much unfinished work.

use std::time::Instant;

use futures::TryStreamExt as _;
use umbel_client::{Client, JobSpec, ResultsOptions};
use umbel_core::limit;

use super::bed::{Bed, INCREMENT, wrong};
use super::from_1_to;
use super::meter::{Meter, Run};
use crate::exit::Exit;
use crate::fan_out::{Ended, differs, inputs};
use crate::output::count;
use crate::tally::Tally;

pub(super) const HELP: &str = "\
Jobs are submitted while there is no worker, the coordinator is killed with SIGKILL and started
again on its data. Measured is the time from its start until it is ready; then workers come, and
every result is verified.

Example:
  umbel bench restart --n 1000000 --jobs 100";

/// What the command takes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Unfinished invocations in all
    #[arg(long, default_value_t = 1_000_000, value_parser = from_1_to(limit::JOB_INPUTS_MAX))]
    pub(super) n: u32,
    /// Jobs that they are of
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = from_1_to(100_000))]
    pub(super) jobs: u32,
}

impl Args {
    pub(super) fn title(&self) -> String {
        format!(
            "restart with {} unfinished, jobs: {}",
            count(self.n.into()),
            count(self.jobs.into())
        )
    }

    pub(super) fn check(&self) -> Result<(), Exit> {
        if !self.n.is_multiple_of(self.jobs) {
            let (jobs, n) = (self.jobs, self.n);
            return Err(Exit::usage(format!(
                "--n {n} is no multiple of --jobs {jobs}"
            )));
        }
        Ok(())
    }

    pub(super) async fn measure(&self, bed: &mut Bed) -> Result<Run, Exit> {
        let each = self.n / self.jobs;
        let mut ids = Vec::new();
        for _ in 0..self.jobs {
            let submission = bed.client.submit(JobSpec::function(INCREMENT));
            let job = submission
                .stream(inputs(each, |index| index.to_string()))
                .await?;
            ids.push(job.id);
        }
        bed.cluster.coordinator.kill().await;

        let begun = Instant::now();
        bed.cluster.restart_coordinator().await?;
        let ready = begun.elapsed();
        bed.client = Client::connect(&bed.cluster.url)?;
        let memory = bed.cluster.coordinator.id();
        let memory = memory.and_then(super::usage::memory_peak);

        let meter = Meter::start(&bed.cluster).await?;
        let (_, mut run) = meter.stop(&bed.cluster, 1, "restart").await?;
        // What it used since its start is the cost of the restart.
        let cpu = bed.cluster.coordinator.id().and_then(super::usage::cpu);
        run.figures.clear();
        run.push("restart_seconds", ready.as_secs_f64());
        run.push("restart_cpu_seconds", cpu.unwrap_or_default().as_secs_f64());
        if let Some(bytes) = memory {
            run.push("restart_memory_peak_bytes", bytes as f64);
        }
        bed.workers(2, 1).await?;
        for id in &ids {
            let ended = read(&bed.client, id, each).await?;
            run.wrong = run.wrong.or_else(|| wrong(&ended));
        }
        Ok(run)
    }
}

async fn read(client: &Client, id: &str, total: u32) -> Result<Ended, Exit> {
    let mut tally = Tally::new(total);
    let options = ResultsOptions::default().as_completed().follow();
    let mut results = client.results(id, options);
    while let Some(result) = results.try_next().await? {
        let expected = (result.index + 1).to_string();
        tally.record(result.index, differs(&result, expected));
    }
    let job = client.get(id).await?;
    Ok(Ended { job, tally })
}
