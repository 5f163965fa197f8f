//! How often something happens, and whether it happens more often in one arm than in another.

use crate::mixture::{Beta, Seen, ln_mixture};
use crate::verdict::Judgement;
use crate::{Alpha, Interval, Risk, bisect};

/// Failures are rare as a rule: half of the prior's weight is on rates about this small.
const RARE: Beta = Beta { a: 0.5, b: 100.0 };

/// How often it happened among how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How often it happened; at most `of`.
    pub hits: u64,
    /// How often it could have.
    pub of: u64,
}

impl Count {
    /// So many of so many; never more than all.
    #[must_use]
    pub fn new(hits: u64, of: u64) -> Self {
        Self {
            hits: hits.min(of),
            of,
        }
    }

    /// The rate that was seen; none where nothing was.
    #[must_use]
    pub fn rate(self) -> Option<f64> {
        (self.of > 0).then(|| self.seen().share())
    }

    fn seen(self) -> Seen {
        Seen {
            hits: self.hits.min(self.of) as f64,
            of: self.of as f64,
        }
    }
}

/// Where the rate of an arm lies.
#[must_use]
pub fn interval(count: Count, alpha: Alpha) -> Interval {
    let seen = count.seen();
    let average = ln_mixture(&[seen], RARE);
    let is_out = |rate: f64| average - seen.ln_likelihood(rate) >= alpha.threshold();
    around(seen.share(), (0.0, 1.0), is_out)
}

/// Where the difference of two rates lies: that of `candidate` less that of `baseline`.
#[must_use]
pub fn difference(candidate: Count, baseline: Count, alpha: Alpha) -> Interval {
    let pair = Pair::of(candidate, baseline);
    let is_out = |difference: f64| pair.against(difference) >= alpha.threshold();
    around(pair.difference(), (-1.0, 1.0), is_out)
}

/// Whether `candidate` does at most so much more than `baseline`. Of rollouts in which it is so,
/// at most `risk.worse` are ever judged [`Judgement::Worse`]; of those in which it is not, at most
/// `risk.holds` ever [`Judgement::Holds`].
#[must_use]
pub fn judge(candidate: Count, baseline: Count, margin: f64, risk: Risk) -> Judgement {
    let pair = Pair::of(candidate, baseline);
    let (alpha, judgement) = if pair.difference() > margin {
        (risk.worse, Judgement::Worse)
    } else {
        (risk.holds, Judgement::Holds)
    };
    if pair.against(margin) >= alpha.threshold() {
        judgement
    } else {
        Judgement::Undecided
    }
}

/// From the likeliest figure outwards to where it is ruled out.
fn around(likeliest: f64, (least, most): (f64, f64), is_out: impl Fn(f64) -> bool) -> Interval {
    let end = |end: f64| {
        if is_out(end) {
            bisect(likeliest, end, &is_out)
        } else {
            end
        }
    };
    Interval {
        low: end(least),
        high: end(most),
    }
}

/// Two arms, and how likely what they saw is.
struct Pair {
    candidate: Seen,
    baseline: Seen,
    average: f64,
}

impl Pair {
    fn of(candidate: Count, baseline: Count) -> Self {
        let (candidate, baseline) = (candidate.seen(), baseline.seen());
        Self {
            candidate,
            baseline,
            average: ln_mixture(&[candidate, baseline], RARE),
        }
    }

    /// The likeliest difference.
    fn difference(&self) -> f64 {
        self.candidate.share() - self.baseline.share()
    }

    /// What is known against all pairs of rates with exactly this difference.
    fn against(&self, difference: f64) -> f64 {
        let (least, most) = (0.0_f64.max(-difference), 1.0_f64.min(1.0 - difference));
        // Uphill: the likelihood of the pair as the baseline's rate grows.
        let falls = |rate: f64| {
            let slope = slope(self.baseline, rate) + slope(self.candidate, rate + difference);
            slope <= 0.0
        };
        let rate = bisect(least, most, falls);
        let likelihood = self.baseline.ln_likelihood(rate)
            + self
                .candidate
                .ln_likelihood((rate + difference).clamp(0.0, 1.0));
        self.average - likelihood
    }
}

