//! How long runs take, and whether they take longer in one arm than in another: by quantiles,
//! since a mean of times says what its slowest did.
//!
//! Times are known by bucket. They count as spread evenly over their bucket, in both arms alike,
//! so no question is answered more finely than a bucket is wide.

use libm::{exp, log};

use crate::mixture::{Beta, Seen, ln_mixture};
use crate::verdict::Judgement;
use crate::{Alpha, Interval, Risk};

/// Into how many parts a bucket is cut in the search for what is not ruled out.
const PARTS: u32 = 8;
/// Ratios of times are looked for between one to this many and this many to one.
const RATIO_MAX: f64 = 1_000.0;
/// To what a ratio is found, as a part of itself.
const RATIO_STEP: f64 = 0.001;

/// Times by bucket.
#[derive(Clone, Debug, Default)]
pub struct Times {
    buckets: Vec<Bucket>,
    count: f64,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    begin: f64,
    end: f64,
    count: f64,
    /// How many are in the buckets before it.
    before: f64,
}

impl Times {
    /// Buckets as (begin, end, how many times are in it), ascending.
    #[must_use]
    pub fn of(buckets: impl IntoIterator<Item = (u64, u64, u64)>) -> Self {
        let mut times = Self::default();
        for (begin, end, count) in buckets {
            times.buckets.push(Bucket {
                begin: begin as f64,
                end: end as f64,
                count: count as f64,
                before: times.count,
            });
            times.count += count as f64;
        }
        times
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count as u64
    }

    /// How many are shorter than this.
    fn below(&self, time: f64) -> Seen {
        let next = self.buckets.partition_point(|bucket| bucket.begin < time);
        let bucket = next.checked_sub(1).and_then(|at| self.buckets.get(at));
        let hits = bucket.map_or(0.0, |bucket| {
            let width = bucket.end - bucket.begin;
            let part = if width > 0.0 {
                ((time - bucket.begin) / width).min(1.0)
            } else {
                1.0
            };
            bucket.before + bucket.count * part
        });
        Seen {
            hits,
            of: self.count,
        }
    }

    /// The time that a share `p` of all times does not exceed; none if there are none.
    #[must_use]
    pub fn quantile(&self, p: f64) -> Option<f64> {
        let wanted = self.count * p.clamp(0.0, 1.0);
        let holds = |bucket: &&Bucket| bucket.count > 0.0 && bucket.before + bucket.count >= wanted;
        let bucket = self.buckets.iter().find(holds)?;
        let part = (wanted - bucket.before).max(0.0) / bucket.count;
        Some(bucket.begin + (bucket.end - bucket.begin) * part)
    }

    /// All that a quantile `p` may be, in cells as (from, to, what was seen below it). Where in
    /// its cell it lies is left open, so that it is where it is likeliest.
    fn cells(&self, p: f64) -> impl Iterator<Item = (f64, f64, Seen)> + '_ {
        let inside = self.buckets.iter().flat_map(|bucket| {
            let width = bucket.end - bucket.begin;
            let part = move |part| bucket.begin + width * f64::from(part) / f64::from(PARTS);
            (0..=PARTS).map(part)
        });
        let mut ends = inside.chain([f64::INFINITY]);
        let mut from = 0.0;
        core::iter::from_fn(move || {
            let to = ends.next()?;
            let (least, most) = (self.below(from).hits, self.below(to).hits);
            let seen = Seen {
                hits: (self.count * p).clamp(least, most),
                of: self.count,
            };
            Some((core::mem::replace(&mut from, to), to, seen))
        })
    }
}

/// Where the quantile `p` of an arm lies.
#[must_use]
pub fn interval(times: &Times, p: f64, alpha: Alpha) -> Interval {
    let near = near(p);
    let is_in = |(_, _, seen): &(f64, f64, Seen)| {
        ln_mixture(&[*seen], near) - seen.ln_likelihood(p) < alpha.threshold()
    };
    let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
    for (from, to, _) in times.cells(p).filter(is_in) {
        (low, high) = (low.min(from), high.max(to));
    }
    Interval { low, high }
}

