//! Experiments, as they are printed. What is not bounded or not known is `null`.

use std::collections::BTreeMap;

use serde::Serialize;
use umbel_client::v1;

use super::{failure_kind, shown};

/// The arms of an alias side by side.
#[derive(Debug, Serialize)]
pub(crate) struct Experiment<'a> {
    alias: &'a str,
    since: Option<String>,
    until: Option<String>,
    route_set_at: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    key: &'a str,
    baseline: &'a str,
    sample_ratio: &'static str,
    arms: Vec<Arm<'a>>,
    comparisons: Vec<Comparison<'a>>,
    results_read: u64,
    results_cut: bool,
    warnings: &'a [String],
}

#[derive(Debug, Serialize)]
struct Arm<'a> {
    arm: &'a str,
    target: &'a str,
    weight_percent: f64,
    routed: u64,
    succeeded: u64,
    failed: u64,
    failures: BTreeMap<&'static str, u64>,
    failure_rate: Option<f64>,
    failure_rate_bounds: Option<[f64; 2]>,
    attempts: u64,
    warm: RunTimes,
    cold: RunTimes,
    cpu_us: Option<f64>,
    cost: Option<f64>,
    metrics: BTreeMap<&'a str, Metric>,
}

#[derive(Debug, Default, Serialize)]
struct RunTimes {
    count: u64,
    #[serde(flatten)]
    percentiles: BTreeMap<String, Percentile>,
}

#[derive(Debug, Serialize)]
struct Percentile {
    us: f64,
    bounds_us: Option<[f64; 2]>,
}

#[derive(Debug, Serialize)]
struct Metric {
    count: u64,
    without: u64,
    mean: Option<f64>,
    bounds: Option<[f64; 2]>,
}

#[derive(Debug, Serialize)]
struct Comparison<'a> {
    arm: &'a str,
    measure: &'a str,
    value: Option<f64>,
    baseline_value: Option<f64>,
    difference: Option<[f64; 2]>,
    within: f64,
    verdict: &'static str,
}

impl<'a> Experiment<'a> {
    /// An experiment of an alias, with the metrics that were asked for.
    pub(crate) fn new(
        alias: &'a str,
        metrics: &'a [v1::Metric],
        found: &'a v1::GetExperimentResponse,
    ) -> Self {
        let comparisons = found.comparisons.iter().map(|one| Comparison {
            arm: &one.arm,
            measure: &one.measure,
            value: one.value,
            baseline_value: one.baseline_value,
            difference: bounds(one.difference.as_ref()),
            within: one.within,
            verdict: verdict_word(one.verdict()),
        });
        Self {
            alias,
            since: shown(found.since.as_ref()),
            until: shown(found.until.as_ref()),
            route_set_at: shown(found.route_set_at.as_ref()),
            key: &found.key,
            baseline: &found.baseline,
            sample_ratio: ratio_word(found.ratio()),
            arms: found
                .arms
                .iter()
                .map(|arm| Arm::new(arm, metrics))
                .collect(),
            comparisons: comparisons.collect(),
            results_read: found.results_read,
            results_cut: found.results_cut,
            warnings: &found.warnings,
        }
    }
}

impl<'a> Arm<'a> {
    fn new(arm: &'a v1::ExperimentArm, metrics: &'a [v1::Metric]) -> Self {
        let failures = arm.failures.iter();
        let figures = metrics.iter().zip(&arm.metrics).map(|(metric, figures)| {
            let shown = Metric {
                count: figures.count,
                without: figures.without,
                mean: figures.mean,
                bounds: bounds(figures.bounds.as_ref()),
            };
            (metric.pointer.as_str(), shown)
        });
        Self {
            arm: &arm.name,
            target: &arm.target,
            weight_percent: f64::from(arm.weight) / 100.0,
            routed: arm.routed,
            succeeded: arm.succeeded,
            failed: failures.clone().map(|failure| failure.count).sum(),
            failures: failures
                .map(|failure| (failure_kind(failure.kind()), failure.count))
                .collect(),
            failure_rate: arm.failure_rate,
            failure_rate_bounds: bounds(arm.failure_bounds.as_ref()),
            attempts: arm.attempts,
            warm: run_times(arm.warm.as_ref()),
            cold: run_times(arm.cold.as_ref()),
            cpu_us: arm.cpu_us,
            cost: arm.cost,
            metrics: figures.collect(),
        }
    }
}

fn run_times(times: Option<&v1::RunTimes>) -> RunTimes {
    let Some(times) = times else {
        return RunTimes::default();
    };
    let percentiles = times.percentiles.iter().map(|found| {
        let shown = Percentile {
            us: found.us,
            bounds_us: bounds(found.bounds.as_ref()),
        };
        (format!("p{}", found.percent), shown)
    });
    RunTimes {
        count: times.count,
        percentiles: percentiles.collect(),
    }
}

fn bounds(bounds: Option<&v1::Bounds>) -> Option<[f64; 2]> {
    bounds.map(|bounds| [bounds.low, bounds.high])
}

/// The word of a verdict.
fn verdict_word(verdict: v1::Verdict) -> &'static str {
    match verdict {
        v1::Verdict::Better => "better",
        v1::Verdict::Worse => "worse",
        v1::Verdict::NoDifference => "no_difference",
        v1::Verdict::NotEnough | v1::Verdict::Unspecified => "not_enough_data",
    }
}

/// The word for whether arms got their shares.
fn ratio_word(ratio: v1::SampleRatio) -> &'static str {
    match ratio {
        v1::SampleRatio::AsSet => "as_set",
        v1::SampleRatio::Off => "off",
        v1::SampleRatio::NotJudged | v1::SampleRatio::Unspecified => "not_judged",
    }
}
