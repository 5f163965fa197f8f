//! `umbel function compare`: recorded inputs through two functions, and what differs.

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use umbel_client::{Client, v1};
use umbel_core::histogram::Histogram;

use crate::capsule::{Capsule, Failure, Outcome, Verdict};
use crate::command::words::run_time_ms;
use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::output::{self, count, duration_us};
use crate::signal::Signals;

const EXAMPLES: &str = "\
The recorded inputs of a job are given to both, one invocation each, on the workers that there are;
nothing is stored. The sample is spread evenly over the inputs that have ended.

Exit codes: 0 all the same; 1 some differ; 2 bad usage; 3 and 4 as everywhere; 130 interrupted.

Examples:
  umbel function compare resize@3 resize@4 --job last
  umbel function compare resize-python resize-node --job crawl --sample 1000";

/// Inputs that are compared at a time.
const AT_ONCE: usize = 8;
/// The most inputs of one comparison.
const SAMPLE_MAX: u64 = 100_000;

/// The arguments of `function compare`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The one function, version or alias
    first: String,
    /// The other
    second: String,
    /// The job whose inputs are used: its id, its name, or `last`
    #[arg(long, value_name = "ID")]
    job: String,
    /// How many of its inputs, at most 100,000
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u64).range(1..=SAMPLE_MAX))]
    sample: u64,
    /// Differences that are shown
    #[arg(long, value_name = "N", default_value = "3")]
    show: usize,
    /// How long each invocation may wait for a slot and run
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = run_time_ms)]
    timeout: u64,
}

/// One input through both.
struct Compared {
    index: u64,
    first: Ran,
    second: Ran,
    verdict: Verdict,
}

struct Ran {
    outcome: Outcome,
    duration_us: u64,
    cold: bool,
}

/// Warm run times of one side.
#[derive(Debug, Serialize)]
struct Side<'a> {
    target: &'a str,
    failed: u64,
    cold_starts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    p50_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p99_us: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Difference {
    index: u64,
    first: String,
    second: String,
    difference: String,
}

#[derive(Debug, Serialize)]
struct Comparison<'a> {
    job: &'a str,
    compared: u64,
    same: u64,
    different: u64,
    first: Side<'a>,
    second: Side<'a>,
    differences: Vec<Difference>,
}

pub(super) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    let client = Client::connect(&global.coordinator)?;
    let mut signals = Signals::listen()?;
    // By its id: `last` may be another job by the time that somebody reads this.
    let job = client.get(&args.job).await?;
    let compared = tokio::select! {
        compared = compare(&client, &args, &job) => compared?,
        () = signals.next() => return Err(Exit::interrupted("")),
    };
    tell(&args, &job.id, &compared, global.output)?;
    match compared.iter().filter(|one| !one.verdict.same).count() {
        0 => Ok(()),
        differ => Err(Exit::failed(format!(
            "{differ} of {} outcomes differ",
            compared.len()
        ))),
    }
}

async fn compare(client: &Client, args: &Args, job: &v1::Job) -> Result<Vec<Compared>, Exit> {
    let total = job.counts.unwrap_or_default().total;
    if total == 0 {
        return Err(Exit::usage(format!(
            "job {} has no inputs to compare with",
            job.id
        )));
    }
    let each = |index| one(client, args, job, index);
    let indices = spread(total, args.sample);
    let mut compared: Vec<Compared> = stream::iter(indices)
        .map(each)
        .buffer_unordered(AT_ONCE)
        .try_filter_map(|one| async { Ok(one) })
        .try_collect()
        .await?;
    compared.sort_by_key(|one| one.index);
    if compared.is_empty() {
        return Err(Exit::usage(format!(
            "none of the chosen inputs of job {} has ended; wait for some, or name another job",
            job.id
        )));
    }
    Ok(compared)
}

/// At most `sample` of `total` indices, evenly spread.
fn spread(total: u64, sample: u64) -> impl Iterator<Item = u64> {
    let sample = sample.min(total);
    (0..sample).map(move |at| {
        let index = u128::from(at) * u128::from(total) / u128::from(sample.max(1));
        u64::try_from(index).unwrap_or(u64::MAX)
    })
}

