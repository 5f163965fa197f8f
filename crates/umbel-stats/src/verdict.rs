//! What figures say, and never more.

use crate::Interval;

/// Whether what was to hold does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It does.
    Holds,
    /// It does not.
    Worse,
    /// Neither is known yet.
    Undecided,
}

/// Which way of a difference one wishes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Less is better: failures, times, cost.
    Less,
    /// More is better: a score.
    More,
}

/// What a difference between two arms amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is better.
    Better,
    /// It is worse.
    Worse,
    /// They differ by no more than what counts as none.
    NoDifference,
    /// None of these is known yet.
    NotEnough,
}

impl Finding {
    /// What an interval for a difference says, where so little as `within` counts as none.
    #[must_use]
    pub fn of(difference: Interval, within: f64, wish: Wish) -> Self {
        let Interval { low, high } = difference;
        let (more, less) = match wish {
            Wish::Less => (Self::Worse, Self::Better),
            Wish::More => (Self::Better, Self::Worse),
        };
        if low >= -within && high <= within {
            Self::NoDifference
        } else if low > 0.0 {
            more
        } else if high < 0.0 {
            less
        } else {
            Self::NotEnough
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_no_more_than_its_interval() {
        let cases = [
            ((0.02, 0.05), Finding::Worse),
            ((-0.05, -0.02), Finding::Better),
            ((-0.05, 0.02), Finding::NotEnough),
            ((-0.01, 0.01), Finding::NoDifference),
            ((0.001, 0.004), Finding::NoDifference),
            ((f64::NEG_INFINITY, f64::INFINITY), Finding::NotEnough),
        ];
        for ((low, high), less) in cases {
            let interval = Interval { low, high };
            assert_eq!(Finding::of(interval, 0.01, Wish::Less), less);
            let more = match less {
                Finding::Worse => Finding::Better,
                Finding::Better => Finding::Worse,
                same => same,
            };
            assert_eq!(Finding::of(interval, 0.01, Wish::More), more);
        }
    }
}
