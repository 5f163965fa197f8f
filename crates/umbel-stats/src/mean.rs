//! The mean of any number, such as a score in an output. It supposes nothing about how the
//! numbers are spread, so it is right as a limit only: below [`LEAST`] of them nothing is said.

use libm::{log, sqrt};

use crate::{Alpha, Interval};

/// How many numbers it takes until anything is said of their mean.
pub const LEAST: u64 = 100;
/// Where the interval is to be narrowest for what was seen: at so many.
const BEST_AT: f64 = 5_000.0;

/// What is kept of numbers: how many, their mean, and how they are spread. Merging is as good as
/// having seen all at once.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// How many.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// The sum of the squares of their distances from it.
    pub squares: f64,
}

impl Moments {
    /// Takes in one number. What is no finite number is left out.
    pub fn add(&mut self, number: f64) {
        self.merge(Self {
            count: 1,
            mean: number,
            squares: 0.0,
        });
    }

    /// Takes in all that another did.
    pub fn merge(&mut self, other: Self) {
        if other.count == 0 || !other.mean.is_finite() || !other.squares.is_finite() {
            return;
        }
        let (have, come) = (self.count as f64, other.count as f64);
        let all = have + come;
        let apart = other.mean - self.mean;
        self.squares += other.squares + apart * apart * have * come / all;
        self.mean += apart * come / all;
        self.count = self.count.saturating_add(other.count);
    }

    /// How far the mean is from the true one: its variance.
    fn variance(self) -> f64 {
        let count = self.count as f64;
        self.squares / (count - 1.0) / count
    }
}

/// Where the mean of an arm lies.
#[must_use]
pub fn interval(numbers: Moments, alpha: Alpha) -> Interval {
    if numbers.count < LEAST {
        return Interval::WHOLE;
    }
    around(numbers.mean, numbers.variance(), numbers.count, alpha)
}

/// Where the difference of two means lies: that of `candidate` less that of `baseline`.
#[must_use]
pub fn difference(candidate: Moments, baseline: Moments, alpha: Alpha) -> Interval {
    let least = candidate.count.min(baseline.count);
    if least < LEAST {
        return Interval::WHOLE;
    }
    let variance = candidate.variance() + baseline.variance();
    around(candidate.mean - baseline.mean, variance, least, alpha)
}

fn around(figure: f64, variance: f64, count: u64, alpha: Alpha) -> Interval {
    // A normal mixture over the true figure, as wide as is best at `BEST_AT`.
    let doubled = 2.0 * alpha.threshold();
    let scale = (doubled + log(doubled + 1.0)) / BEST_AT;
    let grown = count as f64 * scale;
    let half = variance * (grown + 1.0) / grown * (2.0 * alpha.threshold() + log(grown + 1.0));
    let half = sqrt(half);
    Interval {
        low: figure - half,
        high: figure + half,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn what_is_merged_is_as_if_it_was_seen_at_once() {
        let mut random = Random::new(1);
        let (mut whole, mut parts) = (Moments::default(), [Moments::default(); 3]);
        for at in 0..900 {
            let number = 1e6 + random.normal();
            whole.add(number);
            parts[at % 3].add(number);
        }
        whole.add(f64::NAN);
        whole.add(f64::INFINITY);
        let mut merged = Moments::default();
        parts.into_iter().for_each(|part| merged.merge(part));
        assert_eq!(merged.count, whole.count);
        assert!((merged.mean - whole.mean).abs() < 1e-6);
        assert!((merged.squares / whole.squares - 1.0).abs() < 1e-6);
    }

    #[test]
    fn little_says_nothing() {
        let mut few = Moments::default();
        (1..LEAST).for_each(|number| few.add(number as f64));
        assert_eq!(interval(few, Alpha::one_in_twenty()), Interval::WHOLE);
        few.add(1.0);
        assert_ne!(interval(few, Alpha::one_in_twenty()), Interval::WHOLE);
    }

    #[test]
    fn looking_all_the_time_misses_the_truth_in_at_most_one_of_twenty() {
        // Skewed numbers, a difference of one half.
        let mut random = Random::new(2);
        let (mut misses, mut found) = (0, 0);
        for _ in 0..200 {
            let (mut one, mut other) = (Moments::default(), Moments::default());
            let mut missed = false;
            for _ in 0..3_000 {
                one.add(0.5 - libm::log(1.0 - random.unit()));
                other.add(-libm::log(1.0 - random.unit()));
                let interval = difference(one, other, Alpha::one_in_twenty());
                missed |= !interval.contains(0.5);
            }
            misses += usize::from(missed);
            let interval = difference(one, other, Alpha::one_in_twenty());
            found += usize::from(interval.low > 0.0);
        }
        assert!(misses <= 10, "{misses} of 200");
        assert_eq!(found, 200);
    }
}