/// Where the quantile `p` of `candidate` lies as a part of that of `baseline`: 1 is as long.
#[must_use]
pub fn ratio(candidate: &Times, baseline: &Times, p: f64, alpha: Alpha) -> Interval {
    let pair = Pair::of(candidate, baseline, p, alpha);
    let find = |from: f64, to: f64, is: &dyn Fn(f64) -> bool| {
        let (mut from, mut to) = (log(from), log(to));
        if !is(exp(to)) {
            return None;
        }
        while (to - from).abs() > RATIO_STEP {
            let middle = from + (to - from) / 2.0;
            if is(exp(middle)) {
                to = middle;
            } else {
                from = middle;
            }
        }
        Some(exp(to))
    };
    let least = 1.0 / RATIO_MAX;
    let low = find(RATIO_MAX, least, &|ratio| pair.is_above(ratio));
    let high = find(least, RATIO_MAX, &|ratio| pair.is_below(ratio));
    Interval {
        low: low.unwrap_or(0.0),
        high: high.unwrap_or(f64::INFINITY),
    }
}

/// Whether the quantile `p` of `candidate` is at most `ratio` times that of `baseline`. Of pairs
/// of which it is so, at most `risk.worse` are ever judged [`Judgement::Worse`]; of those of which
/// it is not, at most `risk.holds` ever [`Judgement::Holds`].
#[must_use]
pub fn judge(candidate: &Times, baseline: &Times, p: f64, ratio: f64, risk: Risk) -> Judgement {
    if Pair::of(candidate, baseline, p, risk.worse).is_above(ratio) {
        Judgement::Worse
    } else if Pair::of(candidate, baseline, p, risk.holds).is_below(ratio) {
        Judgement::Holds
    } else {
        Judgement::Undecided
    }
}

/// A prior for how many are below the quantile: about as many as should be.
fn near(p: f64) -> Beta {
    let sure = 4.0 / p.min(1.0 - p).max(0.001);
    Beta {
        a: sure * p,
        b: sure * (1.0 - p),
    }
}

/// Two arms and a quantile.
struct Pair<'a> {
    candidate: &'a Times,
    /// What the baseline's quantile may be at all, as [`Times::cells`] has it.
    baseline: Vec<(f64, f64, Seen)>,
    p: f64,
    near: Beta,
    alpha: Alpha,
}

impl<'a> Pair<'a> {
    fn of(candidate: &'a Times, baseline: &Times, p: f64, alpha: Alpha) -> Self {
        // No candidate makes up for more than Jeffreys' prior can cost it.
        let cost = 0.5 * log(candidate.count.max(1.0)) + core::f64::consts::LN_2;
        let is_in = |(_, _, seen): &(f64, f64, Seen)| {
            let against = seen.ln_average(Beta::ANY) - seen.ln_likelihood(p);
            against - core::f64::consts::LN_2 - cost < alpha.threshold()
        };
        Self {
            candidate,
            baseline: baseline.cells(p).filter(is_in).collect(),
            p,
            near: near(p),
            alpha,
        }
    }

    /// Whether the candidate's quantile is known to be more than so many times the baseline's.
    fn is_above(&self, ratio: f64) -> bool {
        self.baseline.iter().all(|(_, to, baseline)| {
            let candidate = self.candidate.below(*to * ratio);
            // Were it not, at least `p` of its times were below that.
            self.is_out(*baseline, candidate, candidate.share().max(self.p))
        })
    }

    /// Whether it is known to be less.
    fn is_below(&self, ratio: f64) -> bool {
        self.baseline.iter().all(|(from, _, baseline)| {
            let candidate = self.candidate.below(*from * ratio);
            self.is_out(*baseline, candidate, candidate.share().min(self.p))
        })
    }

