//! `umbel bench fanout`: no-op invocations, durable, read back and verified.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use umbel_core::limit;

use super::bed::{Bed, increments, wrong};
use super::from_1_to;
use super::meter::{Meter, Run};
use crate::exit::Exit;
use crate::fan_out::Ended;
use crate::output::count;

/// Jobs of one client that run side by side.
const JOBS_AT_ONCE: usize = 16;

pub(super) const HELP: &str = "\
Coordinator and workers are processes of their own with data in a temporary directory; every
result is durable, read back and verified. CPU is that of all processes, this client's included.
Each process is warmed up with a small job before anything is measured. Of the disk, live bytes
are keys and values as they lie in the store at the end, the rest is dead or not used yet.

Examples:
  umbel bench fanout --n 1000000 --workers 2
  umbel bench fanout --n 10000 --jobs 100 --output json
  umbel bench fanout --n 10000000 --range --repeat 3";

/// What the command takes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Invocations in all
    #[arg(long, default_value_t = 1_000_000, value_parser = from_1_to(limit::JOB_INPUTS_MAX))]
    pub(super) n: u32,
    /// Worker processes
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = from_1_to(256))]
    pub(super) workers: u32,
    /// Slots of each worker
    #[arg(
        long, value_name = "N", default_value_t = 1,
        value_parser = from_1_to(limit::WORKER_SLOTS_MAX)
    )]
    pub(super) slots: u32,
    /// Jobs to split the invocations over, from one client
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = from_1_to(100_000))]
    pub(super) jobs: u32,
    /// Submit ranges, so that no inputs are sent
    #[arg(long)]
    pub(super) range: bool,
}

impl Args {
    pub(super) fn title(&self) -> String {
        let inputs = if self.range { "a range" } else { "sent inputs" };
        let jobs = match self.jobs {
            1 => "1 job".to_owned(),
            jobs => format!("{} jobs", count(jobs.into())),
        };
        format!(
            "fan-out of {} over {inputs}, {jobs}, {} workers of {}",
            count(self.n.into()),
            self.workers,
            self.slots
        )
    }

    pub(super) fn check(&self) -> Result<(), Exit> {
        if self.jobs > self.n {
            let (jobs, n) = (self.jobs, self.n);
            return Err(Exit::usage(format!("--jobs {jobs} is more than --n {n}")));
        }
        Ok(())
    }

    pub(super) async fn measure(&self, bed: &mut Bed) -> Result<Run, Exit> {
        bed.workers(self.workers, self.slots).await?;
        let mut run = fan_out_jobs(bed, self.n, self.jobs, self.range).await?;
        bed.cluster.close_coordinator().await?;
        let data = bed.cluster.data();
        let census = tokio::task::spawn_blocking(move || umbel_store::census(&data))
            .await
            .map_err(|error| Exit::internal(error.to_string()))?
            .map_err(|error| Exit::internal(error.to_string()))?;
        let each = |bytes: u64| bytes as f64 / f64::from(self.n);
        run.push("invocation_live_bytes", each(census.bytes()));
        run.push("result_live_bytes", each(census.result_bytes()));
        Ok(run)
    }
}

/// Measures a fan-out by one client over `jobs` jobs.
pub(super) async fn fan_out_jobs(
    bed: &Bed,
    n: u32,
    jobs: u32,
    as_range: bool,
) -> Result<Run, Exit> {
    let meter = Meter::start(&bed.cluster).await?;
    let all: Vec<Ended> = stream::iter(split(n, jobs))
        .map(|(first, total)| increments(&bed.client, first, total, as_range))
        .buffer_unordered(JOBS_AT_ONCE)
        .try_collect()
        .await?;
    let (elapsed, mut run) = meter.stop(&bed.cluster, n.into(), "invocation").await?;
    let rate = f64::from(n) / elapsed.as_secs_f64();
    run.lead("invocations_per_second", rate);
    let attempts: u64 = all.iter().map(|ended| ended.job.attempts).sum();
    run.push(
        "attempts_repeated",
        attempts.saturating_sub(n.into()) as f64,
    );
    run.wrong = all.iter().find_map(wrong);
    Ok(run)
}

/// `n` inputs over `jobs` parts that differ by one at most: the first of each, and how many.
fn split(n: u32, jobs: u32) -> impl Iterator<Item = (u32, u32)> {
    let bound = move |job: u32| (u64::from(n) * u64::from(job) / u64::from(jobs)) as u32;
    (0..jobs).map(move |job| (bound(job), bound(job + 1) - bound(job)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_every_input_once() {
        let mut next = 0;
        for (first, total) in split(10_001, 100) {
            assert_eq!(first, next);
            assert!(total == 100 || total == 101);
            next += total;
        }
        assert_eq!(next, 10_001);
    }
}
