//! What was found, as tables for people.

use super::figure::shown;
use super::metrics::Histogram;
use super::report::{Report, Spread};
use crate::exit::Exit;
use crate::output::{self, Column, Table};

/// Prints one scenario: its figures, what its turns and commits took, and whether all was right.
pub(super) fn report(report: &Report) -> Result<(), Exit> {
    output::line(&report.title)?;
    let mut table = Table::new(["FIGURE", "MIN", "MEDIAN", "MAX"].map(|title| match title {
        "FIGURE" => Column::text(title),
        _ => Column::number(title),
    }));
    for figure in &report.figures {
        let cell = |value| shown(&figure.name, value);
        table.row([
            figure.name.clone(),
            cell(figure.min),
            cell(figure.median),
            cell(figure.max),
        ]);
    }
    table.print("no figures")?;
    if let Some(run) = report.runs.last().filter(|run| run.turn_seconds.count > 0) {
        output::line(&format!("turns    {}", times(&run.turn_seconds)))?;
        output::line(&format!("commits  {}", times(&run.commit_seconds)))?;
    }
    output::line(match report.wrong() {
        Some(_) => "results  NOT all right",
        None => "results  all right, each once",
    })
}

/// `1,204, half of them within 0.1 ms, 99 % within 2.5 ms`.
fn times(histogram: &Histogram) -> String {
    let within = |hundredths| match histogram.percentile_seconds(hundredths) {
        Some(seconds) => format!("within {}", shown("_us", seconds * 1e6)),
        None => "over all bounds".to_owned(),
    };
    format!(
        "{}, half of them {}, 99 % {}",
        output::count(histogram.count),
        within(50),
        within(99)
    )
}

/// Prints what must hold, row by row: the median, the bounds, and whether they are kept.
pub(super) fn bars(reports: &[Report]) -> Result<(), Exit> {
    let mut table = Table::new([
        Column::flexible("SCENARIO"),
        Column::text("FIGURE"),
        Column::number("MEDIAN"),
        Column::number("MUST"),
        Column::number("GOAL"),
        Column::text("KEPT"),
    ]);
    for report in reports {
        for figure in report.figures.iter().filter(|figure| figure.must.is_some()) {
            let bound = |bound: Option<f64>| {
                bound.map_or_else(String::new, |bound| shown(&figure.name, bound))
            };
            table.row([
                report.title.clone(),
                figure.name.clone(),
                shown(&figure.name, figure.median),
                bound(figure.must),
                bound(figure.goal),
                kept(figure).to_owned(),
            ]);
        }
        for (name, must, goal) in &report.left_out {
            table.row([
                report.title.clone(),
                (*name).to_owned(),
                String::new(),
                shown(name, *must),
                shown(name, *goal),
                "left out".to_owned(),
            ]);
        }
    }
    table.print("no bounds")
}

fn kept(figure: &Spread) -> &'static str {
    let keeps =
        |bound: Option<f64>| bound.is_none_or(|bound| figure.better.keeps(figure.median, bound));
    match (keeps(figure.must), keeps(figure.goal)) {
        (_, true) => "goal",
        (true, false) => "must",
        (false, false) => "NO",
    }
}
