//! How long each function runs, warm and cold, and what its cold starts are made of.
//!
//! Figures are of this coordinator's life: they begin anew with it, and say so by the time since
//! when they are kept.

use std::collections::BTreeMap;

use crate::histogram::Histogram;
use crate::job::Target;
use crate::limit;
use crate::message::ColdRun;
use crate::view::FiguresView;

/// The figures of each function.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    by_function: BTreeMap<String, Kept>,
    /// Grows with each chunk that is taken in.
    now: u64,
}

#[derive(Debug)]
struct Kept {
    figures: FiguresView,
    /// When it was last added to, by [`Figures::now`].
    touched: u64,
}

impl Figures {
    /// Takes in what a report says of attempts of `target`. A program has no figures: it is another
    /// job's the next time.
    pub(crate) fn add(
        &mut self,
        target: &Target,
        wall_ms: u64,
        (warm, cold): (&Histogram, &[ColdRun]),
    ) {
        let Target::Function(name) = target else {
            return;
        };
        if warm.is_empty() && cold.is_empty() {
            return;
        }
        self.now += 1;
        if !self.by_function.contains_key(name) {
            self.make_room();
            let figures = FiguresView {
                since_ms: wall_ms,
                ..FiguresView::default()
            };
            let kept = Kept {
                figures,
                touched: self.now,
            };
            self.by_function.insert(name.clone(), kept);
        }
        if let Some(kept) = self.by_function.get_mut(name) {
            kept.touched = self.now;
            kept.figures.warm.merge(warm);
            for run in cold {
                kept.figures.cold.add(run.duration_us);
                let parts = kept.figures.parts.iter_mut();
                for (histogram, part_us) in parts.zip(run.parts.parts()) {
                    histogram.add(part_us);
                }
            }
        }
    }

    /// Forgets the function that was not heard of for the longest time, if there are too many.
    fn make_room(&mut self) {
        if self.by_function.len() < limit::FIGURES_MAX {
            return;
        }
        let oldest = self.by_function.iter().min_by_key(|(_, kept)| kept.touched);
        if let Some(name) = oldest.map(|(name, _)| name.clone()) {
            self.by_function.remove(&name);
        }
    }

    /// The figures of a function; none if it did not run since the coordinator started.
    pub(crate) fn of(&self, name: &str) -> Option<&FiguresView> {
        self.by_function.get(name).map(|kept| &kept.figures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cold_start::ColdStart;

    fn one(time_us: u64) -> Histogram {
        let mut histogram = Histogram::new();
        histogram.add(time_us);
        histogram
    }

    #[test]
    fn warm_and_cold_runs_are_kept_apart() {
        let mut figures = Figures::default();
        let target = Target::Function("f".to_owned());
        let run = ColdRun {
            duration_us: 90_000,
            parts: ColdStart::of_parts([0, 9_000, 70_000, 1_000]),
        };
        figures.add(&target, 5, (&one(40), &[]));
        figures.add(&target, 6, (&one(60), &[run]));
        figures.add(&Target::Program(vec!["f".to_owned()]), 7, (&one(60), &[]));

        let found = figures.of("f").unwrap();
        assert_eq!(
            (found.since_ms, found.warm.count(), found.cold.count()),
            (5, 2, 1)
        );
        let counts: Vec<u64> = found.parts.iter().map(Histogram::count).collect();
        assert_eq!(counts, [1; 4]);
        assert_eq!(found.parts[0].percentile_us(50), Some(0));
        assert_eq!(figures.of("g"), None);
    }

    #[test]
    fn the_function_not_heard_of_for_longest_makes_room() {
        let mut figures = Figures::default();
        let target = |number: usize| Target::Function(format!("f{number}"));
        for number in 0..limit::FIGURES_MAX {
            figures.add(&target(number), 0, (&one(1), &[]));
        }
        figures.add(&target(0), 0, (&one(1), &[]));
        figures.add(&target(limit::FIGURES_MAX), 0, (&one(1), &[]));
        assert_eq!(figures.by_function.len(), limit::FIGURES_MAX);
        assert!(figures.of("f0").is_some() && figures.of("f1").is_none());
    }
}
