//! What happened to invocations, and the leases under which they run.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use umbel_core::change::{FailedRecord, LeaseRecord, Record, WaitingRecord};
use umbel_core::cold_start::ColdStart;
use umbel_core::function::VersionId;
use umbel_core::history::History;
use umbel_core::id::{JobId, LeaseId, WorkerId};
use umbel_core::job::Usage;
use umbel_core::outcome::{Failure, FailureKind};
use umbel_core::route::RanArm;

use super::route::{decode_arm, encode_arm};
use super::{Error, parse, runs, wire};

const RECORD: &str = "IndexRecord";
const LEASE: &str = "LeaseRecord";

/// Where the columns of a record lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Columns {
    /// Within the record itself; this is also where there are none.
    Inline,
    /// Beside it, in so many parts.
    Parts(u32),
}

/// A record as it was stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// The record; its columns are empty when they lie beside it.
    pub record: Record,
    /// Where its columns lie.
    pub columns: Columns,
    /// How many parts its logs have, which always lie beside it; 0: there are none.
    pub log_parts: u32,
}

/// Encodes a record. Its job is not in it but in its key, and its function is only where the job
/// was redriven or a route decided.
#[must_use]
pub fn encode_record(record: &Record, columns: Columns, log_parts: u32) -> Bytes {
    let masked = record.succeeded != record.reported;
    let (column_parts, inline) = match columns {
        Columns::Inline => (0, record.columns.clone()),
        Columns::Parts(parts) => (parts, Bytes::new()),
    };
    let record = wire::IndexRecord {
        redrive: record.redrive,
        worker: record.worker.to_string(),
        attempt: record.attempt,
        reported: runs::encode_some(&record.reported),
        succeeded: if masked {
            runs::encode_some(&record.succeeded)
        } else {
            None
        },
        masked,
        failed: record.failed.iter().map(encode_failed).collect(),
        waiting: record.waiting.iter().map(encode_waiting).collect(),
        cancelled: runs::encode_some(&record.cancelled),
        duration_us: record.usage.duration_us,
        cpu_us: record.usage.cpu_us,
        attempts: record.usage.attempts,
        column_parts,
        columns: inline,
        log_parts,
        // A redrive or a route may run something else than the job was accepted with.
        function: if record.redrive > 0 || record.arm.is_some() {
            record.function.to_string()
        } else {
            String::new()
        },
        version: record.version.unwrap_or(0),
        arm_id: record.arm.as_ref().map_or(0, |arm| arm.id.0),
        arm: record
            .arm
            .as_ref()
            .map(|arm| arm.name.to_string())
            .unwrap_or_default(),
    };
    record.encode_to_vec().into()
}

/// Decodes a record of `job`, which was accepted to run `function`.
///
/// # Errors
///
/// When the bytes are no such record.
pub fn decode_record(job: JobId, function: Arc<str>, bytes: Bytes) -> Result<Stored, Error> {
    let record: wire::IndexRecord = parse(RECORD, bytes)?;
    let reported = runs::decode(RECORD, record.reported)?;
    let succeeded = match (record.masked, record.succeeded) {
        (false, _) => reported.clone(),
        (true, some) => runs::decode(RECORD, some)?,
    };
    if !succeeded.minus(&reported).is_empty() {
        return Err(Error::new(
            RECORD,
            "it counts successes that nobody reported",
        ));
    }
    let log_parts = record.log_parts;
    let columns = match record.column_parts {
        0 => Columns::Inline,
        // Else one of the two would be shown, and the other checked.
        _ if !record.columns.is_empty() => {
            return Err(Error::new(RECORD, "its columns lie in it and beside it"));
        }
        parts => Columns::Parts(parts),
    };
    let record = Record {
        job,
        redrive: record.redrive,
        worker: record.worker.into(),
        function: if record.function.is_empty() {
            function
        } else {
            record.function.into()
        },
        version: Some(record.version).filter(|version| *version > 0),
        arm: decode_arm(record.arm_id).map(|id| RanArm {
            id,
            name: record.arm.into(),
        }),
        attempt: record.attempt,
        reported,
        succeeded,
        columns: record.columns,
        logs: Bytes::new(),
        failed: record
            .failed
            .into_iter()
            .map(decode_failed)
            .collect::<Result<_, _>>()?,
        waiting: record
            .waiting
            .into_iter()
            .map(decode_waiting)
            .collect::<Result<_, _>>()?,
        cancelled: runs::decode(RECORD, record.cancelled)?,
        usage: Usage {
            duration_us: record.duration_us,
            cpu_us: record.cpu_us,
            attempts: record.attempts,
        },
    };
    Ok(Stored {
        record,
        columns,
        log_parts,
    })
}

