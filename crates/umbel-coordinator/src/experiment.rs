//! Arms held against each other: what figures say of them, and never more.

use umbel_core::arm::ArmFigures;
use umbel_core::histogram::{self, Histogram};
use umbel_core::outcome::FailureKind;
use umbel_proto::{convert, v1};
use umbel_stats::mean::{self, Moments};
use umbel_stats::quantile::{self, Times};
use umbel_stats::rate::{self, Count};
use umbel_stats::share::Mismatch;
use umbel_stats::{Alpha, Finding, Interval, Wish};

/// Hundredths of run times that are compared, warm and cold apart.
const PERCENTS: [(u32, f64, &str, &str); 3] = [
    (50, 0.50, "warm_p50", "cold_p50"),
    (95, 0.95, "warm_p95", "cold_p95"),
    (99, 0.99, "warm_p99", "cold_p99"),
];

/// Shares are called off wrongly, ever, in one experiment of so many.
const RATIO_ONE_IN: u32 = 1_000;

/// An arm and all that is known of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arm {
    pub(crate) name: String,
    /// As people write it; empty: nothing goes to it any more.
    pub(crate) target: String,
    /// Its share of the split; none: it has none.
    pub(crate) weight: Option<u16>,
    pub(crate) figures: ArmFigures,
    /// What was found in outputs, for each metric.
    pub(crate) metrics: Vec<Found>,
}

/// The numbers that a metric found in outputs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    pub(crate) numbers: Moments,
    /// Outputs that had none.
    pub(crate) without: u64,
}

/// A number in outputs.
#[derive(Clone, Debug)]
pub(crate) struct Metric {
    pub(crate) pointer: String,
    pub(crate) wish: Wish,
}

/// What is asked of arms.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// The place of the arm that others are held against.
    pub(crate) baseline: usize,
    pub(crate) within_rate: f64,
    pub(crate) within_part: f64,
    pub(crate) metrics: Vec<Metric>,
}

/// What came of an arm, for people.
pub(crate) fn shown(arm: &Arm) -> v1::ExperimentArm {
    let alpha = Alpha::one_in_twenty();
    let figures = &arm.figures;
    let failures = FailureKind::ALL.into_iter().map(|kind| v1::FailureCount {
        kind: convert::wire_failure_kind(kind).into(),
        count: figures.failed_of(kind),
    });
    let count = failed(figures);
    let each = |sum: u64, of: u64| (of > 0).then(|| sum as f64 / of as f64);
    let measured = figures.usage.cpu_us > 0;
    let cpu_us = each(figures.usage.cpu_us, figures.usage.attempts).filter(|_| measured);
    let slot_us = each(figures.usage.duration_us, figures.finished());
    v1::ExperimentArm {
        name: arm.name.clone(),
        target: arm.target.clone(),
        weight: u32::from(arm.weight.unwrap_or(0)),
        routed: figures.routed,
        succeeded: figures.succeeded,
        failures: failures.filter(|failure| failure.count > 0).collect(),
        attempts: figures.usage.attempts,
        failure_rate: count.rate(),
        failure_bounds: Some(bounds(rate::interval(count, alpha))),
        warm: Some(run_times(&figures.warm, alpha)),
        cold: Some(run_times(&figures.cold, alpha)),
        cpu_us,
        cost: slot_us.map(|us| us / 1e6),
        metrics: arm
            .metrics
            .iter()
            .map(|found| shown_metric(*found, alpha))
            .collect(),
    }
}

fn shown_metric(found: Found, alpha: Alpha) -> v1::MetricFigures {
    let numbers = found.numbers;
    v1::MetricFigures {
        count: numbers.count,
        without: found.without,
        mean: (numbers.count > 0).then_some(numbers.mean),
        bounds: Some(bounds(mean::interval(numbers, alpha))),
    }
}

fn run_times(histogram: &Histogram, alpha: Alpha) -> v1::RunTimes {
    let times = times(histogram);
    let percentiles = PERCENTS.iter().filter_map(|(percent, part, ..)| {
        Some(v1::Percentile {
            percent: *percent,
            us: times.quantile(*part)?,
            bounds: Some(bounds(quantile::interval(&times, *part, alpha))),
        })
    });
    v1::RunTimes {
        count: histogram.count(),
        percentiles: percentiles.collect(),
    }
}

