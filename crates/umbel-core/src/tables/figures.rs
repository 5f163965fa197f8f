//! How long each version of a function runs, warm and cold, and what its cold starts are made of.
//!
//! Figures are of this coordinator's life: they begin anew with it, and say so by the time since
//! when they are kept.

use std::collections::BTreeMap;

use crate::cold_start::ColdStart;
use crate::histogram::Histogram;
use crate::limit;
use crate::message::ColdRun;
use crate::view::{FiguresView, Spread};

/// The figures of each version.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// By function and number; 0 of what workers bring themselves.
    by_version: BTreeMap<(String, u32), Kept>,
    /// Grows with each chunk that is taken in.
    now: u64,
}

#[derive(Debug, Default)]
struct Kept {
    /// When the first of them came, milliseconds since 1970.
    since_ms: u64,
    warm: Histogram,
    cold: Histogram,
    parts: [Histogram; ColdStart::PARTS.len()],
    /// When it was last added to, by [`Figures::now`].
    touched: u64,
}

impl Figures {
    /// Takes in what a report says of attempts of a version.
    pub(crate) fn add(
        &mut self,
        (function, number): (&str, u32),
        wall_ms: u64,
        (warm, cold): (&Histogram, &[ColdRun]),
    ) {
        if warm.is_empty() && cold.is_empty() {
            return;
        }
        self.now += 1;
        let key = (function.to_owned(), number);
        if !self.by_version.contains_key(&key) {
            self.make_room();
        }
        let kept = self.by_version.entry(key).or_insert_with(|| Kept {
            since_ms: wall_ms,
            ..Kept::default()
        });
        kept.touched = self.now;
        kept.warm.merge(warm);
        for run in cold {
            // The way of the artifact is before the run, and in no run time.
            kept.cold.add(run.parts.total_us().max(run.duration_us));
            for (histogram, part_us) in kept.parts.iter_mut().zip(run.parts.parts()) {
                histogram.add(part_us);
            }
        }
    }

    /// Forgets the version that was not heard of for the longest time, if there are too many.
    fn make_room(&mut self) {
        if self.by_version.len() < limit::FIGURES_MAX {
            return;
        }
        let oldest = self.by_version.iter().min_by_key(|(_, kept)| kept.touched);
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            self.by_version.remove(&key);
        }
    }

    /// A version is forgotten.
    pub(crate) fn forget(&mut self, function: &str, number: u32) {
        self.by_version.remove(&(function.to_owned(), number));
    }

    /// The figures of a version; none if it did not run since the coordinator started.
    pub(crate) fn of(&self, function: &str, number: u32) -> Option<FiguresView> {
        let kept = self.by_version.get(&(function.to_owned(), number))?;
        Some(FiguresView {
            since_ms: kept.since_ms,
            warm: spread(&kept.warm),
            cold: spread(&kept.cold),
            parts: kept.parts.each_ref().map(spread),
        })
    }
}

fn spread(histogram: &Histogram) -> Spread {
    let of = |percent| histogram.percentile_us(percent).unwrap_or(0);
    Spread {
        count: histogram.count(),
        p50_us: of(50),
        p95_us: of(95),
        p99_us: of(99),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(time_us: u64) -> Histogram {
        let mut histogram = Histogram::new();
        histogram.add(time_us);
        histogram
    }

    #[test]
    fn warm_and_cold_runs_and_versions_are_kept_apart() {
        let mut figures = Figures::default();
        let run = ColdRun {
            duration_us: 80_000,
            parts: ColdStart::of_parts([7_000, 9_000, 70_000, 1_000]),
        };
        figures.add(("f", 1), 5, (&one(4), &[]));
        figures.add(("f", 1), 6, (&one(6), &[run]));
        figures.add(("f", 2), 7, (&one(60), &[]));

        let found = figures.of("f", 1).unwrap();
        let counts = (found.since_ms, found.warm.count, found.cold.count);
        assert_eq!(counts, (5, 2, 1));
        assert_eq!((found.warm.p50_us, found.warm.p99_us), (4, 6));
        assert!(
            found.cold.p50_us.abs_diff(87_000) < 87_000 / 16,
            "the fetch is part of a cold start: {found:?}"
        );
        assert_eq!(found.parts.map(|part| part.count), [1; 4]);
        assert_eq!(figures.of("f", 2).unwrap().warm.count, 1);
        assert_eq!(figures.of("f", 0), None);
        figures.forget("f", 1);
        assert_eq!(figures.of("f", 1), None);
    }

    #[test]
    fn the_version_not_heard_of_for_longest_makes_room() {
        let mut figures = Figures::default();
        let most = u32::try_from(limit::FIGURES_MAX).unwrap();
        for number in 0..most {
            figures.add(("f", number), 0, (&one(1), &[]));
        }
        figures.add(("f", 0), 0, (&one(1), &[]));
        figures.add(("f", most), 0, (&one(1), &[]));
        assert_eq!(figures.by_version.len(), limit::FIGURES_MAX);
        assert!(figures.of("f", 0).is_some() && figures.of("f", 1).is_none());
    }
}
