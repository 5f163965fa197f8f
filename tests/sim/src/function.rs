//! The functions that simulated workers have: what an input does is settled by the
//! plan, so that the model knows what must come of it.

use umbel_core::id::Index;
use umbel_core::outcome::{Failure, FailureKind};

use crate::dice::mix;

/// What running one input does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// It succeeds.
    Succeeds,
    /// Its first attempts fail, by the number that the worker tells.
    FailsFirst(u32),
    /// It always fails.
    Fails,
    /// It says that another attempt cannot help.
    Refuses,
    /// It takes its worker down with it.
    Crashes,
}

/// How the inputs of a job behave, in percent; the rest succeeds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mix {
    pub(crate) seed: u64,
    pub(crate) fails_first: u64,
    pub(crate) fails: u64,
    pub(crate) refuses: u64,
    /// Of a thousand, since a crash costs so much time.
    pub(crate) crashes_permille: u64,
    /// How long an input runs at most.
    pub(crate) run_ms_max: u64,
    /// Of a hundred, how many run twenty times as long.
    pub(crate) slow: u64,
    /// All run nearly as long as the longest.
    pub(crate) steady: bool,
}

impl Mix {
    fn number(&self, index: Index, salt: u64) -> u64 {
        mix(self.seed ^ mix(u64::from(index) ^ (salt << 40)))
    }

    pub(crate) fn behaviour(&self, index: Index) -> Behaviour {
        if self.number(index, 1) % 1_000 < self.crashes_permille {
            return Behaviour::Crashes;
        }
        let at = self.number(index, 2) % 100;
        if at < self.fails_first {
            let attempts = 1 + self.number(index, 3) % 3;
            return Behaviour::FailsFirst(u32::try_from(attempts).unwrap_or(1));
        }
        if at < self.fails_first + self.fails {
            return Behaviour::Fails;
        }
        if at < self.fails_first + self.fails + self.refuses {
            return Behaviour::Refuses;
        }
        Behaviour::Succeeds
    }

    /// How long an attempt runs if nothing stops it.
    pub(crate) fn run_ms(&self, index: Index, attempt: u32) -> u64 {
        let number = self.number(index, 4 + u64::from(attempt));
        if self.steady {
            return self.run_ms_max - number % (self.run_ms_max / 4 + 1);
        }
        let ms = number % (self.run_ms_max + 1);
        if (number >> 32) % 100 < self.slow {
            20 * ms.max(5)
        } else {
            ms
        }
    }
}

impl Behaviour {
    /// What an attempt comes to.
    pub(crate) fn outcome(
        self,
        target: &str,
        input: &[u8],
        attempt: u32,
    ) -> Result<Vec<u8>, (Failure, bool)> {
        match self {
            Self::Succeeds | Self::Crashes => Ok(output(target, input)),
            Self::FailsFirst(failures) if attempt > failures => Ok(output(target, input)),
            Self::FailsFirst(_) => Err((failure(FailureKind::Function, FLAKY), false)),
            Self::Fails => Err((failure(FailureKind::Function, BROKEN), false)),
            Self::Refuses => Err((failure(FailureKind::Function, REFUSED), true)),
        }
    }
}

/// The types of failures.
pub(crate) const FLAKY: &str = "Flaky";
pub(crate) const BROKEN: &str = "Broken";
const REFUSED: &str = "Refused";
pub(crate) const NOT_FETCHED: &str = "NotFetched";
pub(crate) const TIMED_OUT: &str = "TimedOut";

/// What a function gives back for an input: each says which one it is.
pub(crate) fn output(target: &str, input: &[u8]) -> Vec<u8> {
    let mut output = target.as_bytes().to_vec();
    output.push(b'<');
    output.extend_from_slice(input);
    output.push(b'>');
    output
}

pub(crate) fn failure(kind: FailureKind, error_type: &str) -> Failure {
    Failure {
        kind,
        error_type: error_type.to_owned(),
        message: "the plan says so".to_owned(),
        stderr: String::new(),
    }
}