/// None: it has not ended.
async fn one(
    client: &Client,
    args: &Args,
    job: &v1::Job,
    index: u64,
) -> Result<Option<Compared>, Exit> {
    let capsule = match client.capsule(&job.id, index).await {
        Ok(capsule) => Capsule::new(capsule),
        Err(error) if is_open(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let ran = |target: String| {
        let input = capsule.input();
        async move {
            let response = client.invoke(&target, input, args.timeout).await?;
            Ok::<_, Exit>(Ran {
                duration_us: response.duration_us,
                cold: response.cold_start.is_some(),
                outcome: outcome(response)?,
            })
        }
    };
    let (first, second) = tokio::try_join!(ran(args.first.clone()), ran(args.second.clone()))?;
    Ok(Some(Compared {
        index,
        verdict: Verdict::of(&first.outcome, &second.outcome),
        first,
        second,
    }))
}

fn is_open(error: &umbel_client::Error) -> bool {
    error.reason() == Some("INVOCATION_OPEN")
}

fn outcome(response: v1::InvokeResponse) -> Result<Outcome, Exit> {
    use v1::invoke_response::Outcome as Wire;
    match response.outcome {
        Some(Wire::Output(output)) => Ok(Outcome::Succeeded(output)),
        Some(Wire::Failure(failure)) => Ok(Outcome::Failed(Failure {
            kind: output::failure_kind(failure.kind()).to_owned(),
            type_: failure.r#type,
            message: failure.message,
        })),
        None => Err(Exit::internal(
            "the coordinator answered without an outcome",
        )),
    }
}

fn side<'a>(target: &'a str, runs: impl Iterator<Item = &'a Ran>) -> Side<'a> {
    let (mut failed, mut cold_starts, mut warm) = (0, 0, Histogram::new());
    for ran in runs {
        failed += u64::from(matches!(ran.outcome, Outcome::Failed(_)));
        cold_starts += u64::from(ran.cold);
        if !ran.cold {
            warm.add(ran.duration_us);
        }
    }
    Side {
        target,
        failed,
        cold_starts,
        p50_us: warm.percentile_us(50),
        p99_us: warm.percentile_us(99),
    }
}

fn tell(args: &Args, job: &str, compared: &[Compared], form: OutputForm) -> Result<(), Exit> {
    let total = compared.len() as u64;
    let same = compared.iter().filter(|one| one.verdict.same).count() as u64;
    let differ = compared.iter().filter(|one| !one.verdict.same);
    let comparison = Comparison {
        job,
        compared: total,
        same,
        different: total - same,
        first: side(&args.first, compared.iter().map(|one| &one.first)),
        second: side(&args.second, compared.iter().map(|one| &one.second)),
        differences: differ
            .take(args.show)
            .map(|one| Difference {
                index: one.index,
                first: one.first.outcome.words(),
                second: one.second.outcome.words(),
                difference: one.verdict.difference.clone(),
            })
            .collect(),
    };
    if form == OutputForm::Json {
        return output::document(&comparison);
    }
    output::line(&format!(
        "{} inputs: {} the same, {} different",
        count(total),
        count(same),
        count(total - same)
    ))?;
    for side in [&comparison.first, &comparison.second] {
        output::line(&side_line(side))?;
    }
    for one in &comparison.differences {
        output::line(&format!("input {}:", one.index))?;
        output::line(one.difference.trim_end())?;
    }
    Ok(())
}

fn side_line(side: &Side<'_>) -> String {
    let time = |us: Option<u64>| us.map_or_else(|| "-".to_owned(), duration_us);
    format!(
        "  {}: {} failed, {} cold starts, warm p50 {}, p99 {}",
        side.target,
        count(side.failed),
        count(side.cold_starts),
        time(side.p50_us),
        time(side.p99_us)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_over_all_inputs() {
        assert_eq!(spread(4, 10).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(spread(100, 4).collect::<Vec<_>>(), [0, 25, 50, 75]);
        assert_eq!(spread(0, 4).count(), 0);
    }
}
