//! What an attempt knows about itself, and how it learns that nobody waits for it any more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::failure::{Failure, FailureKind};

/// The longest time that a waiting function or program goes without looking at its
/// [`CancelFlag`] and its deadline.
pub(crate) const PAUSE: Duration = Duration::from_millis(10);

/// Says that the work is not wanted any more. Set once, never taken back.
///
/// A worker shares one flag (in an `Arc`) among the attempts that end together, and sets all of
/// them before it leaves: that is what kills the programs that still run.
#[derive(Debug, Default)]
pub struct CancelFlag(AtomicBool);

impl CancelFlag {
    /// A flag that is not set.
    pub const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Sets the flag: whoever looks at it ends within some 10 ms.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the flag was set.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The bounds of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// An output of more bytes is a failure of type `OutputTooLarge`.
    pub output_bytes_max: usize,
    /// So many of a program's last bytes on stderr are kept with its failure.
    pub stderr_bytes_max: usize,
    /// Whether what an attempt printed is kept although it succeeded.
    pub keep_log: bool,
}

impl Limits {
    /// 6 MiB of output, 16 KiB of stderr, and no log of what succeeds.
    pub const DEFAULT: Self = Self {
        output_bytes_max: 6 * 1024 * 1024,
        stderr_bytes_max: 16 * 1024,
        keep_log: false,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// One attempt of one invocation, as its function sees it.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The job that the input belongs to.
    pub job_id: &'a str,
    /// The input's place in its job, from 0.
    pub index: u64,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// Set when nobody waits for the output any more.
    pub cancel: &'a CancelFlag,
    /// When the attempt has outrun its timeout. A program is killed then; a native function
    /// cannot be stopped, and should look at [`Context::check`] if it runs long.
    pub deadline: Option<Instant>,
    /// The bounds of the attempt.
    pub limits: Limits,
}

impl Context<'_> {
    /// The place where a long native function gives up: call it every few milliseconds.
    ///
    /// # Errors
    /// A failure of type `Cancelled` when the flag is set, of kind `timeout` when the deadline
    /// has passed.
    pub fn check(&self) -> Result<(), Failure> {
        if self.cancel.is_set() {
            return Err(Failure::cancelled());
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Failure::new(
                FailureKind::Timeout,
                "Timeout",
                "the function stopped itself when its timeout had passed",
            )),
            _ => Ok(()),
        }
    }

    /// The same attempt with a deadline no later than `timeout` from now.
    pub(crate) fn within(&self, timeout: Option<Duration>) -> Self {
        let own = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let deadline = match (self.deadline, own) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Self { deadline, ..*self }
    }

    /// The time from `started` to the deadline, which is the timeout when the deadline was set a
    /// moment before: whole milliseconds, rounded up.
    pub(crate) fn timeout_ms(&self, started: Instant) -> u128 {
        let timeout = self.deadline.map_or_else(
            || started.elapsed(),
            |at| at.saturating_duration_since(started),
        );
        timeout.as_micros().div_ceil(1_000)
    }

    /// How long to wait before the next look at flag and deadline; never more than 10 ms.
    pub(crate) fn pause(&self) -> Duration {
        self.deadline.map_or(PAUSE, |deadline| {
            PAUSE.min(deadline.saturating_duration_since(Instant::now()))
        })
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::{CancelFlag, Context, Limits};

    /// The context of a first attempt that nothing hurries.
    pub(crate) fn context(cancel: &CancelFlag) -> Context<'_> {
        Context {
            job_id: "job-1",
            index: 7,
            attempt: 1,
            cancel,
            deadline: None,
            limits: Limits::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::context;
    use super::*;

    #[test]
    fn an_attempt_goes_on_until_it_is_cancelled() {
        let cancel = CancelFlag::new();
        assert!(context(&cancel).check().is_ok());

        cancel.set();

        let failure = context(&cancel).check().unwrap_err();
        assert_eq!(failure.error_type, "Cancelled");
    }

    #[test]
    fn a_deadline_that_passed_is_a_timeout() {
        let cancel = CancelFlag::new();
        let late = Context {
            deadline: Some(Instant::now()),
            ..context(&cancel)
        };

        assert_eq!(late.check().unwrap_err().kind, FailureKind::Timeout);
        assert_eq!(late.pause(), Duration::ZERO);
    }
}
