//! What a slot runs right now, where others can see it.
//!
//! The slot's thread passes through here once for each invocation, with a lock that
//! nobody else holds: that is what lets the watch take over the outcomes of a piece
//! whose function does not return.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use umbel_core::cold_start::ColdStart;
use umbel_core::id::{Index, InvokeId};
use umbel_core::job::Usage;
use umbel_core::message::InvokeDone;
use umbel_core::outcome::{FailedAttempt, Failure, FailureKind};
use umbel_core::ranges::Ranges;
use umbel_core::worker::{Origin, Part};
use umbel_proto::columns::ColumnsBuilder;
use umbel_runtime::{CancelFlag, Execution};

use crate::failure::bounded;

/// A piece ends early when its outcomes are so long: with one more of full length
/// they still fit into a message.
const PIECE_BYTES_MAX: usize = 256 << 10;
/// About what a failure or a part takes beside its texts.
const ENVELOPE_BYTES: usize = 64;

/// What a slot runs.
#[derive(Debug, Default)]
pub(crate) struct Lane(Mutex<Option<Running>>);

/// A piece that runs, with what has come of it.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) origin: Origin,
    /// The invocation that runs, or ran last.
    current: Index,
    /// What is at or behind this is not the slot's any more.
    end: Index,
    began_us: u64,
    pub(crate) timeout_us: Option<u64>,
    /// A function that cannot be stopped.
    pub(crate) is_native: bool,
    pub(crate) cancel: Arc<CancelFlag>,
    first: Index,
    columns: ColumnsBuilder,
    succeeded: Ranges,
    failed: Vec<FailedAttempt>,
    failed_bytes: usize,
    usage: Usage,
    invoked: Option<Result<Bytes, Failure>>,
    invoked_cold: Option<ColdStart>,
}

/// One attempt that ended.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) index: Index,
    pub(crate) output: &'a [u8],
    pub(crate) execution: Execution,
    /// Its cold start, with what it took to get the version here.
    pub(crate) cold_start: Option<ColdStart>,
    pub(crate) began_us: u64,
    pub(crate) ended_us: u64,
    /// Microseconds since 1970.
    pub(crate) started_at_us: u64,
}

/// The times of an attempt.
#[derive(Clone, Copy, Debug)]
struct Took {
    started_at_us: u64,
    duration_us: u64,
    cpu_us: Option<u64>,
    cold_start: Option<ColdStart>,
}

impl Lane {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an attempt; tells whether the next invocation is still to be run.
    #[inline]
    pub(crate) fn record(&self, attempt: Attempt<'_>) -> bool {
        let mut lane = self.lock();
        lane.as_mut().is_some_and(|running| running.record(attempt))
    }

    /// Takes what has come of the piece; none if it was taken over.
    pub(crate) fn take(&self) -> Option<Running> {
        self.lock().take()
    }

    /// Tells what runs that nobody waits for it.
    pub(crate) fn cancel(&self) {
        if let Some(running) = self.lock().as_ref() {
            running.cancel.set();
        }
    }
}

impl Running {
    pub(crate) fn new(
        origin: Origin,
        run: std::ops::Range<Index>,
        began_us: u64,
        timeout_ms: Option<u64>,
        is_native: bool,
    ) -> Self {
        Self {
            origin,
            current: run.start,
            end: run.end,
            began_us,
            timeout_us: timeout_ms.map(|timeout_ms| timeout_ms.saturating_mul(1_000)),
            is_native,
            cancel: Arc::new(CancelFlag::new()),
            first: run.start,
            columns: ColumnsBuilder::new(),
            succeeded: Ranges::new(),
            failed: Vec::new(),
            failed_bytes: 0,
            usage: Usage::default(),
            invoked: None,
            invoked_cold: None,
        }
    }

    #[inline]
    fn record(&mut self, attempt: Attempt<'_>) -> bool {
        let duration_us = attempt.ended_us.saturating_sub(attempt.began_us);
        let cpu_us = attempt.execution.cpu_us;
        self.usage.duration_us += duration_us;
        self.usage.cpu_us += cpu_us.unwrap_or(0);
        self.usage.attempts += 1;
        let took = Took {
            started_at_us: attempt.started_at_us,
            duration_us,
            cpu_us,
            cold_start: attempt.cold_start,
        };
        match attempt.execution.outcome {
            Ok(()) if matches!(self.origin, Origin::Chunk { .. }) => {
                let started_at_us = attempt.started_at_us;
                (self.columns).push(attempt.output, duration_us, cpu_us, started_at_us);
                if let Some(cold_start) = took.cold_start {
                    self.columns.mark_cold(cold_start);
                }
                if let Some(log) = attempt.execution.log.filter(|log| !log.is_empty()) {
                    self.columns.log(&log);
                }
                self.succeeded.push(attempt.index..attempt.index + 1);
            }
            Ok(()) => {
                self.invoked = Some(Ok(Bytes::copy_from_slice(attempt.output)));
                self.invoked_cold = took.cold_start;
            }
            Err(failure) => self.fail(took, bounded(failure)),
        }
        self.current = attempt.index + 1;
        self.began_us = attempt.ended_us;
        self.current < self.end && self.bytes() < PIECE_BYTES_MAX && !self.cancel.is_set()
    }

