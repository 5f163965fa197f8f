//! What a bench prints: every run as it was, and over all runs the least, the median and the most
//! of each figure.

use serde::{Deserialize, Serialize};

use super::figure::Better;
use super::meter::Run;

/// What a bench found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Document {
    /// The version of umbel.
    pub(super) version: String,
    pub(super) machine: Machine,
    pub(super) scenarios: Vec<Report>,
}

/// The machine that it ran on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Machine {
    pub(super) cores: u64,
    pub(super) processor: String,
    pub(super) kernel: String,
}

impl Machine {
    /// This one.
    pub(super) fn this() -> Self {
        let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpus.lines().find(|line| line.starts_with("model name"));
        let model = model.and_then(|line| line.split_once(": "));
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from) as u64,
            processor: model.map_or_else(String::new, |(_, model)| model.to_owned()),
            kernel: rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned(),
        }
    }
}

/// What one scenario found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Report {
    /// What was done, with its numbers: two reports of one title can be compared.
    pub(super) title: String,
    pub(super) figures: Vec<Spread>,
    pub(super) runs: Vec<Run>,
    /// Bounds of figures that this build or this machine could not have, as name, must and goal.
    #[serde(skip)]
    pub(super) left_out: Vec<(&'static str, f64, f64)>,
}

/// A figure over all runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Spread {
    pub(super) name: String,
    pub(super) better: Better,
    pub(super) min: f64,
    pub(super) median: f64,
    pub(super) max: f64,
    /// What it must be, where that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) must: Option<f64>,
    /// What it should be one day.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) goal: Option<f64>,
}

impl Report {
    /// Gathers the runs of a scenario, of which there is one at least.
    pub(super) fn of(title: String, runs: Vec<Run>) -> Self {
        let names = runs.first().map(|run| run.figures.as_slice());
        let figures = names
            .unwrap_or_default()
            .iter()
            .map(|figure| Spread::of(&figure.name, &runs))
            .collect();
        Self {
            title,
            figures,
            runs,
            left_out: Vec::new(),
        }
    }

    /// The figure of a name.
    pub(super) fn figure(&self, name: &str) -> Option<&Spread> {
        self.figures.iter().find(|figure| figure.name == name)
    }

    /// The first thing that was wrong in any run.
    pub(super) fn wrong(&self) -> Option<&str> {
        self.runs.iter().find_map(|run| run.wrong.as_deref())
    }
}

impl Spread {
    fn of(name: &str, runs: &[Run]) -> Self {
        let figures = runs.iter().flat_map(|run| &run.figures);
        let values = figures.filter(|figure| figure.name == name);
        let mut values: Vec<f64> = values.map(|figure| figure.value).collect();
        values.sort_unstable_by(f64::total_cmp);
        let at = |place: usize| values.get(place).copied().unwrap_or_default();
        let last = values.len().saturating_sub(1);
        Self {
            name: name.to_owned(),
            better: Better::of(name),
            min: at(0),
            median: f64::midpoint(at(last / 2), at(last.div_ceil(2))),
            max: at(last),
            must: None,
            goal: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_gathered_by_the_name_of_their_figures() {
        let run = |value| {
            let mut run = Run::default();
            run.push("jobs_per_second", value);
            run
        };
        let report = Report::of(
            "jobs".to_owned(),
            vec![run(3.0), run(1.0), run(8.0), run(5.0)],
        );
        let figure = report.figure("jobs_per_second").unwrap();
        assert_eq!((figure.min, figure.median, figure.max), (1.0, 4.0, 8.0));
        assert_eq!(figure.better, Better::Higher);
        assert_eq!(report.wrong(), None);
    }
}
