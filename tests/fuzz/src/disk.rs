//! What is read from disk, and what lies there as it came.

use std::sync::Arc;

use bytes::Bytes;
use umbel_core::arm::ArmFigures;
use umbel_core::change::KeptRequest;
use umbel_core::function::VersionId;
use umbel_core::id::{Appender, JobId, LeaseId};
use umbel_core::limit::{ARTIFACT_FILES_MAX, ARTIFACT_UNPACKED_BYTES_MAX, INPUT_BYTES_MAX};
use umbel_proto::block::Block;
use umbel_proto::columns::Columns;
use umbel_proto::disk;

const JOB: JobId = JobId([5; 16]);
const LEASE: LeaseId = LeaseId {
    epoch: 3,
    number: 17,
};

/// The first byte says which record the others are. What is understood is written back as the
/// same.
pub(crate) fn record(bytes: &[u8]) -> bool {
    let Some((kind, rest)) = bytes.split_first() else {
        return false;
    };
    let rest = Bytes::copy_from_slice(rest);
    macro_rules! there_and_back {
        ($decode:expr, $encode:expr) => {{
            let decode = $decode;
            let Ok(read) = decode(rest) else { return false };
            let again = decode($encode(&read)).expect("it was written by this program");
            assert_eq!(again, read);
            true
        }};
    }
    match kind % 14 {
        0 => there_and_back!(|bytes| disk::decode_job(JOB, bytes), disk::encode_job),
        1 => there_and_back!(disk::decode_status, disk::encode_status),
        2 => there_and_back!(
            |bytes| disk::decode_appended(3, Appender(2), bytes),
            |block: &umbel_core::job::BlockRef| disk::encode_appended(*block)
        ),
        3 => {
            let decode = |function, bytes| disk::decode_record(JOB, function, bytes);
            let Ok(read) = decode(Arc::from("f"), rest) else {
                return false;
            };
            // A function is written only where a redrive may have changed it.
            let function = Arc::clone(&read.record.function);
            let bytes = disk::encode_record(&read.record, read.columns, read.log_parts);
            let again = decode(function, bytes).expect("it was written by this program");
            assert_eq!(again.record, read.record);
            true
        }
        4 => there_and_back!(|bytes| disk::decode_lease(LEASE, bytes), disk::encode_lease),
        5 => there_and_back!(
            |bytes| disk::decode_function("f".to_owned(), bytes),
            disk::encode_function
        ),
        6 => there_and_back!(
            |bytes| disk::decode_version(VersionId(7), bytes),
            disk::encode_version
        ),
        7 => there_and_back!(
            |bytes| disk::decode_alias("f".to_owned(), "live".to_owned(), bytes),
            disk::encode_alias
        ),
        8 => there_and_back!(disk::decode_retired, |at_ms: &u64| disk::encode_retired(
            *at_ms
        )),
        9 => there_and_back!(disk::decode_request, |kept: &KeptRequest| {
            disk::encode_request(*kept)
        }),
        10 => there_and_back!(disk::decode_format, |format: &disk::Format| {
            disk::encode_format(*format)
        }),
        11 => there_and_back!(disk::decode_arm_cell, disk::encode_arm_cell),
        12 => there_and_back!(disk::decode_arm_mark, |mark: &(u64, ArmFigures)| {
            disk::encode_arm_mark(mark.0, &mark.1)
        }),
        _ => there_and_back!(
            |bytes| disk::decode_rollout("f".to_owned(), "live".to_owned(), bytes),
            disk::encode_rollout
        ),
    }
}

/// A block, from outside or from disk: its entries are in it, and every slice of it is.
pub(crate) fn block(bytes: &[u8]) -> bool {
    let bytes = Bytes::copy_from_slice(bytes);
    let stored = Block::parse_stored(bytes.clone());
    if let Ok(block) = &stored {
        walk(block);
    }
    let Ok(block) = Block::parse(bytes.clone(), INPUT_BYTES_MAX) else {
        return false;
    };
    assert!(stored.is_ok() && *block.bytes() == bytes);
    let count = block.count();
    assert_eq!(block.entries().iter().count(), count as usize);
    let all: usize = block.entries().iter().map(<[u8]>::len).sum();
    let (_, whole) = block.slice(0..count);
    assert_eq!(whole.len(), all);
    let (first, rest) = (block.slice(0..count / 2), block.slice(count / 2..count));
    assert_eq!([first.1, rest.1].concat(), whole);
    true
}

/// What was damaged on disk may be short, but nothing is read beside it.
fn walk(block: &Block) {
    let bytes: usize = block.entries().iter().map(<[u8]>::len).sum();
    assert!(bytes <= block.bytes().len());
    let (lengths, body) = block.slice(0..block.count());
    assert!(lengths.len() + body.len() <= block.bytes().len());
}

/// Columns of a report; the first byte says how many results they should have.
pub(crate) fn columns(bytes: &[u8]) -> bool {
    let Some((count, rest)) = bytes.split_first() else {
        return false;
    };
    let rest = Bytes::copy_from_slice(rest);
    if let Ok(columns) = Columns::parse_stored(rest.clone()) {
        assert!(columns.rows().count() <= columns.count() as usize);
    }
    let Ok(columns) = Columns::parse(rest, u64::from(*count), INPUT_BYTES_MAX) else {
        return false;
    };
    assert_eq!(columns.rows().count(), usize::from(*count));
    true
}

/// An artifact: what is found in it is within the limits, and it does not unpack to more.
pub(crate) fn artifact(bytes: &[u8]) -> bool {
    let Ok(contents) = umbel_artifact::check(bytes) else {
        return false;
    };
    assert!(contents.unpacked_bytes <= ARTIFACT_UNPACKED_BYTES_MAX);
    assert!(contents.file_count <= ARTIFACT_FILES_MAX);
    true
}

/// A backup is the same in whatever pieces it comes.
pub(crate) fn backup(bytes: &[u8]) -> bool {
    let whole = umbel_store::fuzzing::backup(bytes, usize::MAX);
    assert_eq!(whole, umbel_store::fuzzing::backup(bytes, 7));
    whole.is_some()
}