/// The numbers of umbel.v1.FailureKind.
fn encode_kind(kind: FailureKind) -> u32 {
    match kind {
        FailureKind::Function => 1,
        FailureKind::Timeout => 2,
        FailureKind::Crashed => 3,
        FailureKind::Lost => 4,
        FailureKind::Rejected => 5,
    }
}

fn decode_kind(kind: u32) -> Result<FailureKind, Error> {
    Ok(match kind {
        1 => FailureKind::Function,
        2 => FailureKind::Timeout,
        3 => FailureKind::Crashed,
        4 => FailureKind::Lost,
        5 => FailureKind::Rejected,
        _ => {
            return Err(Error::new(
                RECORD,
                format!("its failure's kind {kind} is not known"),
            ));
        }
    })
}

fn encode_failed(failed: &FailedRecord) -> wire::FailedRecord {
    wire::FailedRecord {
        index: failed.index,
        failure: Some(wire::Failure {
            kind: encode_kind(failed.failure.kind),
            r#type: failed.failure.error_type.clone(),
            message: failed.failure.message.clone(),
            stderr: failed.failure.stderr.clone(),
        }),
        attempts: failed.attempts,
        started_at_us: failed.started_at_us,
        duration_us: failed.duration_us,
        cpu_us: failed.cpu_us,
        cold_start: failed.cold_start.map(|cold| wire::ColdStart {
            fetch_us: cold.fetch_us,
            load_us: cold.load_us,
            init_us: cold.init_us,
            first_call_us: cold.first_call_us,
        }),
    }
}

fn decode_failed(failed: wire::FailedRecord) -> Result<FailedRecord, Error> {
    let failure = failed
        .failure
        .ok_or_else(|| Error::new(RECORD, "it has a failure without a reason"))?;
    if failed.index == u32::MAX {
        return Err(Error::new(
            RECORD,
            "it has a failure beyond the largest index",
        ));
    }
    Ok(FailedRecord {
        index: failed.index,
        failure: Failure {
            kind: decode_kind(failure.kind)?,
            error_type: failure.r#type,
            message: failure.message,
            stderr: failure.stderr,
        },
        attempts: failed.attempts,
        started_at_us: failed.started_at_us,
        duration_us: failed.duration_us,
        cpu_us: failed.cpu_us,
        cold_start: failed.cold_start.map(|cold| ColdStart {
            fetch_us: cold.fetch_us,
            load_us: cold.load_us,
            init_us: cold.init_us,
            first_call_us: cold.first_call_us,
        }),
    })
}

fn encode_waiting(waiting: &WaitingRecord) -> wire::WaitingRecord {
    wire::WaitingRecord {
        indices: runs::encode_some(&waiting.indices),
        failed: waiting.history.failed.into(),
        lost: waiting.history.lost.into(),
        lost_alone: waiting.history.lost_alone.into(),
        suspect_chunk: waiting.history.suspect_chunk,
        due_ms: waiting.due_ms,
        version_id: encode_version(waiting.history.version),
        keeps_version: waiting.history.keeps_version,
        arm_id: encode_arm(waiting.history.arm),
    }
}

/// 0 is none.
fn encode_version(version: Option<VersionId>) -> u32 {
    version.map_or(0, |version| version.0)
}

