//! Whether arms got their shares of the inputs at all. Where they did not, something went wrong
//! before anything ran, and no other figure of them can be compared.

use libm::{lgamma, log};

use crate::Alpha;

/// How sure the prior is of the shares that are wished for, in invocations.
const SURE: f64 = 1_000.0;

/// What is known against the shares that are wished for: arms as (how many it got, its weight).
/// What is known over one time and over the next adds up, so that weights may change.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mismatch {
    against: f64,
}

impl Mismatch {
    /// Of one time during which the weights stayed. Arms without weight do not take part.
    #[must_use]
    pub fn of(arms: &[(u64, u64)]) -> Self {
        let arms = arms.iter().filter(|(_, weight)| *weight > 0);
        let arms: Vec<(f64, f64)> = arms
            .map(|(got, weight)| (*got as f64, *weight as f64))
            .collect();
        let weights: f64 = arms.iter().map(|(_, weight)| weight).sum();
        let all: f64 = arms.iter().map(|(got, _)| got).sum();
        let mut against = lgamma(SURE) - lgamma(SURE + all);
        for (got, weight) in &arms {
            let share = weight / weights;
            against += lgamma(SURE * share + got) - lgamma(SURE * share);
            if *got > 0.0 {
                against -= got * log(share);
            }
        }
        Self { against }
    }

    /// Both times together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            against: self.against + other.against,
        }
    }

    /// Whether the shares are off.
    #[must_use]
    pub fn is_off(self, alpha: Alpha) -> bool {
        self.against >= alpha.threshold()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    /// In how many of 200 runs the shares are ever found to be off.
    fn ever_off(seed: u64, weights: [u64; 3], chances: [f64; 2]) -> usize {
        let mut random = Random::new(seed);
        let runs = (0..200).filter(|_| {
            let mut got = [0_u64; 3];
            (0..1_000).any(|_| {
                for _ in 0..20 {
                    let at = random.unit();
                    let arm = chances.iter().position(|end| at < *end).unwrap_or(2);
                    got[arm] += 1;
                }
                let arms: Vec<(u64, u64)> = got.into_iter().zip(weights).collect();
                Mismatch::of(&arms).is_off(Alpha::one_in_twenty())
            })
        });
        runs.count()
    }

    #[test]
    fn right_shares_are_doubted_in_at_most_one_of_twenty_and_wrong_ones_are_found() {
        let off = ever_off(1, [9_000, 500, 500], [0.9, 0.95]);
        assert!(off <= 10, "{off}");
        let off = ever_off(2, [5_000, 2_500, 2_500], [0.5, 0.75]);
        assert!(off <= 10, "{off}");
        let off = ever_off(3, [5_000, 2_500, 2_500], [0.46, 0.75]);
        assert!(off >= 195, "{off}");
    }

    #[test]
    fn arms_without_weight_and_no_arms_are_never_off() {
        let alpha = Alpha::one_in_twenty();
        assert!(!Mismatch::of(&[]).is_off(alpha));
        assert!(!Mismatch::of(&[(100, 1), (7_000, 0)]).is_off(alpha));
        let wrong = Mismatch::of(&[(1_200, 1), (900, 1)]);
        assert!(!Mismatch::of(&[(100, 1), (110, 1)]).is_off(alpha));
        assert!(wrong.and(Mismatch::default()).is_off(alpha));
    }
}