/// Holds each arm of the split against the baseline.
pub(crate) fn compare(arms: &[Arm], question: &Question) -> Vec<v1::Comparison> {
    let Some(baseline) = arms.get(question.baseline) else {
        return Vec::new();
    };
    let others = arms.iter().enumerate();
    let others = others.filter(|(at, arm)| *at != question.baseline && arm.weight.is_some());
    let others: Vec<&Arm> = others.map(|(_, arm)| arm).collect();
    let questions = others.len() * (1 + 2 * PERCENTS.len() + question.metrics.len());
    let questions = u32::try_from(questions).unwrap_or(u32::MAX);
    // None of the verdicts may be wrong, so each has a part of what may.
    let alpha = Alpha::one_in_twenty().shared_by(questions);
    let compared = others.into_iter().flat_map(|arm| {
        let mut all = vec![rates(arm, baseline, question, alpha)];
        for (_, part, warm, cold) in PERCENTS {
            let arms = [(warm, &arm.figures.warm, &baseline.figures.warm)];
            let arms = arms
                .into_iter()
                .chain([(cold, &arm.figures.cold, &baseline.figures.cold)]);
            all.extend(arms.map(|(measure, ours, theirs)| {
                let compared = durations((ours, theirs), part, question, alpha);
                named(compared, arm, measure)
            }));
        }
        let metrics = question.metrics.iter().enumerate();
        all.extend(metrics.map(|(at, metric)| means(arm, baseline, (at, metric), question, alpha)));
        all
    });
    compared.collect()
}

fn named(comparison: v1::Comparison, arm: &Arm, measure: &str) -> v1::Comparison {
    v1::Comparison {
        arm: arm.name.clone(),
        measure: measure.to_owned(),
        ..comparison
    }
}

fn rates(arm: &Arm, baseline: &Arm, question: &Question, alpha: Alpha) -> v1::Comparison {
    let (ours, theirs) = (failed(&arm.figures), failed(&baseline.figures));
    let difference = if ours.of.min(theirs.of) == 0 {
        Interval::WHOLE
    } else {
        rate::difference(ours, theirs, alpha)
    };
    let compared = v1::Comparison {
        value: ours.rate(),
        baseline_value: theirs.rate(),
        difference: Some(bounds(difference)),
        within: question.within_rate,
        verdict: verdict(difference, question.within_rate, Wish::Less).into(),
        ..v1::Comparison::default()
    };
    named(compared, arm, "failure_rate")
}

fn durations(
    (ours, theirs): (&Histogram, &Histogram),
    part: f64,
    question: &Question,
    alpha: Alpha,
) -> v1::Comparison {
    let (ours, theirs) = (times(ours), times(theirs));
    let difference = if ours.count().min(theirs.count()) == 0 {
        Interval::WHOLE
    } else {
        let ratio = quantile::ratio(&ours, &theirs, part, alpha);
        Interval {
            low: ratio.low - 1.0,
            high: ratio.high - 1.0,
        }
    };
    v1::Comparison {
        value: ours.quantile(part),
        baseline_value: theirs.quantile(part),
        difference: Some(bounds(difference)),
        within: question.within_part,
        verdict: verdict(difference, question.within_part, Wish::Less).into(),
        ..v1::Comparison::default()
    }
}

fn means(
    arm: &Arm,
    baseline: &Arm,
    (at, metric): (usize, &Metric),
    question: &Question,
    alpha: Alpha,
) -> v1::Comparison {
    let numbers = |arm: &Arm| {
        arm.metrics
            .get(at)
            .map(|found| found.numbers)
            .unwrap_or_default()
    };
    let (ours, theirs) = (numbers(arm), numbers(baseline));
    let difference = mean::difference(ours, theirs, alpha);
    let within = question.within_part * theirs.mean.abs();
    let compared = v1::Comparison {
        value: (ours.count > 0).then_some(ours.mean),
        baseline_value: (theirs.count > 0).then_some(theirs.mean),
        difference: Some(bounds(difference)),
        within,
        verdict: verdict(difference, within, metric.wish).into(),
        ..v1::Comparison::default()
    };
    named(compared, arm, &metric.pointer)
}

/// Whether the arms of a split got their shares, where `got` says how many inputs each got.
pub(crate) fn ratio(arms: &[Arm], got: impl Fn(&Arm) -> u64) -> v1::SampleRatio {
    let weighed = arms
        .iter()
        .filter_map(|arm| Some((got(arm), u64::from(arm.weight?))));
    let weighed: Vec<(u64, u64)> = weighed.collect();
    if Mismatch::of(&weighed).is_off(Alpha::one_in(RATIO_ONE_IN)) {
        v1::SampleRatio::Off
    } else {
        v1::SampleRatio::AsSet
    }
}

fn failed(figures: &ArmFigures) -> Count {
    Count::new(figures.failures(), figures.finished())
}

fn times(histogram: &Histogram) -> Times {
    Times::of(histogram.buckets().map(|(bucket, count)| {
        let span = histogram::span(bucket);
        (span.start, span.end, count)
    }))
}

fn bounds(interval: Interval) -> v1::Bounds {
    v1::Bounds {
        low: interval.low,
        high: interval.high,
    }
}

