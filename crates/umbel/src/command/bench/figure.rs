//! Figures: a name, a number, and what the name says of both.

use serde::{Deserialize, Serialize};

use crate::output::{count, size};

/// A number that was measured. The end of the name is its unit: `_us`, `_seconds`, `_bytes`,
/// `_per_second`; `efficiency` is the ideal time by the time taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) value: f64,
}

impl Figure {
    pub(super) fn new(name: impl Into<String>, value: f64) -> Self {
        let name = name.into();
        Self { name, value }
    }
}

/// Which way a figure should go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Better {
    Lower,
    Higher,
}

impl Better {
    /// Rates and efficiencies should be high, times and sizes low.
    pub(super) fn of(name: &str) -> Self {
        if name.ends_with("_per_second") || name.ends_with("efficiency") {
            Self::Higher
        } else {
            Self::Lower
        }
    }

    /// By which factor `new` is worse than `old`; below 1 it is better.
    pub(super) fn worse(self, old: f64, new: f64) -> f64 {
        match self {
            Self::Lower => new / old,
            Self::Higher => old / new,
        }
    }

    /// Whether a value keeps a bound.
    pub(super) fn keeps(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Lower => value <= bound,
            Self::Higher => value >= bound,
        }
    }
}

/// A value as people read it, with the unit that the figure's name ends in.
pub(super) fn shown(name: &str, value: f64) -> String {
    if name.ends_with("_per_second") && value >= 100.0 {
        count(value.round() as u64)
    } else if name.ends_with("_us") {
        match value {
            ..1_000.0 => format!("{value:.2} µs"),
            ..1_000_000.0 => format!("{:.2} ms", value / 1e3),
            _ => format!("{:.2} s", value / 1e6),
        }
    } else if name.ends_with("_seconds") {
        format!("{value:.3} s")
    } else if name.ends_with("_bytes") && value >= 4_096.0 {
        size(value as u64)
    } else if name.ends_with("_bytes") {
        format!("{value:.1} B")
    } else if name.ends_with("efficiency") {
        format!("{value:.3}")
    } else if value.fract() == 0.0 {
        count(value as u64)
    } else {
        format!("{value:.2}")
    }
}

/// The value below which `hundredths` of the sorted values lie.
pub(super) fn percentile<T: Copy + Default>(sorted: &[T], hundredths: usize) -> T {
    let place = (sorted.len() * hundredths).div_ceil(100).max(1) - 1;
    sorted.get(place).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_the_unit_and_the_direction() {
        let shown = [
            ("cpu_us", 1.234),
            ("latency_p50_us", 2_500.0),
            ("invocations_per_second", 1_234_567.8),
            ("coordinator_memory_peak_bytes", 1_048_576.0),
            ("result_disk_bytes", 12.34),
            ("wall_efficiency", 0.98),
            ("jobs", 7.0),
        ]
        .map(|(name, value)| shown(name, value));
        assert_eq!(
            shown,
            [
                "1.23 µs",
                "2.50 ms",
                "1,234,568",
                "1.0 MiB",
                "12.3 B",
                "0.980",
                "7"
            ]
        );
        assert_eq!(Better::of("jobs_per_second"), Better::Higher);
        assert_eq!(Better::of("wall_efficiency"), Better::Higher);
        assert_eq!(Better::of("cpu_us"), Better::Lower);
    }

    #[test]
    fn worse_is_above_one_either_way() {
        assert!(Better::Lower.worse(1.0, 2.0) > 1.0);
        assert!(Better::Higher.worse(1.0, 2.0) < 1.0);
        assert!(Better::Higher.keeps(2.0, 1.0) && !Better::Lower.keeps(2.0, 1.0));
    }

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let sorted: Vec<u64> = (1..=200).collect();
        assert_eq!(
            [1, 50, 99, 100].map(|p| percentile(&sorted, p)),
            [2, 100, 198, 200]
        );
        assert_eq!(percentile(&[7_u64], 50), 7);
        assert_eq!(percentile::<u64>(&[], 50), 0);
    }
}
