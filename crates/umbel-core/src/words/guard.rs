//! What a rollout must keep: a figure of the new version, against the same figure of the old one
//! over the same time.

use std::fmt;
use std::str::FromStr;

use umbel_stats::quantile::{self, Times};
use umbel_stats::rate::{self, Count};
use umbel_stats::{Alpha, Judgement, Risk};

use super::arm::ArmFigures;
use super::histogram::{self, Histogram};

/// A whole, in the unit of margins.
const WHOLE: i32 = 10_000;
/// The widest margin: a hundred times as much.
const MARGIN_MAX: i32 = 100 * WHOLE;

/// One thing that a rollout must keep, as in `failure_rate<=+0.5%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// What is compared.
    pub measure: Measure,
    /// How much more the new version may have, in hundredths of a percent: of all invocations
    /// for failures, of what the old version takes for times. Less than nothing: it must have
    /// so much less.
    pub margin: i32,
}

/// What a guard compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Of invocations that have ended, the share that failed.
    FailureRate,
    /// A percentile of run times.
    Time {
        /// Which, in hundredths of all.
        percent: u8,
        /// Whether of cold starts; else of all other runs.
        cold: bool,
    },
}

impl Measure {
    /// The percentiles that can be guarded.
    const PERCENTS: [u8; 4] = [50, 90, 95, 99];

    /// Whether a rollout waits for what it says. Cold starts only stop a rollout: a version that
    /// stands ready has few of them, and none to compare with.
    #[must_use]
    pub fn holds_up(self) -> bool {
        !matches!(self, Self::Time { cold: true, .. })
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailureRate => f.write_str("failure_rate"),
            Self::Time { percent, cold } => {
                let cold = if *cold { "cold_" } else { "" };
                write!(f, "{cold}p{percent}")
            }
        }
    }
}

/// Why a text is no guard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It has another form.
    #[error("{0:?} is no guard; write one as in failure_rate<=+0.5% or p95<=+20%")]
    Form(String),
    /// It guards what is not measured.
    #[error(
        "{0:?} is not measured; guard failure_rate, or p50, p90, p95 or p99 of run times, or the same of cold starts as cold_p95"
    )]
    Measure(String),
    /// Its margin is no percentage.
    #[error(
        "{0:?} is no margin; write +0.5% for at most so much more, or -5% for at least so much less, with at most two decimals"
    )]
    Margin(String),
}

impl FromStr for Measure {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text == "failure_rate" {
            return Ok(Self::FailureRate);
        }
        let percent = text.strip_prefix("cold_");
        let cold = percent.is_some();
        let percent = percent.unwrap_or(text).strip_prefix('p');
        let percent = percent.and_then(|percent| percent.parse().ok());
        let percent = percent.filter(|percent| Self::PERCENTS.contains(percent));
        percent
            .map(|percent| Self::Time { percent, cold })
            .ok_or_else(|| Error::Measure(text.to_owned()))
    }
}

impl FromStr for Guard {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let Some((measure, margin)) = text.trim().split_once("<=") else {
            return Err(Error::Form(text.to_owned()));
        };
        let measure: Measure = measure.trim().parse()?;
        let margin = margin.trim();
        let parsed = parse_margin(margin).ok_or_else(|| Error::Margin(margin.to_owned()))?;
        let allowed = match measure {
            Measure::FailureRate => -WHOLE..=WHOLE,
            Measure::Time { .. } => 1 - WHOLE..=MARGIN_MAX,
        };
        if !allowed.contains(&parsed) {
            return Err(Error::Margin(margin.to_owned()));
        }
        Ok(Self {
            measure,
            margin: parsed,
        })
    }
}

/// A percentage with its sign, in hundredths.
fn parse_margin(text: &str) -> Option<i32> {
    let (sign, number) = match text.strip_prefix('-') {
        Some(number) => (-1, number),
        None => (1, text.strip_prefix('+')?),
    };
    let number = number.strip_suffix('%')?;
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(whole) || !is_digits(part) || part.len() > 2 {
        return None;
    }
    let part: i32 = format!("{part:0<2}").parse().ok()?;
    let whole: i32 = whole.parse().ok()?;
    Some(sign * whole.checked_mul(100)?.checked_add(part)?)
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.margin < 0 { '-' } else { '+' };
        let (whole, part) = (self.margin.abs() / 100, self.margin.abs() % 100);
        write!(f, "{}<={sign}{whole}", self.measure)?;
        match (part, part % 10) {
            (0, _) => {}
            (_, 0) => write!(f, ".{}", part / 10)?,
            _ => write!(f, ".{part:02}")?,
        }
        f.write_str("%")
    }
}

/// The times of a histogram, as the statistics take them.
#[must_use]
pub fn times(histogram: &Histogram) -> Times {
    Times::of(histogram.buckets().map(|(bucket, count)| {
        let span = histogram::span(bucket);
        (span.start, span.end, count)
    }))
}

/// The risks of a guard among so many: that any of them ever stops a version which keeps them
/// all, and that this one ever lets a version pass which does not keep it. One in twenty each.
fn risk(guards: u32) -> Risk {
    Risk {
        worse: Alpha::one_in_twenty().shared_by(guards),
        holds: Alpha::one_in_twenty(),
    }
}

