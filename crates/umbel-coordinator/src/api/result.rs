//! A result on its way to the wire.

use umbel_core::change::FailedRecord;
use umbel_proto::columns::Row;
use umbel_proto::convert::{self, Provenance};
use umbel_proto::results::ResultsEncoder;
use umbel_proto::v1;
use umbel_store::{LogRow, Outcome, ResultRow, ResultsInColumns};

/// Adds a result to those that are encoded; `accepted` is what its job was accepted to run.
pub(super) fn encode(encoder: &mut ResultsEncoder, row: ResultRow, accepted: &str) {
    let Outcome::Succeeded(output) = row.outcome else {
        return encoder.push(&shown(row, accepted));
    };
    let from = Provenance {
        function: ran(&row.function, accepted),
        version: row.version,
        arm: row.arm.as_deref().unwrap_or_default(),
        worker: &row.worker,
    };
    let timing = row.timing;
    let columns = Row {
        output,
        duration_us: timing.duration_us,
        cpu_us: timing.cpu_us,
        started_at_us: timing.started_at_us.unwrap_or(0),
        cold_start: timing.cold_start,
    };
    encoder.succeeded(row.index, columns, row.attempts, from);
}

/// Results as they lie; `accepted` is what their job was accepted to run.
pub(super) fn in_columns(found: ResultsInColumns, accepted: &str) -> v1::ResultsInColumns {
    let from = Provenance {
        function: ran(&found.function, accepted),
        version: found.version,
        worker: &found.worker,
        arm: found.arm.as_deref().unwrap_or_default(),
    };
    let indices = (&found.reported, &found.meant);
    convert::results_in_columns(indices, found.columns, found.attempts, from)
}

/// What ran an invocation: a redrive may have run something else than the job was accepted with.
fn ran<'a>(function: &'a str, accepted: &'a str) -> &'a str {
    if function.is_empty() {
        accepted
    } else {
        function
    }
}

/// A result as it is shown; `accepted` is what its job was accepted to run.
pub(super) fn shown(row: ResultRow, accepted: &str) -> v1::Result {
    let ResultRow {
        index,
        outcome,
        attempts,
        worker,
        timing,
        function,
        redrive: _,
        version,
        arm,
    } = row;
    let function = ran(&function, accepted);
    let from = Provenance {
        function,
        version,
        arm: arm.as_deref().unwrap_or_default(),
        worker: &worker,
    };
    let started_at_us = timing.started_at_us.unwrap_or(0);
    match outcome {
        Outcome::Succeeded(output) => {
            let (duration_us, cpu_us) = (timing.duration_us, timing.cpu_us);
            let row = Row {
                output,
                duration_us,
                cpu_us,
                started_at_us,
                cold_start: timing.cold_start,
            };
            convert::succeeded_result(index, row, attempts, from)
        }
        Outcome::Failed(failure) => {
            let duration_us = timing.duration_us.unwrap_or(0);
            let cpu_us = timing.cpu_us;
            let record = FailedRecord {
                index,
                failure,
                attempts,
                started_at_us,
                duration_us,
                cpu_us,
                cold_start: timing.cold_start,
            };
            convert::failed_result(record, from)
        }
        Outcome::Cancelled => convert::cancelled_result(index, function),
    }
}

/// What an invocation printed, as it is shown.
pub(super) fn log(row: LogRow) -> v1::InvocationLog {
    let state = if row.succeeded {
        v1::InvocationState::Succeeded
    } else {
        v1::InvocationState::Failed
    };
    v1::InvocationLog {
        index: row.index.into(),
        state: state.into(),
        attempt: row.attempt,
        worker: row.worker.to_string(),
        // A worker of another make may have sent what is none.
        text: String::from_utf8_lossy(&row.text).into_owned(),
        redrive: row.redrive,
    }
}
