//! `umbel bench fanout`.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use umbel_client::{Client, JobSpec, v1};
use umbel_core::limit;

use super::report::{Cpu, Report};
use super::usage;
use crate::exit::Exit;
use crate::fan_out::{Ended, differs, fan_out, inputs};
use crate::global::{Global, OutputForm};
use crate::local::LocalCluster;
use crate::output;
use crate::process::{Process, directory_bytes};
use crate::signal::Signals;

const FUNCTION: &str = "umbel.increment";
/// Jobs of one client that run side by side.
const JOBS_AT_ONCE: usize = 16;
/// Invocations that are run before anything is measured, so that every process has its memory and
/// its links.
const WARM_UP: u32 = 2_000;

/// What the command takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Coordinator and workers are processes of their own with data in a temporary directory; every
result is durable, read back and verified. CPU is that of all processes, this client's included.
Each process is warmed up with a small job before anything is measured.

Examples:
  umbel bench fanout --n 1000000 --workers 2
  umbel bench fanout --n 10000 --jobs 100 --output json
  umbel bench fanout --n 10000000 --range")]
pub(crate) struct Args {
    /// Invocations in all
    #[arg(long, default_value_t = 1_000_000, value_parser = from_1_to(limit::JOB_INPUTS_MAX))]
    n: u32,
    /// Worker processes
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = from_1_to(256))]
    workers: u32,
    /// Slots of each worker
    #[arg(
        long, value_name = "N", default_value_t = 1,
        value_parser = from_1_to(limit::WORKER_SLOTS_MAX)
    )]
    slots: u32,
    /// Jobs to split the invocations over, from one client
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = from_1_to(100_000))]
    jobs: u32,
    /// Submit ranges, so that no inputs are sent
    #[arg(long)]
    range: bool,
    /// The same as --output json
    #[arg(long)]
    json: bool,
}

fn from_1_to(max: u32) -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(max))
}

/// Measures, prints, and ends with 1 if a result was wrong.
pub(super) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    if args.jobs > args.n {
        return Err(Exit::usage(format!(
            "--jobs {} is more than --n {}",
            args.jobs, args.n
        )));
    }
    let mut signals = Signals::listen()?;
    let mut cluster = tokio::select! {
        cluster = LocalCluster::start() => cluster?,
        () = signals.next() => return Err(Exit::interrupted("")),
    };
    let measured = tokio::select! {
        measured = measure(&mut cluster, &args) => measured,
        () = signals.next() => Err(Exit::interrupted("interrupted; every process it started is gone")),
    };
    cluster.stop(false).await?;
    let (report, wrong) = measured?;
    if args.json || global.output == OutputForm::Json {
        output::document(&report)?;
    } else {
        for line in report.lines() {
            output::line(&line)?;
        }
    }
    wrong.map_or(Ok(()), |wrong| {
        Err(Exit::failed(format!("the check failed: {wrong}")))
    })
}

/// A job of the bench: its inputs are the numbers from `first` on.
#[derive(Clone, Copy, Debug)]
struct Part {
    first: u32,
    total: u32,
}

impl Part {
    /// `n` inputs over `jobs` parts that differ by one at most.
    fn split(n: u32, jobs: u32) -> impl Iterator<Item = Self> {
        let bound = move |job: u32| (u64::from(n) * u64::from(job) / u64::from(jobs)) as u32;
        (0..jobs).map(move |job| Self {
            first: bound(job),
            total: bound(job + 1) - bound(job),
        })
    }

    async fn run(self, client: &Client, range: bool) -> Result<Ended, Exit> {
        let Self { first, total } = self;
        let spec = JobSpec::function(FUNCTION).start_as_appended();
        let submission = client.submit(spec);
        let upload = if range {
            submission
                .begin_range(first.into()..u64::from(first) + u64::from(total))
                .await?
        } else {
            submission
                .begin(inputs(total, |index| (first + index).to_string()))
                .await?
        };
        let wrong = |result: &v1::Result| {
            differs(result, (u64::from(first) + result.index + 1).to_string())
        };
        fan_out(client, upload, total, wrong, |_| {}).await
    }
}

