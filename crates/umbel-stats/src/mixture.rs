//! Likelihoods of counts, and their averages over priors, as logarithms. Counts need not be
//! whole: of times that are known by bucket, a part of a bucket may count.

use libm::{exp, lgamma, log, log1p};

/// `times` times the logarithm of `chance`; nothing that never happened has a likelihood.
fn times_log(times: f64, chance: f64) -> f64 {
    if times <= 0.0 {
        0.0
    } else {
        times * log(chance)
    }
}

/// Hits among trials.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) hits: f64,
    pub(crate) of: f64,
}

impl Seen {
    pub(crate) fn misses(self) -> f64 {
        (self.of - self.hits).max(0.0)
    }

    /// The share of hits; a half where nothing was tried.
    pub(crate) fn share(self) -> f64 {
        if self.of > 0.0 {
            (self.hits / self.of).clamp(0.0, 1.0)
        } else {
            0.5
        }
    }

    /// How likely this is where each trial hits with this chance.
    pub(crate) fn ln_likelihood(self, chance: f64) -> f64 {
        times_log(self.hits, chance) + times_log(self.misses(), 1.0 - chance)
    }

    /// How likely it is on average over a prior.
    pub(crate) fn ln_average(self, prior: Beta) -> f64 {
        let Beta { a, b } = prior;
        ln_beta(self.hits + a, self.misses() + b) - ln_beta(a, b)
    }
}

/// A beta distribution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beta {
    pub(crate) a: f64,
    pub(crate) b: f64,
}

impl Beta {
    /// Jeffreys' prior: good for any chance.
    pub(crate) const ANY: Self = Self { a: 0.5, b: 0.5 };
}

fn ln_beta(a: f64, b: f64) -> f64 {
    lgamma(a) + lgamma(b) - lgamma(a + b)
}

/// How likely what some arms saw is, on average over a prior for each of them: half of the
/// weight on any chances, half on chances that are near what one expects. The second half
/// makes what is usual need less proof, and the first bounds what this costs elsewhere.
pub(crate) fn ln_mixture(seen: &[Seen], near: Beta) -> f64 {
    let of = |prior: Beta| -> f64 { seen.iter().map(|seen| seen.ln_average(prior)).sum() };
    let (any, near) = (of(Beta::ANY), of(near));
    let (more, less) = if any > near { (any, near) } else { (near, any) };
    more + log1p(exp(less - more)) - core::f64::consts::LN_2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_average_over_a_prior_is_an_integral() {
        let seen = Seen {
            hits: 3.0,
            of: 10.0,
        };
        for prior in [Beta::ANY, Beta { a: 2.0, b: 30.0 }] {
            let steps = 400_000;
            let mut sum = 0.0;
            for step in 0..steps {
                let chance = (f64::from(step) + 0.5) / f64::from(steps);
                let density = (prior.a - 1.0) * log(chance) + (prior.b - 1.0) * log1p(-chance)
                    - ln_beta(prior.a, prior.b);
                sum += exp(density + seen.ln_likelihood(chance)) / f64::from(steps);
            }
            let exact = exp(seen.ln_average(prior));
            assert!((sum / exact - 1.0).abs() < 1e-4, "{sum} for {exact}");
        }
    }

    #[test]
    fn over_all_that_can_be_seen_a_mixture_adds_up_to_one() {
        let near = Beta { a: 0.5, b: 100.0 };
        let total: f64 = (0..1_u32 << 10)
            .map(|bits| {
                let one = Seen {
                    hits: f64::from((bits & 31).count_ones()),
                    of: 5.0,
                };
                let two = Seen {
                    hits: f64::from((bits >> 5).count_ones()),
                    of: 5.0,
                };
                exp(ln_mixture(&[one, two], near))
            })
            .sum();
        assert!((total - 1.0).abs() < 1e-9, "{total}");
    }
}
