//! `umbel bench invoke`: single invocations, answered from memory.

use std::time::{Duration, Instant};

use umbel_client::{Client, v1};

use super::bed::{Bed, INCREMENT};
use super::figure::percentile;
use super::from_1_to;
use super::meter::{Meter, Run};
use crate::exit::Exit;
use crate::output::count;

/// Invocations before anything is measured.
const WARM_UP: u32 = 50;
pub(super) const TIMEOUT_MS: u64 = 60_000;

pub(super) const HELP: &str = "\
One invocation is answered before the next is sent, so these are latencies, as any client of the
FunctionService sees them.

Example:
  umbel bench invoke --n 1000";

/// What the command takes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Invocations
    #[arg(long, default_value_t = 1_000, value_parser = from_1_to(1_000_000))]
    pub(super) n: u32,
}

impl Args {
    pub(super) fn title(&self) -> String {
        format!("invoke, {} one after another", count(self.n.into()))
    }

    pub(super) async fn measure(&self, bed: &mut Bed) -> Result<Run, Exit> {
        bed.workers(1, 1).await?;
        for number in 0..WARM_UP {
            increment(&bed.client, number).await?;
        }
        let meter = Meter::start(&bed.cluster).await?;
        let mut times = Vec::with_capacity(self.n as usize);
        for number in 0..self.n {
            times.push(increment(&bed.client, number).await?);
        }
        let (_, mut run) = meter
            .stop(&bed.cluster, self.n.into(), "invocation")
            .await?;
        lead_with_latencies(&mut run, times);
        Ok(run)
    }
}

/// Puts latencies before all other figures.
pub(super) fn lead_with_latencies(run: &mut Run, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |hundredths| percentile(&times, hundredths).as_secs_f64() * 1e6;
    run.lead("latency_max_us", at(100));
    run.lead("latency_p99_us", at(99));
    run.lead("latency_p90_us", at(90));
    run.lead("latency_p50_us", at(50));
}

pub(super) async fn increment(client: &Client, number: u32) -> Result<Duration, Exit> {
    call(
        client,
        INCREMENT,
        number.to_string(),
        &(u64::from(number) + 1).to_string(),
    )
    .await
}

/// Invokes a function and verifies its output; tells how long it took.
async fn call(
    client: &Client,
    function: &str,
    input: String,
    expected: &str,
) -> Result<Duration, Exit> {
    let (elapsed, _) = call_seen(client, function, input, expected).await?;
    Ok(elapsed)
}

/// The same, and whether its worker says that it was a cold start.
pub(super) async fn call_seen(
    client: &Client,
    function: &str,
    input: String,
    expected: &str,
) -> Result<(Duration, bool), Exit> {
    let begun = Instant::now();
    let answer = client.invoke(function, input.clone(), TIMEOUT_MS).await?;
    let elapsed = begun.elapsed();
    let cold = answer.cold_start.is_some();
    match answer.outcome {
        Some(v1::invoke_response::Outcome::Output(output)) if output == expected => {
            Ok((elapsed, cold))
        }
        other => Err(Exit::failed(format!(
            "the check failed: {function} of {input} gave {other:?}, not {expected}"
        ))),
    }
}