/// How the likelihood changes with the rate.
fn slope(seen: Seen, rate: f64) -> f64 {
    let part = |times: f64, chance: f64| {
        if times > 0.0 {
            times / chance.max(0.0)
        } else {
            0.0
        }
    };
    part(seen.hits, rate) - part(seen.misses(), 1.0 - rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    fn alpha() -> Alpha {
        Alpha::one_in_twenty()
    }

    fn risk() -> Risk {
        Risk::both(alpha())
    }

    #[test]
    fn an_interval_holds_the_rate_that_was_seen_and_narrows() {
        assert_eq!(
            interval(Count::new(0, 0), alpha()),
            Interval {
                low: 0.0,
                high: 1.0
            }
        );
        let mut last = 1.0;
        for size in [100, 1_000, 10_000, 100_000] {
            let found = interval(Count::new(size / 50, size), alpha());
            assert!(
                found.contains(0.02) && found.high - found.low < last,
                "{found:?}"
            );
            last = found.high - found.low;
        }
        assert!(last < 0.006, "{last}");
        let none = interval(Count::new(0, 1_000), alpha());
        assert!(none.low == 0.0 && none.high < 0.01, "{none:?}");
        let all = interval(Count::new(1_000, 1_000), alpha());
        assert!(all.high == 1.0 && all.low > 0.98, "{all:?}");
    }

    #[test]
    fn a_difference_is_as_likely_one_way_as_the_other_for_equal_arms() {
        let found = difference(Count::new(20, 1_000), Count::new(20, 1_000), alpha());
        assert!((found.low + found.high).abs() < 1e-9, "{found:?}");
        let one = difference(Count::new(90, 1_000), Count::new(20, 1_000), alpha());
        assert!(
            one.low > 0.02 && one.high < 0.13 && one.contains(0.07),
            "{one:?}"
        );
        let open = difference(Count::default(), Count::new(5, 9), alpha());
        assert!(open.low < -0.8 && open.high > 0.8, "{open:?}");
        let apart = difference(Count::new(1_000, 1_000), Count::new(0, 1_000), alpha());
        assert!(apart.high == 1.0 && apart.low > 0.97, "{apart:?}");
    }

    #[test]
    fn a_margin_is_judged_as_the_interval_says() {
        let cases = [
            (Count::new(0, 0), Count::new(0, 0)),
            (Count::new(0, 900), Count::new(0, 900)),
            (Count::new(0, 2_000), Count::new(0, 2_000)),
            (Count::new(30, 500), Count::new(1, 500)),
            (Count::new(500, 500), Count::new(0, 20)),
            (Count::new(0, 4_000), Count::new(400, 4_000)),
        ];
        for (candidate, baseline) in cases {
            let interval = difference(candidate, baseline, alpha());
            let expected = if interval.low > 0.005 {
                Judgement::Worse
            } else if interval.high < 0.005 {
                Judgement::Holds
            } else {
                Judgement::Undecided
            };
            assert_eq!(
                judge(candidate, baseline, 0.005, risk()),
                expected,
                "{interval:?}"
            );
        }
    }

    #[test]
    fn how_much_it_takes_to_hold_without_a_failure() {
        let holds = |size| {
            let none = Count::new(0, size);
            judge(none, none, 0.005, risk()) == Judgement::Holds
        };
        let least = (1..10_000).find(|size| holds(*size)).unwrap();
        assert!((1_000..1_400).contains(&least), "{least}");
    }

    /// The share of runs in which a look at any time, of up to so many of each arm, says this.
    fn ever(seed: u64, rates: (f64, f64), margin: f64, wanted: Judgement) -> usize {
        let mut random = Random::new(seed);
        let runs = (0..200).filter(|_| {
            let (mut candidate, mut baseline) = (Count::default(), Count::default());
            (0..500).any(|_| {
                for _ in 0..20 {
                    candidate.hits += u64::from(random.chance(rates.0));
                    baseline.hits += u64::from(random.chance(rates.1));
                }
                candidate.of += 20;
                baseline.of += 20;
                judge(candidate, baseline, margin, risk()) == wanted
            })
        });
        runs.count()
    }

    #[test]
    fn looking_all_the_time_is_wrong_in_at_most_one_of_twenty() {
        for (seed, rate) in [(1, 0.001), (2, 0.05), (3, 0.5)] {
            let worse = ever(seed, (rate, rate), 0.0, Judgement::Worse);
            assert!(worse <= 10, "{worse} of 200 at {rate}, right at the margin");
            let holds = ever(seed, (rate, rate), 0.0, Judgement::Holds);
            assert!(holds <= 10, "{holds} of 200 at {rate}");
        }
        assert_eq!(ever(4, (0.05, 0.05), 0.005, Judgement::Worse), 0);
    }

    #[test]
    fn three_percent_more_failures_are_found() {
        for (seed, rate) in [(5, 0.0), (6, 0.01), (7, 0.05)] {
            let worse = ever(seed, (rate + 0.03, rate), 0.005, Judgement::Worse);
            assert!(worse >= 190, "{worse} of 200 at {rate}");
        }
    }

    #[test]
    fn an_interval_that_is_looked_at_all_the_time_holds_the_truth() {
        let mut random = Random::new(8);
        let misses = (0..200).filter(|_| {
            let mut seen = Count::default();
            (0..2_000_u32).any(|_| {
                seen.hits += u64::from(random.chance(0.03));
                seen.of += 1;
                // The sooner the more often: that is when it moves.
                let looks = seen.of < 100 || seen.of % 20 == 0;
                looks && !interval(seen, alpha()).contains(0.03)
            })
        });
        let misses = misses.count();
        assert!(misses <= 10, "{misses} of 200");
    }
}
