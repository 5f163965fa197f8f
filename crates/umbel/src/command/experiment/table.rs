//! An experiment as people read it.

use umbel_client::v1;

use crate::command::words::percent;
use crate::exit::Exit;
use crate::output::{self, Column, Table, failure_kind, time};

/// Prints what came of the arms, then what can be said of them.
pub(super) fn print(
    alias: &str,
    metrics: &[v1::Metric],
    found: &v1::GetExperimentResponse,
) -> Result<(), Exit> {
    let (since, until) = (time(found.since.as_ref()), time(found.until.as_ref()));
    output::line(&format!("{alias}  {since} to {until}"))?;
    output::line("")?;
    arms(found).print("no arms")?;
    for arm in &found.arms {
        if let Some(line) = failures(arm) {
            output::line(&line)?;
        }
    }
    if !metrics.is_empty() {
        output::line("")?;
        outputs(metrics, found).print("no metrics")?;
    }
    output::line("")?;
    let compared = comparisons(found);
    compared.print("nothing to compare yet")?;
    remarks(metrics, found);
    Ok(())
}

fn arms(found: &v1::GetExperimentResponse) -> Table<9> {
    let mut table = Table::new([
        Column::flexible("ARM"),
        Column::number("SHARE"),
        Column::number("ENDED"),
        Column::number("FAILED"),
        Column::number("P50"),
        Column::number("P95"),
        Column::number("P99"),
        Column::number("CPU"),
        Column::number("COST/1000"),
    ]);
    for arm in &found.arms {
        let share = match arm.weight {
            0 => "-".to_owned(),
            weight => percent(weight),
        };
        let (warm, cold) = (&arm.warm, &arm.cold);
        let failed = arm.failure_rate.map(|rate| format!("{:.2}%", rate * 100.0));
        table.row([
            arm.name.clone(),
            share,
            output::count(ended(arm)),
            failed.unwrap_or_else(none),
            percentile(warm.as_ref(), 50),
            percentile(warm.as_ref(), 95),
            percentile(warm.as_ref(), 99),
            arm.cpu_us.map_or_else(none, us),
            arm.cost
                .map_or_else(none, |cost| format!("{} s", number(cost * 1e3))),
        ]);
        if let Some(cold) = cold.as_ref().filter(|cold| cold.count > 0) {
            table.row([
                "  cold starts".to_owned(),
                String::new(),
                output::count(cold.count),
                String::new(),
                percentile(Some(cold), 50),
                percentile(Some(cold), 95),
                percentile(Some(cold), 99),
                String::new(),
                String::new(),
            ]);
        }
    }
    table
}

fn ended(arm: &v1::ExperimentArm) -> u64 {
    arm.succeeded
        + arm
            .failures
            .iter()
            .map(|failure| failure.count)
            .sum::<u64>()
}

fn none() -> String {
    "-".to_owned()
}

fn percentile(times: Option<&v1::RunTimes>, percent: u32) -> String {
    let mut all = times.into_iter().flat_map(|times| &times.percentiles);
    let found = all.find(|found| found.percent == percent);
    found.map_or_else(none, |found| us(found.us))
}

fn us(us: f64) -> String {
    output::duration_us(us.round() as u64)
}

/// A number with three digits that say something.
fn number(number: f64) -> String {
    let size = number.abs();
    match size {
        _ if size >= 100.0 => format!("{number:.0}"),
        _ if size >= 10.0 => format!("{number:.1}"),
        _ if size >= 1.0 || size == 0.0 => format!("{number:.2}"),
        _ if size >= 0.001 => format!("{number:.4}"),
        _ => format!("{number:.1e}"),
    }
}

/// As short as somebody wrote it, of what was a percentage.
fn round(points: f64) -> f64 {
    (points * 1e6).round() / 1e6
}

fn failures(arm: &v1::ExperimentArm) -> Option<String> {
    let kinds = arm.failures.iter();
    let kinds = kinds.map(|failure| {
        let kind = failure_kind(failure.kind());
        format!("{} {kind}", output::count(failure.count))
    });
    let kinds: Vec<String> = kinds.collect();
    (!kinds.is_empty()).then(|| format!("failures of {}: {}", arm.name, kinds.join(", ")))
}

fn outputs(metrics: &[v1::Metric], found: &v1::GetExperimentResponse) -> Table<5> {
    let mut table = Table::new([
        Column::flexible("METRIC"),
        Column::flexible("ARM"),
        Column::number("MEAN"),
        Column::number("OUTPUTS"),
        Column::number("WITHOUT"),
    ]);
    for (at, metric) in metrics.iter().enumerate() {
        for arm in &found.arms {
            let Some(figures) = arm.metrics.get(at) else {
                continue;
            };
            table.row([
                metric.pointer.clone(),
                arm.name.clone(),
                figures.mean.map_or_else(none, number),
                output::count(figures.count),
                output::count(figures.without),
            ]);
        }
    }
    table
}

