//! What came of an input at the desk.

use serde::Serialize;

use super::result::{ColdStart, Failure, Output};
use crate::desk::Attempt;

/// A result that no coordinator has recorded.
#[derive(Debug, Serialize)]
pub(crate) struct DeskResult<'a> {
    index: u64,
    state: &'static str,
    #[serde(flatten)]
    output: Output<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failure<'a>>,
    duration_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cold_start: Option<ColdStart>,
    /// Of an attempt that succeeded; that of a failed one is the failure's `stderr`.
    #[serde(skip_serializing_if = "str::is_empty")]
    log: &'a str,
}

impl<'a> DeskResult<'a> {
    /// What came of input `index`.
    pub(crate) fn new(index: u64, attempt: &'a Attempt) -> Self {
        let execution = &attempt.execution;
        let (state, output, failure) = match &execution.outcome {
            Ok(()) => ("succeeded", Output::of(&attempt.output), None),
            Err(failure) => ("failed", Output::NONE, Some(Failure::from(failure))),
        };
        Self {
            index,
            state,
            output,
            failure,
            duration_us: u64::try_from(attempt.duration.as_micros()).unwrap_or(u64::MAX),
            cpu_us: execution.cpu_us,
            cold_start: execution.cold_start.map(ColdStart::from),
            log: execution.log.as_deref().unwrap_or_default(),
        }
    }
}
