//! `umbel bench invoke`.

use std::time::{Duration, Instant};

use serde::Serialize;
use umbel_client::{Client, v1};

use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::local::LocalCluster;
use crate::output::{self, count};
use crate::signal::Signals;

const FUNCTION: &str = "umbel.increment";
/// Invocations before anything is measured.
const WARM_UP: u32 = 50;
const TIMEOUT_MS: u64 = 60_000;

/// What the command takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
One invocation is answered before the next is sent, so these are latencies, as any client of the
FunctionService sees them.

Example:
  umbel bench invoke --n 1000")]
pub(crate) struct Args {
    /// Invocations
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    n: u32,
    /// The same as --output json
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    invocations: u32,
    p50_us: u64,
    p90_us: u64,
    p99_us: u64,
    max_us: u64,
}

/// Measures and prints.
pub(super) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    let mut signals = Signals::listen()?;
    let mut cluster = tokio::select! {
        cluster = LocalCluster::start() => cluster?,
        () = signals.next() => return Err(Exit::interrupted("")),
    };
    let measured = tokio::select! {
        measured = measure(&mut cluster, args.n) => measured,
        () = signals.next() => Err(Exit::interrupted("interrupted; every process it started is gone")),
    };
    cluster.stop(false).await?;
    let report = measured?;
    if args.json || global.output == OutputForm::Json {
        return output::document(&report);
    }
    let Report {
        invocations,
        p50_us,
        p90_us,
        p99_us,
        max_us,
    } = report;
    output::line(&format!(
        "invocations  {}, one after another",
        count(invocations.into())
    ))?;
    output::line(&format!(
        "latency      p50 {p50_us} µs, p90 {p90_us} µs, p99 {p99_us} µs, max {max_us} µs"
    ))
}

async fn measure(cluster: &mut LocalCluster, n: u32) -> Result<Report, Exit> {
    cluster
        .add_worker(&["worker", "start", "--slots", "1"])
        .await?;
    let client = Client::connect(&cluster.url)?;
    for number in 0..WARM_UP {
        invoke(&client, number).await?;
    }
    let mut times = Vec::with_capacity(n as usize);
    for number in 0..n {
        times.push(invoke(&client, number).await?);
    }
    times.sort_unstable();
    let at = |hundredths: usize| {
        let place = (times.len() * hundredths).div_ceil(100).max(1) - 1;
        times[place].as_micros() as u64
    };
    Ok(Report {
        invocations: n,
        p50_us: at(50),
        p90_us: at(90),
        p99_us: at(99),
        max_us: at(100),
    })
}

async fn invoke(client: &Client, number: u32) -> Result<Duration, Exit> {
    let begun = Instant::now();
    let answer = client
        .invoke(FUNCTION, number.to_string(), TIMEOUT_MS)
        .await?;
    let elapsed = begun.elapsed();
    let expected = (u64::from(number) + 1).to_string();
    match answer.outcome {
        Some(v1::invoke_response::Outcome::Output(output)) if output == expected => Ok(elapsed),
        other => Err(Exit::failed(format!(
            "the check failed: {number} gave {other:?}, not {expected}"
        ))),
    }
}
