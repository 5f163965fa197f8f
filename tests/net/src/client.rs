//! A client on a simulated host: it submits jobs in several ways, and wants every result exactly.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::sleep;
use umbel_client::{Client, JobSpec, ResultsOptions};

use crate::dice::Dice;
use crate::trace::Trace;
use crate::wire;
use crate::worker::expected;

type Error = Box<dyn std::error::Error>;

/// How a job comes by its inputs.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Range,
    Inline,
    Appended,
    AsAppended,
}

/// Submits jobs one after the other and follows each to its end.
pub(crate) async fn run(
    name: &str,
    mut dice: Dice,
    jobs: u64,
    trace: Trace,
    reruns: Arc<AtomicU64>,
) -> Result<(), Error> {
    let url = format!("http://coordinator:{}", wire::PORT);
    let client = Client::connect_over(url, wire::channel)?
        .with_patience(Duration::from_secs(600))
        .with_chance(dice.roll());
    // A client that never reached its coordinator is not patient, and rightly so.
    while client.status().await.is_err() {
        sleep(Duration::from_millis(200)).await;
    }
    for number in 0..jobs {
        let shapes = [
            Shape::Range,
            Shape::Inline,
            Shape::Appended,
            Shape::AsAppended,
        ];
        let shape = dice.pick(&shapes);
        let count = match shape {
            Shape::Inline => 1 + dice.below(300),
            _ => 1 + dice.below(1_200),
        };
        let begin = dice.below(1_000);
        let id = submit(&client, shape, begin, count, &mut dice).await?;
        trace.note(&format!(
            "{name} job {number}: {shape:?} of {count} accepted"
        ));
        let attempts = follow(&client, &id, begin, count).await?;
        reruns.fetch_add(attempts - count, Ordering::Relaxed);
        trace.note(&format!(
            "{name} job {number}: every result is there, by {attempts} attempts"
        ));
        sleep(Duration::from_millis(dice.below(3_000))).await;
    }
    Ok(())
}

async fn submit(
    client: &Client,
    shape: Shape,
    begin: u64,
    count: u64,
    dice: &mut Dice,
) -> Result<String, Error> {
    let mut spec = JobSpec::function("square");
    if matches!(shape, Shape::AsAppended) {
        spec = spec.start_as_appended();
    }
    let submission = client.submit(spec);
    let inputs = begin..begin + count;
    let job = match shape {
        Shape::Range => submission.range(inputs).await?,
        Shape::Inline => submission.inputs(inputs.map(|n| n.to_string())).await?,
        Shape::Appended | Shape::AsAppended => {
            let pause = Duration::from_millis(dice.below(20));
            let inputs = stream::iter(inputs).then(move |n| async move {
                if n % 100 == 0 {
                    sleep(pause).await;
                }
                Ok(n.to_string().into())
            });
            submission.stream(inputs).await?
        }
    };
    Ok(job.id)
}

/// Each result once, in order and right; once more in the order in which they came; and counts
/// that say the same. Tells the attempts that were recorded.
async fn follow(client: &Client, id: &str, begin: u64, count: u64) -> Result<u64, Error> {
    let mut results = client.results(id, ResultsOptions::default().follow());
    let mut next = 0;
    while let Some(result) = results.try_next().await? {
        let output = String::from_utf8_lossy(&result.output).into_owned();
        if (result.index, &output) != (next, &expected(begin + next)) {
            return Err(format!("at {next} of job {id}: {result:?}").into());
        }
        next += 1;
    }
    let mut seen = vec![false; usize::try_from(count)?];
    let mut completed = client.results(id, ResultsOptions::default().as_completed());
    while let Some(result) = completed.try_next().await? {
        let at = usize::try_from(result.index)?;
        if std::mem::replace(&mut seen[at], true) {
            return Err(format!("{at} of job {id} was shown twice").into());
        }
        if result.output != expected(begin + result.index).as_bytes() {
            return Err(format!("at {at} of job {id}, in columns: {result:?}").into());
        }
    }
    // A single question is not asked again by the library: whether it should be is its user's to
    // say.
    let job = loop {
        match client.get(id).await {
            Ok(job) => break job,
            Err(umbel_client::Error::Unreachable { .. }) => sleep(Duration::from_millis(200)).await,
            Err(error) => return Err(error.into()),
        }
    };
    let counts = job.counts.unwrap_or_default();
    let whole = next == count && seen.iter().all(|&seen| seen) && counts.succeeded == count;
    whole
        .then_some(job.attempts)
        .ok_or_else(|| format!("job {id} of {count}: {next} results, {counts:?}").into())
}