    /// The attempt that runs has failed.
    fn fail(&mut self, took: Took, failure: Failure) {
        if matches!(self.origin, Origin::Invoke(_)) {
            self.invoked = Some(Err(failure));
            self.invoked_cold = took.cold_start;
            return;
        }
        let texts = failure.message.len() + failure.stderr.len() + failure.error_type.len();
        self.failed_bytes += texts + ENVELOPE_BYTES;
        self.failed.push(FailedAttempt {
            index: self.current,
            no_retry: failure.error_type == "OutputTooLarge",
            failure,
            started_at_us: took.started_at_us,
            duration_us: took.duration_us,
            cpu_us: took.cpu_us,
            cold_start: took.cold_start,
        });
    }

    fn bytes(&self) -> usize {
        self.columns.bytes() + self.failed_bytes + ENVELOPE_BYTES
    }

    /// How long the current invocation has run.
    pub(crate) fn ran_us(&self, now_us: u64) -> u64 {
        now_us.saturating_sub(self.began_us)
    }

    /// Whether the current invocation cannot be stopped and has outrun its timeout
    /// by so much.
    pub(crate) fn is_overdue(&self, now_us: u64, grace_us: u64) -> bool {
        let overdue = |timeout_us| self.ran_us(now_us) >= grace_us.saturating_add(timeout_us);
        self.is_native && self.timeout_us.is_some_and(overdue)
    }

    /// Leaves the slot its current invocation and takes the rest; tells where the
    /// rest begins, if there is any.
    pub(crate) fn cut(&mut self) -> Option<Index> {
        let end = self.current + 1;
        (end < self.end).then(|| {
            self.end = end;
            end
        })
    }

    /// The current invocation is a timeout.
    pub(crate) fn time_out(&mut self, now_us: u64, started_at_us: u64) {
        let duration_us = self.ran_us(now_us);
        let timeout_ms = self.timeout_us.unwrap_or(0) / 1_000;
        let message = format!(
            "the function outran its timeout of {timeout_ms} ms and cannot be stopped; its slot stays taken until it returns"
        );
        let failure = Failure {
            kind: FailureKind::Timeout,
            error_type: "Timeout".to_owned(),
            message,
            stderr: String::new(),
        };
        self.usage.duration_us += duration_us;
        self.usage.attempts += 1;
        let took = Took {
            started_at_us,
            duration_us,
            cpu_us: None,
            cold_start: None,
        };
        self.fail(took, failure);
        self.current += 1;
    }

    /// When the current invocation began, on the worker's clock.
    pub(crate) fn began_us(&self) -> u64 {
        self.began_us
    }

    /// Processor time was measured for all of the piece together.
    pub(crate) fn spread_cpu(&mut self, total_us: u64) {
        self.usage.cpu_us = total_us;
        let each = total_us / self.usage.attempts.max(1);
        let succeeded = total_us.saturating_sub(each * self.failed.len() as u64);
        self.columns.spread_cpu(succeeded);
        for failed in &mut self.failed {
            failed.cpu_us = Some(each);
        }
    }

    /// What came of a chunk's piece.
    pub(crate) fn into_part(self) -> Part<ColumnsBuilder> {
        Part {
            bytes: self.bytes(),
            run: self.first..self.current,
            succeeded: self.succeeded,
            columns: self.columns,
            failed: self.failed,
            usage: self.usage,
        }
    }

    /// What came of an invoke. It runs whole, so there is an outcome.
    pub(crate) fn into_done(self, id: InvokeId) -> InvokeDone {
        let unknown = || {
            Err(Failure {
                kind: FailureKind::Crashed,
                error_type: "Unattended".to_owned(),
                message: "the worker lost the outcome".to_owned(),
                stderr: String::new(),
            })
        };
        InvokeDone {
            id,
            outcome: self.invoked.unwrap_or_else(unknown),
            duration_us: self.usage.duration_us,
            cpu_us: Some(self.usage.cpu_us).filter(|&cpu_us| cpu_us > 0),
            cold_start: self.invoked_cold,
        }
    }
}