    /// Whether it is ruled out that the baseline's quantile is here and that such a share of the
    /// candidate's times is below what was asked about.
    fn is_out(&self, baseline: Seen, candidate: Seen, share: f64) -> bool {
        let average = ln_mixture(&[candidate, baseline], self.near);
        let likelihood = baseline.ln_likelihood(self.p) + candidate.ln_likelihood(share);
        average - likelihood >= self.alpha.threshold()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::testing::Random;

    fn alpha() -> Alpha {
        Alpha::one_in_twenty()
    }

    fn risk() -> Risk {
        Risk::both(alpha())
    }

    /// Times in buckets that are an eighth of their octave wide.
    #[derive(Default)]
    struct Log(BTreeMap<(u64, u64), u64>);

    impl Log {
        fn add(&mut self, time: f64) {
            let time = (time as u64).max(8);
            let width = 1 << (time.ilog2() - 3);
            let begin = time / width * width;
            *self.0.entry((begin, begin + width)).or_default() += 1;
        }

        fn times(&self) -> Times {
            let buckets = self.0.iter();
            Times::of(buckets.map(|((begin, end), count)| (*begin, *end, *count)))
        }
    }

    /// How long runs are: 20 ms as a rule, with a tail.
    fn run(random: &mut Random, ratio: f64) -> f64 {
        20_000.0 * ratio * exp(0.3 * random.normal())
    }

    #[test]
    fn quantiles_are_those_of_what_was_counted() {
        assert_eq!(Times::default().quantile(0.5), None);
        let times = Times::of([(0, 10, 0), (10, 20, 10), (20, 30, 0), (30, 50, 10)]);
        assert_eq!(times.quantile(0.25), Some(15.0));
        assert_eq!(times.quantile(0.5), Some(20.0));
        assert_eq!(times.quantile(1.0), Some(50.0));
        assert_eq!(times.below(5.0).hits, 0.0);
        assert_eq!(times.below(40.0).hits, 15.0);
        assert_eq!(times.below(f64::INFINITY).hits, 20.0);
        assert_eq!(times.count(), 20);
    }

    #[test]
    fn nothing_is_known_of_nothing() {
        let none = Times::default();
        let some = Times::of([(100, 110, 5_000)]);
        for (candidate, baseline) in [(&none, &some), (&some, &none), (&none, &none)] {
            let found = judge(candidate, baseline, 0.95, 1.2, risk());
            assert_eq!(found, Judgement::Undecided);
        }
        assert_eq!(
            ratio(&none, &some, 0.5, alpha()),
            Interval {
                low: 0.0,
                high: f64::INFINITY
            }
        );
        let few = Times::of([(100, 110, 5)]);
        let found = interval(&few, 0.99, alpha());
        assert!(
            found.high.is_infinite(),
            "five say nothing of one in a hundred: {found:?}"
        );
    }

    #[test]
    fn a_ratio_is_found_and_a_margin_judged_as_its_interval_says() {
        let mut random = Random::new(1);
        let (mut one, mut other) = (Log::default(), Log::default());
        for _ in 0..20_000 {
            one.add(run(&mut random, 1.5));
            other.add(run(&mut random, 1.0));
        }
        let (one, other) = (one.times(), other.times());
        for p in [0.5, 0.95, 0.99] {
            let found = ratio(&one, &other, p, alpha());
            assert!(
                found.contains(1.5) && found.high - found.low < 0.3,
                "{p}: {found:?}"
            );
            for margin in [1.0, 1.2, 1.45, 1.55, 1.8] {
                let expected = if found.low > margin {
                    Judgement::Worse
                } else if found.high < margin {
                    Judgement::Holds
                } else {
                    Judgement::Undecided
                };
                assert_eq!(
                    judge(&one, &other, p, margin, risk()),
                    expected,
                    "{p} {margin}"
                );
            }
            let single = interval(&other, p, alpha());
            assert!(single.contains(other.quantile(p).unwrap()), "{single:?}");
        }
    }

    /// In how many of 100 runs a look at any time says this of p95.
    fn ever(seed: u64, (ratio, margin): (f64, f64), wanted: Judgement) -> usize {
        let mut random = Random::new(seed);
        let runs = (0..100).filter(|_| {
            let (mut one, mut other) = (Log::default(), Log::default());
            (0..100).any(|_| {
                for _ in 0..50 {
                    one.add(run(&mut random, ratio));
                    other.add(run(&mut random, 1.0));
                }
                judge(&one.times(), &other.times(), 0.95, margin, risk()) == wanted
            })
        });
        runs.count()
    }

    #[test]
    fn looking_all_the_time_is_wrong_in_at_most_one_of_twenty() {
        let worse = ever(2, (1.0, 1.0), Judgement::Worse);
        assert!(worse <= 5, "{worse} of 100, right at the margin");
        let holds = ever(3, (1.2, 1.2), Judgement::Holds);
        assert!(holds <= 5, "{holds} of 100");
        assert_eq!(ever(4, (1.0, 1.2), Judgement::Worse), 0);
    }

    #[test]
    fn what_is_slower_is_found_and_what_is_not_holds() {
        let worse = ever(5, (1.5, 1.2), Judgement::Worse);
        assert!(worse >= 95, "{worse} of 100");
        let holds = ever(6, (1.0, 1.2), Judgement::Holds);
        assert!(holds >= 95, "{holds} of 100");
    }
}