fn decode_version(id: u32) -> Option<VersionId> {
    Some(VersionId(id)).filter(|version| version.0 > 0)
}

fn decode_waiting(waiting: wire::WaitingRecord) -> Result<WaitingRecord, Error> {
    let beyond = |_| Error::new(RECORD, "it counts more attempts than there can be");
    Ok(WaitingRecord {
        indices: runs::decode(RECORD, waiting.indices)?,
        history: History {
            failed: waiting.failed.try_into().map_err(beyond)?,
            lost: waiting.lost.try_into().map_err(beyond)?,
            lost_alone: waiting.lost_alone.try_into().map_err(beyond)?,
            suspect_chunk: waiting.suspect_chunk,
            version: decode_version(waiting.version_id),
            arm: decode_arm(waiting.arm_id),
            keeps_version: waiting.keeps_version,
        },
        due_ms: waiting.due_ms,
    })
}

/// Encodes a lease; its id is its key.
#[must_use]
pub fn encode_lease(lease: &LeaseRecord) -> Bytes {
    let record = wire::LeaseRecord {
        worker_id: lease.worker.0.to_vec().into(),
        job_id: lease.job.0.to_vec().into(),
        indices: runs::encode_some(&lease.indices),
        version_id: encode_version(lease.version),
        arm_id: encode_arm(lease.arm),
    };
    record.encode_to_vec().into()
}

/// Decodes the lease `id`.
///
/// # Errors
///
/// When the bytes are no such record.
pub fn decode_lease(id: LeaseId, bytes: Bytes) -> Result<LeaseRecord, Error> {
    let record: wire::LeaseRecord = parse(LEASE, bytes)?;
    let uuid = |bytes: &[u8]| {
        <[u8; 16]>::try_from(bytes).map_err(|_| Error::new(LEASE, "an id has not 16 bytes"))
    };
    Ok(LeaseRecord {
        lease: id,
        worker: WorkerId(uuid(&record.worker_id)?),
        job: JobId(uuid(&record.job_id)?),
        indices: runs::decode(LEASE, record.indices)?,
        version: decode_version(record.version_id),
        arm: decode_arm(record.arm_id),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::disk::testing;

    proptest! {
        #[test]
        fn records_come_back(record in testing::record()) {
            let (job, function) = (record.job, Arc::clone(&record.function));
            let inline = encode_record(&record, Columns::Inline, 0);
            let stored = decode_record(job, Arc::clone(&function), inline).unwrap();
            prop_assert_eq!(&stored.record, &record);

            let beside = encode_record(&record, Columns::Parts(3), 2);
            let stored = decode_record(job, function, beside).unwrap();
            prop_assert_eq!((stored.columns, stored.log_parts), (Columns::Parts(3), 2));
            prop_assert_eq!(stored.record, Record { columns: Bytes::new(), ..record });
        }

        #[test]
        fn leases_come_back(lease in testing::lease()) {
            prop_assert_eq!(decode_lease(lease.lease, encode_lease(&lease)).unwrap(), lease);
        }

        #[test]
        fn garbage_is_an_error_and_no_panic(bytes: Vec<u8>) {
            let bytes = Bytes::from(bytes);
            let _ = decode_record(JobId::default(), "f".into(), bytes.clone());
            let _ = decode_lease(LeaseId { epoch: 0, number: 0 }, bytes);
        }
    }

    #[test]
    fn failure_kinds_have_the_numbers_of_the_wire() {
        use crate::generated::v1;
        for (kind, number) in [
            (FailureKind::Function, v1::FailureKind::Function),
            (FailureKind::Timeout, v1::FailureKind::Timeout),
            (FailureKind::Crashed, v1::FailureKind::Crashed),
            (FailureKind::Lost, v1::FailureKind::Lost),
            (FailureKind::Rejected, v1::FailureKind::Rejected),
        ] {
            assert_eq!(i64::from(encode_kind(kind)), i64::from(i32::from(number)));
            assert_eq!(decode_kind(encode_kind(kind)).unwrap(), kind);
        }
    }
}