async fn measure(
    cluster: &mut LocalCluster,
    args: &Args,
) -> Result<(Report, Option<String>), Exit> {
    let slots = args.slots.to_string();
    for _ in 0..args.workers {
        cluster
            .add_worker(&["worker", "start", "--slots", &slots])
            .await?;
    }
    let client = Client::connect(&cluster.url)?;
    Part {
        first: 0,
        total: WARM_UP,
    }
    .run(&client, false)
    .await?;

    let (disk_before, cpu_before) = (directory_bytes(&cluster.data()), cpu(cluster)?);
    let begun = Instant::now();
    let parts = stream::iter(Part::split(args.n, args.jobs));
    let all: Vec<Ended> = parts
        .map(|part| part.run(&client, args.range))
        .buffer_unordered(JOBS_AT_ONCE)
        .try_collect()
        .await?;
    let elapsed = begun.elapsed();
    let cpu = cpu(cluster)?.since(cpu_before);
    let disk_bytes = directory_bytes(&cluster.data()).saturating_sub(disk_before);
    let memory = cluster.coordinator.id().and_then(usage::memory_peak);

    let wrong = all
        .iter()
        .find(|ended| !ended.tally.is_perfect())
        .map(|ended| {
            let wrong = ended.tally.first_wrong.clone();
            wrong.unwrap_or_else(|| "a result is missing or came twice".to_owned())
        });
    Ok((report(args, &all, elapsed, cpu, memory, disk_bytes), wrong))
}

fn report(
    args: &Args,
    all: &[Ended],
    elapsed: Duration,
    cpu: Cpu,
    coordinator_memory_peak_bytes: Option<u64>,
    disk_bytes: u64,
) -> Report {
    let invocations = f64::from(args.n);
    let by_million = |time: Duration| time.as_secs_f64() * 1e6 / invocations;
    let attempts: u64 = all.iter().map(|ended| ended.job.attempts).sum();
    Report {
        invocations: args.n.into(),
        jobs: args.jobs,
        workers: args.workers,
        slots: args.slots,
        inputs: if args.range { "range" } else { "client" },
        seconds: elapsed.as_secs_f64(),
        invocations_per_second: invocations / elapsed.as_secs_f64(),
        cpu_seconds_per_million: by_million(cpu.total()),
        coordinator_cpu_seconds_per_million: by_million(cpu.coordinator),
        worker_cpu_seconds_per_million: by_million(cpu.workers),
        client_cpu_seconds_per_million: by_million(cpu.client),
        coordinator_memory_peak_bytes,
        disk_bytes_per_result: disk_bytes as f64 / invocations,
        attempts_repeated: attempts.saturating_sub(args.n.into()),
        right: all.iter().map(|ended| ended.tally.right).sum(),
        twice: all.iter().map(|ended| ended.tally.twice).sum(),
    }
}

/// CPU time of the three parts so far; they must all be alive.
fn cpu(cluster: &LocalCluster) -> Result<Cpu, Exit> {
    let of = |process: &Process| {
        let used = process.id().and_then(usage::cpu);
        used.ok_or_else(|| Exit::internal(format!("the {} is gone", process.what())))
    };
    let own = usage::cpu(std::process::id());
    Ok(Cpu {
        coordinator: of(&cluster.coordinator)?,
        workers: cluster
            .workers
            .iter()
            .map(of)
            .sum::<Result<Duration, Exit>>()?,
        client: own.ok_or_else(|| Exit::internal("/proc tells nothing of this process"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_every_input_once() {
        let mut next = 0;
        for part in Part::split(10_001, 100) {
            assert_eq!(part.first, next);
            assert!(part.total == 100 || part.total == 101);
            next += part.total;
        }
        assert_eq!(next, 10_001);
    }
}
