//! Results, as they are shown.

use umbel_core::change::FailedRecord;
use umbel_core::id::Index;

use super::outcome::{failure, wire_cold_start};
use crate::columns::Row;
use crate::v1;

/// What all results of one record share.
#[derive(Clone, Copy, Debug)]
pub struct Provenance<'a> {
    /// What ran.
    pub function: &'a str,
    /// The number of the version that ran, of a published function.
    pub version: Option<u32>,
    /// The arm that it ran for; empty: none.
    pub arm: &'a str,
    /// The worker whose report it was; empty if no worker's.
    pub worker: &'a str,
}

/// An invocation that succeeded.
#[must_use]
pub fn succeeded_result(index: Index, row: Row, attempts: u32, from: Provenance<'_>) -> v1::Result {
    v1::Result {
        index: index.into(),
        state: v1::InvocationState::Succeeded.into(),
        output: row.output,
        failure: None,
        attempts,
        function: from.function.to_owned(),
        worker: from.worker.to_owned(),
        started_at_us: row.started_at_us,
        duration_us: row.duration_us,
        cpu_us: row.cpu_us,
        cold_start: row.cold_start.map(wire_cold_start),
        version: from.version,
        arm: from.arm.to_owned(),
    }
}

/// An invocation that failed for good.
#[must_use]
pub fn failed_result(record: FailedRecord, from: Provenance<'_>) -> v1::Result {
    // What never began ran for no time; 0 would read as a measured one.
    let ran = record.started_at_us > 0 || record.duration_us > 0;
    v1::Result {
        index: record.index.into(),
        state: v1::InvocationState::Failed.into(),
        failure: Some(failure(record.failure)),
        attempts: record.attempts,
        function: from.function.to_owned(),
        worker: from.worker.to_owned(),
        started_at_us: record.started_at_us,
        duration_us: ran.then_some(record.duration_us),
        cpu_us: record.cpu_us,
        cold_start: record.cold_start.map(wire_cold_start),
        version: from.version,
        arm: from.arm.to_owned(),
        ..v1::Result::default()
    }
}

/// An invocation that was cancelled.
#[must_use]
pub fn cancelled_result(index: Index, function: &str) -> v1::Result {
    v1::Result {
        index: index.into(),
        state: v1::InvocationState::Cancelled.into(),
        function: function.to_owned(),
        ..v1::Result::default()
    }
}
