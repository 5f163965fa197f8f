//! Holds what was found against what an earlier bench found.

use std::path::Path;

use super::figure::{Better, shown};
use super::report::Document;
use crate::exit::Exit;
use crate::output::{self, Column, Table};

/// A figure then and now.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    title: String,
    name: String,
    old: f64,
    new: f64,
}

impl Change {
    /// By which factor it became worse; below 1 it became better.
    fn worse(&self) -> f64 {
        Better::of(&self.name).worse(self.old, self.new)
    }
}

/// Reads what an earlier bench printed with `--output json`.
pub(super) fn read(path: &Path) -> Result<Document, Exit> {
    let wrong = |error: String| {
        Exit::usage(format!(
            "{}: {error}; it should be what `umbel bench ... --output json` printed",
            path.display()
        ))
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))
}

/// What both documents have: medians by title and figure.
pub(super) fn changes(old: &Document, new: &Document) -> Vec<Change> {
    let mut changes = Vec::new();
    for report in &new.scenarios {
        let before = old.scenarios.iter().find(|old| old.title == report.title);
        let Some(before) = before else { continue };
        for figure in &report.figures {
            if let Some(old) = before.figure(&figure.name) {
                changes.push(Change {
                    title: report.title.clone(),
                    name: figure.name.clone(),
                    old: old.median,
                    new: figure.median,
                });
            }
        }
    }
    changes
}

/// Prints them: what is worse has a ratio above 1, whichever way the figure should go.
pub(super) fn print(changes: &[Change]) -> Result<(), Exit> {
    let mut table = Table::new([
        Column::flexible("SCENARIO"),
        Column::text("FIGURE"),
        Column::number("OLD"),
        Column::number("NEW"),
        Column::number("WORSE BY"),
    ]);
    for change in changes {
        table.row([
            change.title.clone(),
            change.name.clone(),
            shown(&change.name, change.old),
            shown(&change.name, change.new),
            format!("{:.2}", change.worse()),
        ]);
    }
    output::line("")?;
    table.print("nothing to compare: the two have no scenario of the same title")
}

/// Fails when a figure became worse by more than a factor.
pub(super) fn judge(changes: &[Change], fail_beyond: f64) -> Result<(), Exit> {
    let worst = changes
        .iter()
        .filter(|change| change.worse() > fail_beyond)
        .max_by(|a, b| a.worse().total_cmp(&b.worse()));
    worst.map_or(Ok(()), |change| {
        Err(Exit::failed(format!(
            "{}: {} is worse by a factor of {:.2}, more than {fail_beyond}",
            change.title,
            change.name,
            change.worse()
        )))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::bench::meter::Run;
    use crate::command::bench::report::{Machine, Report};

    fn document(title: &str, rate: f64) -> Document {
        let mut run = Run::default();
        run.push("jobs_per_second", rate);
        Document {
            version: String::new(),
            machine: Machine::this(),
            scenarios: vec![Report::of(title.to_owned(), vec![run])],
        }
    }

    #[test]
    fn a_lower_rate_is_worse_and_fails_only_beyond_the_bound() {
        let found = changes(&document("jobs", 300.0), &document("jobs", 200.0));
        assert!((found[0].worse() - 1.5).abs() < 1e-9);
        assert!(judge(&found, 1.6).is_ok());
        let error = judge(&found, 1.2).unwrap_err();
        assert_eq!(error.code(), 1);
        assert!(error.to_string().contains("factor of 1.50"), "{error}");
    }

    #[test]
    fn only_what_both_have_is_compared() {
        assert_eq!(changes(&document("a", 1.0), &document("b", 1.0)), []);
    }

    #[test]
    fn a_document_comes_back_from_its_json() {
        let old = document("jobs", 300.0);
        let text = serde_json::to_string(&old).unwrap();
        let back: Document = serde_json::from_str(&text).unwrap();
        assert_eq!(changes(&old, &back).len(), 1);
    }
}
