//! Comparisons of two arms that may be looked at as often as one likes.
//!
//! A test of fixed size is right once. Whoever looks every second, and stops when it is
//! significant, is misled almost surely in the end. What is here stays valid at every look, and
//! for every rule by which one may stop: the chance that an interval *ever* misses the truth is
//! at most `alpha`.
//!
//! All of it stands on one inequality (Ville's). Weigh every hypothesis about the arms by a
//! prior, and let `M` be the likelihood of what was seen, averaged over the prior. For the true
//! hypothesis, `M / L(truth)` is on average 1 at any time, so the chance that it ever reaches
//! `1 / alpha` is at most `alpha`. What is ruled out by `M / L >= 1 / alpha` is therefore ruled
//! out for good. For a hypothesis that leaves something open, such as *the candidate fails at
//! most half a percent more*, the likeliest of what it allows stands for it.
//!
//! * [`rate`]: failures among invocations, exactly (a mixture of beta-binomials for both arms).
//! * [`quantile`]: times, in buckets as [`quantile::Times`] has them. At the true quantile a time
//!   is below it with a known chance, so it is a rate again, and exact too.
//! * [`mean`]: any number, as a limit for many (a normal mixture with the measured variance).
//! * [`share`]: whether arms got their shares of the inputs at all.
//!
//! Every figure supposes that invocations are independent of each other, and that both arms were
//! seen over the same time.
//!
//! Nothing here knows a clock or chance, and logarithms come from `libm`: the same figures give
//! the same answer on every machine.

pub mod mean;
mod mixture;
pub mod quantile;
pub mod rate;
pub mod share;
mod verdict;

#[cfg(test)]
mod testing;

pub use verdict::{Finding, Judgement, Wish};

/// Where a figure lies, with the confidence that was asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Not below this.
    pub low: f64,
    /// Not above this.
    pub high: f64,
}

impl Interval {
    /// Nothing is known.
    pub const WHOLE: Self = Self {
        low: f64::NEG_INFINITY,
        high: f64::INFINITY,
    };

    /// Whether a figure is in it.
    #[must_use]
    pub fn contains(&self, figure: f64) -> bool {
        self.low <= figure && figure <= self.high
    }
}

/// How often one is ready to be wrong, ever: between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alpha {
    ln_inverse: f64,
}

impl Alpha {
    /// One in twenty.
    #[must_use]
    pub fn one_in_twenty() -> Self {
        Self::one_in(20)
    }

    /// One in so many; 0 counts as 1.
    #[must_use]
    pub fn one_in(times: u32) -> Self {
        Self {
            ln_inverse: libm::log(f64::from(times.max(1))),
        }
    }

    /// An equal part of it for each of so many questions, of which none may be answered wrongly.
    #[must_use]
    pub fn shared_by(self, questions: u32) -> Self {
        Self {
            ln_inverse: self.ln_inverse + libm::log(f64::from(questions.max(1))),
        }
    }

    /// What the logarithm of a ratio of likelihoods must reach.
    pub(crate) fn threshold(self) -> f64 {
        self.ln_inverse
    }
}

/// How often one is ready to be wrong, ever, in each of the two ways in which a judgement can be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Risk {
    /// Of saying that it is worse though it is not.
    pub worse: Alpha,
    /// Of saying that it holds though it does not.
    pub holds: Alpha,
}

impl Risk {
    /// The same both ways.
    #[must_use]
    pub fn both(alpha: Alpha) -> Self {
        Self {
            worse: alpha,
            holds: alpha,
        }
    }
}

/// Where a function that rises from `from` (not yet `true`) to `to` (`true`) changes, to within
/// what sixty halvings leave.
pub(crate) fn bisect(mut from: f64, mut to: f64, is: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..60 {
        let middle = from + (to - from) / 2.0;
        if is(middle) {
            to = middle;
        } else {
            from = middle;
        }
    }
    to
}
