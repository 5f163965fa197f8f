//! `umbel experiment report`.

use std::time::{Duration, SystemTime};

use umbel_client::{Client, v1};

use super::table;
use crate::command::function::alias::parts;
use crate::command::words::{duration_ms, weight};
use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::output::{self, Experiment};

const EXAMPLES: &str = "\
Every figure is of all arms over the same time: since the route was set, or --since, or those of one
job. Each other arm is held against the one with most weight. Intervals and verdicts hold however
often you look; the chance that any verdict is ever wrong is at most 5 %. They suppose that
invocations are independent of each other. Run times are of attempts, failed ones too, and of a
--job of final attempts; cost is slot time, for a thousand invocations that ended.

Examples:
  umbel experiment report resize@live
  umbel experiment report resize --since 1h --output json
  umbel experiment report score@live --job last --metric /score --metric /price:less";

/// The arguments of `experiment report`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// NAME@ALIAS; NAME alone is NAME@live
    alias: String,
    /// Only what this job's results say: its id, its name, or `last`
    #[arg(long, value_name = "ID", conflicts_with = "since")]
    job: Option<String>,
    /// For how long, such as 1h; it is cut at 5 minutes, or at hours and days where it is long ago
    /// [default: since the route was set]
    #[arg(long, value_name = "TIME", value_parser = duration_ms)]
    since: Option<u64>,
    /// A number in outputs of which more is better, by JSON pointer; /POINTER:less for one of
    /// which less is. May be repeated
    #[arg(long, value_name = "/POINTER[:less]", value_parser = metric)]
    metric: Vec<v1::Metric>,
    /// The arm that others are held against [default: the one with most weight]
    #[arg(long, value_name = "ARM")]
    baseline: Option<String>,
    /// What counts as no difference of run times and metrics
    #[arg(long, value_name = "P%", value_parser = part, default_value = "5%")]
    within: f64,
    /// What counts as no difference of failure rates, in percentage points
    #[arg(long, value_name = "P%", value_parser = part, default_value = "0.5%")]
    within_failures: f64,
}

/// Reads a metric.
fn metric(text: &str) -> Result<v1::Metric, String> {
    let (pointer, less_is_better) = match text.rsplit_once(':') {
        Some((pointer, "less")) => (pointer, true),
        Some((pointer, "more")) => (pointer, false),
        _ => (text, false),
    };
    if !pointer.starts_with('/') {
        return Err(format!(
            "{text:?} is no JSON pointer; write one such as /score, or /price:less"
        ));
    }
    Ok(v1::Metric {
        pointer: pointer.to_owned(),
        less_is_better,
    })
}

fn part(text: &str) -> Result<f64, String> {
    let points = weight(text);
    let points =
        points.ok_or_else(|| format!("{text:?} is no percentage; write one such as 5%"))?;
    Ok(f64::from(points) / 10_000.0)
}

/// Shows the arms.
pub(super) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    let (function, alias) = parts(&args.alias);
    let since = args.since.map(|ms| {
        let now = SystemTime::now();
        let since = now.checked_sub(Duration::from_millis(ms));
        since.unwrap_or(SystemTime::UNIX_EPOCH).into()
    });
    let request = v1::GetExperimentRequest {
        function: function.to_owned(),
        alias: alias.to_owned(),
        since,
        job_id: args.job.unwrap_or_default(),
        metrics: args.metric.clone(),
        baseline: args.baseline.unwrap_or_default(),
        within_rate: Some(args.within_failures),
        within_part: Some(args.within),
    };
    let client = Client::connect(&global.coordinator)?;
    let found = client.experiment(request).await?;
    if global.output == OutputForm::Json {
        let name = format!("{function}@{alias}");
        return output::document(&Experiment::new(&name, &args.metric, &found));
    }
    table::print(&format!("{function}@{alias}"), &args.metric, &found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_says_which_way_is_better() {
        let read = |text| metric(text).map(|metric| (metric.pointer, metric.less_is_better));
        assert_eq!(read("/score"), Ok(("/score".to_owned(), false)));
        assert_eq!(read("/a/price:less"), Ok(("/a/price".to_owned(), true)));
        assert_eq!(read("/a:b"), Ok(("/a:b".to_owned(), false)));
        assert_eq!(read("/a:less:more"), Ok(("/a:less".to_owned(), false)));
        assert!(
            read("score")
                .unwrap_err()
                .contains("\"score\" is no JSON pointer")
        );
    }

    #[test]
    fn what_counts_as_none_is_a_percentage() {
        assert_eq!(part("0.5%"), Ok(0.005));
        assert!(part("5").unwrap_err().contains("no percentage"));
    }
}