fn verdict(difference: Interval, within: f64, wish: Wish) -> v1::Verdict {
    match Finding::of(difference, within, wish) {
        Finding::Better => v1::Verdict::Better,
        Finding::Worse => v1::Verdict::Worse,
        Finding::NoDifference => v1::Verdict::NoDifference,
        Finding::NotEnough => v1::Verdict::NotEnough,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An arm of so many invocations, of which some failed and all ran about so long.
    fn arm(name: &str, weight: u16, (ended, failed): (u64, u64), us: u64) -> Arm {
        let mut arm = Arm {
            name: name.to_owned(),
            weight: Some(weight),
            ..Arm::default()
        };
        arm.figures.routed = ended;
        arm.figures.succeeded = ended - failed;
        arm.figures.fail(FailureKind::Function, failed);
        for step in 0..10 {
            let bucket = histogram::bucket(us + us * step / 10);
            arm.figures.warm.add_bucket(bucket, ended / 10);
        }
        arm
    }

    fn question(metrics: Vec<Metric>) -> Question {
        Question {
            baseline: 0,
            within_rate: 0.005,
            within_part: 0.05,
            metrics,
        }
    }

    fn verdicts(arms: &[Arm], question: &Question) -> Vec<(String, v1::Verdict)> {
        let compared = compare(arms, question).into_iter();
        let compared = compared.map(|one| (one.measure.clone(), one.verdict()));
        compared.collect()
    }

    fn of(verdicts: &[(String, v1::Verdict)], measure: &str) -> v1::Verdict {
        verdicts.iter().find(|(name, _)| name == measure).unwrap().1
    }

    #[test]
    fn verdicts_say_what_the_figures_say_and_no_more() {
        let arms = [
            arm("1", 5_000, (20_000, 100), 1_000),
            arm("2", 5_000, (20_000, 1_000), 2_000),
        ];
        let found = verdicts(&arms, &question(Vec::new()));
        assert_eq!(of(&found, "failure_rate"), v1::Verdict::Worse);
        assert_eq!(of(&found, "warm_p50"), v1::Verdict::Worse);
        assert_eq!(
            of(&found, "cold_p95"),
            v1::Verdict::NotEnough,
            "there were none"
        );

        let arms = [arms[1].clone(), arms[0].clone()];
        let found = verdicts(&arms, &question(Vec::new()));
        assert_eq!(of(&found, "failure_rate"), v1::Verdict::Better);
        assert_eq!(of(&found, "warm_p95"), v1::Verdict::Better);

        let alike = arm("1", 5_000, (100_000, 100), 1_000);
        let found = verdicts(&[alike.clone(), alike], &question(Vec::new()));
        assert_eq!(of(&found, "failure_rate"), v1::Verdict::NoDifference);

        let few = arm("1", 5_000, (10, 1), 1_000);
        let found = verdicts(&[few.clone(), few], &question(Vec::new()));
        let enough = found
            .iter()
            .filter(|(_, found)| *found != v1::Verdict::NotEnough);
        assert_eq!(enough.count(), 0, "{found:?}");
    }

    #[test]
    fn nothing_at_all_says_nothing() {
        let none = arm("1", 5_000, (0, 0), 1_000);
        let found = verdicts(&[none.clone(), none.clone()], &question(Vec::new()));
        assert!(
            found
                .iter()
                .all(|(_, found)| *found == v1::Verdict::NotEnough)
        );
        let shown = shown(&none);
        assert_eq!(
            (shown.failure_rate, shown.cost, shown.cpu_us),
            (None, None, None)
        );
        assert!(shown.warm.unwrap().percentiles.is_empty());
    }

    #[test]
    fn a_metric_is_better_the_way_it_is_wished_for() {
        let with = |mean: f64| {
            let mut found = Found::default();
            (0..2_000).for_each(|step| found.numbers.add(mean + f64::from(step % 10) / 10.0));
            Arm {
                metrics: vec![found],
                ..arm("1", 5_000, (10, 0), 1_000)
            }
        };
        for (wish, verdict) in [
            (Wish::More, v1::Verdict::Better),
            (Wish::Less, v1::Verdict::Worse),
        ] {
            let metric = Metric {
                pointer: "/score".to_owned(),
                wish,
            };
            let found = verdicts(&[with(5.0), with(9.0)], &question(vec![metric]));
            assert_eq!(of(&found, "/score"), verdict);
        }
    }

    #[test]
    fn only_arms_of_the_split_are_held_against_each_other() {
        let rule = Arm {
            weight: None,
            ..arm("rule:x", 0, (100, 0), 1_000)
        };
        let arms = [
            arm("1", 9_000, (900, 0), 1_000),
            arm("2", 1_000, (100, 0), 1_000),
            rule,
        ];
        let compared = compare(&arms, &question(Vec::new()));
        assert!(compared.iter().all(|one| one.arm == "2"));
        assert_eq!(compared.len(), 7);
        assert_eq!(
            ratio(&arms, |arm| arm.figures.routed),
            v1::SampleRatio::AsSet
        );
        let off = [
            arm("1", 5_000, (9_000, 0), 1_000),
            arm("2", 5_000, (8_000, 0), 1_000),
        ];
        assert_eq!(ratio(&off, |arm| arm.figures.routed), v1::SampleRatio::Off);
    }
}