fn comparisons(found: &v1::GetExperimentResponse) -> Table<6> {
    let mut table = Table::new([
        Column::flexible("ARM"),
        Column::flexible("MEASURE"),
        Column::number("ITS"),
        Column::number("BASELINE"),
        Column::number("DIFFERENCE"),
        Column::text("VERDICT"),
    ]);
    for one in &found.comparisons {
        if one.value.is_none() && one.baseline_value.is_none() {
            continue;
        }
        let kind = Kind::of(&one.measure);
        let shown = |value: Option<f64>| value.map_or_else(none, |value| kind.value(value));
        table.row([
            one.arm.clone(),
            kind.name(&one.measure),
            shown(one.value),
            shown(one.baseline_value),
            one.difference
                .as_ref()
                .map_or_else(none, |bounds| kind.difference(*bounds)),
            verdict(one, kind),
        ]);
    }
    table
}

/// What a figure is made of.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Rate,
    Time,
    Metric,
}

impl Kind {
    fn of(measure: &str) -> Self {
        match measure {
            "failure_rate" => Self::Rate,
            _ if measure.starts_with('/') => Self::Metric,
            _ => Self::Time,
        }
    }

    fn name(self, measure: &str) -> String {
        match self {
            Self::Rate => "failures".to_owned(),
            Self::Time => measure.replacen('_', " ", 1),
            Self::Metric => measure.to_owned(),
        }
    }

    fn value(self, value: f64) -> String {
        match self {
            Self::Rate => format!("{:.2}%", value * 100.0),
            Self::Time => us(value),
            Self::Metric => number(value),
        }
    }

    fn difference(self, bounds: v1::Bounds) -> String {
        let (low, high) = (bounds.low, bounds.high);
        let end = |end: f64| match self {
            Self::Rate => format!("{:+.2}", end * 100.0),
            Self::Time if end >= 9.995 => format!("{:+.0}x", end + 1.0),
            Self::Time => format!("{:+.0}%", end * 100.0),
            Self::Metric if end >= 0.0 => format!("+{}", number(end)),
            Self::Metric => number(end),
        };
        let unknown = match self {
            Self::Rate => low <= -1.0 && high >= 1.0,
            Self::Time => low <= -1.0 && high.is_infinite(),
            Self::Metric => low.is_infinite() && high.is_infinite(),
        };
        match self {
            _ if unknown || !low.is_finite() && !high.is_finite() => "any".to_owned(),
            Self::Rate => format!("{} to {} pt", end(low), end(high)),
            _ if high.is_infinite() => format!("{} or more", end(low)),
            _ => format!("{} to {}", end(low), end(high)),
        }
    }
}

fn verdict(one: &v1::Comparison, kind: Kind) -> String {
    match one.verdict() {
        v1::Verdict::Better => "better".to_owned(),
        v1::Verdict::Worse => "worse".to_owned(),
        v1::Verdict::NoDifference => {
            let within = match kind {
                Kind::Rate => format!("{} pt", round(one.within * 100.0)),
                Kind::Time => format!("{:.0}%", one.within * 100.0),
                Kind::Metric => number(one.within),
            };
            format!("no difference within {within}")
        }
        v1::Verdict::NotEnough | v1::Verdict::Unspecified => "not enough data yet".to_owned(),
    }
}

fn remarks(metrics: &[v1::Metric], found: &v1::GetExperimentResponse) {
    for warning in &found.warnings {
        output::remark(&format!("warning: {warning}"));
    }
    if found.results_read > 0 || found.results_cut {
        let read = output::count(found.results_read);
        let of = if metrics.is_empty() {
            "figures"
        } else {
            "metrics"
        };
        let cut = if found.results_cut {
            ", the first of more"
        } else {
            ""
        };
        output::remark(&format!("{of} are of {read} results{cut}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_have_their_unit_and_say_when_nothing_is_known() {
        let bounds = |low, high| v1::Bounds { low, high };
        let table = [
            (Kind::Rate, bounds(-0.0012, 0.0055), "-0.12 to +0.55 pt"),
            (Kind::Rate, bounds(-1.0, 1.0), "any"),
            (Kind::Time, bounds(0.02, 0.31), "+2% to +31%"),
            (Kind::Time, bounds(0.5, 41.0), "+50% to +42x"),
            (Kind::Time, bounds(0.5, f64::INFINITY), "+50% or more"),
            (Kind::Time, bounds(-1.0, f64::INFINITY), "any"),
            (Kind::Metric, bounds(-0.25, 3.0), "-0.2500 to +3.00"),
            (
                Kind::Metric,
                bounds(f64::NEG_INFINITY, f64::INFINITY),
                "any",
            ),
        ];
        for (kind, bounds, expected) in table {
            assert_eq!(kind.difference(bounds), expected);
        }
    }

    #[test]
    fn numbers_have_three_digits_that_say_something() {
        let shown = [0.0, 1234.5, 12.34, 1.234, 0.1234, 0.000_012].map(number);
        assert_eq!(shown, ["0.00", "1234", "12.3", "1.23", "0.1234", "1.2e-5"]);
    }
}