impl Guard {
    /// Whether `candidate` keeps it against `baseline`, as one of so many guards. `failing` of the
    /// candidate's invocations have failed an attempt and wait for the next: they count as failed
    /// when it is judged whether it holds, since failures take longer to be final than successes.
    #[must_use]
    pub fn judge(
        &self,
        candidate: &ArmFigures,
        baseline: &ArmFigures,
        (guards, failing): (u32, u64),
    ) -> Judgement {
        let risk = risk(guards);
        let margin = f64::from(self.margin) / f64::from(WHOLE);
        match self.measure {
            Measure::FailureRate => {
                let baseline = count(baseline, 0);
                let judgement = rate::judge(count(candidate, 0), baseline, margin, risk);
                if judgement == Judgement::Holds && failing > 0 {
                    let worst = rate::judge(count(candidate, failing), baseline, margin, risk);
                    return if worst == Judgement::Holds {
                        worst
                    } else {
                        Judgement::Undecided
                    };
                }
                judgement
            }
            Measure::Time { percent, cold } => {
                let of = |arm: &ArmFigures| times(if cold { &arm.cold } else { &arm.warm });
                let p = f64::from(percent) / 100.0;
                quantile::judge(&of(candidate), &of(baseline), p, 1.0 + margin, risk)
            }
        }
    }
}

/// How many of an arm's invocations failed.
fn count(arm: &ArmFigures, failing: u64) -> Count {
    Count::new(
        arm.failures().saturating_add(failing),
        arm.finished().saturating_add(failing),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::FailureKind;

    #[test]
    fn guards_read_as_they_are_written() {
        for text in [
            "failure_rate<=+0.5%",
            "failure_rate<=+0%",
            "failure_rate<=-2.25%",
            "p95<=+20%",
            "p50<=-5%",
            "cold_p99<=+300.05%",
        ] {
            let guard: Guard = text.parse().unwrap();
            assert_eq!(guard.to_string(), text);
        }
        let spaced: Guard = " p95 <= +20.50% ".parse().unwrap();
        assert_eq!(spaced.to_string(), "p95<=+20.5%");
        assert_eq!(spaced.margin, 2_050);
    }

    #[test]
    fn what_is_no_guard_is_named() {
        let parse = |text: &str| text.parse::<Guard>().unwrap_err();
        for text in ["", "p95", "p95<+20%", "p95=>+20%"] {
            assert!(matches!(parse(text), Error::Form(_)), "{text}");
        }
        for text in [
            "p94<=+1%",
            "mean<=+1%",
            "cold_failure_rate<=+1%",
            "p<=+1%",
            "<=+1%",
        ] {
            assert!(matches!(parse(text), Error::Measure(_)), "{text}");
        }
        for text in [
            "p95<=20%",
            "p95<=+20",
            "p95<=+.5%",
            "p95<=+0.555%",
            "p95<=+1e3%",
            "p95<=-100%",
            "failure_rate<=+101%",
            "p95<=+99999999999%",
            "p95<=+20000000.01%",
        ] {
            assert!(matches!(parse(text), Error::Margin(_)), "{text}");
        }
    }

    fn arm(succeeded: u64, failed: u64, run_us: u64) -> ArmFigures {
        let mut arm = ArmFigures {
            succeeded,
            ..ArmFigures::default()
        };
        arm.fail(FailureKind::Function, failed);
        let bucket = histogram::bucket(run_us);
        arm.warm.add_bucket(bucket, succeeded + failed);
        arm
    }

    #[test]
    fn a_guard_says_what_the_figures_say() {
        let judge = |text: &str, candidate: &ArmFigures, baseline: &ArmFigures| {
            let guard: Guard = text.parse().unwrap();
            guard.judge(candidate, baseline, (1, 0))
        };
        let good = arm(5_000, 5, 1_000);
        let bad = arm(4_800, 205, 3_000);
        let rate = "failure_rate<=+0.5%";
        assert_eq!(judge(rate, &bad, &good), Judgement::Worse);
        assert_eq!(judge(rate, &good, &good), Judgement::Holds);
        assert_eq!(judge(rate, &good, &bad), Judgement::Holds);
        assert_eq!(judge(rate, &arm(50, 1, 1), &good), Judgement::Undecided);
        assert_eq!(judge("p95<=+20%", &bad, &good), Judgement::Worse);
        assert_eq!(judge("p95<=+20%", &good, &good), Judgement::Holds);
        assert_eq!(judge("p95<=-50%", &good, &bad), Judgement::Holds);
        assert_eq!(judge("p95<=-50%", &good, &good), Judgement::Worse);
        assert_eq!(judge("cold_p95<=+20%", &bad, &good), Judgement::Undecided);
    }

    #[test]
    fn what_fails_and_is_tried_again_keeps_a_guard_from_holding() {
        let guard: Guard = "failure_rate<=+0.5%".parse().unwrap();
        let good = arm(5_000, 0, 1_000);
        assert_eq!(guard.judge(&good, &good, (3, 0)), Judgement::Holds);
        assert_eq!(guard.judge(&good, &good, (3, 500)), Judgement::Undecided);
    }
}
