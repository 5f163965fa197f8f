//! The changes of a turn as one batch of writes.

use bytes::Bytes;
use umbel_core::change::{Change, Record};
use umbel_core::histogram::BUCKETS;
use umbel_core::id::Index;
use umbel_core::limit::{
    ALIAS_RECORD_BYTES_MAX, CHUNK_INVOCATIONS_MAX, RECORD_SPAN_MAX, REDRIVE_PROGRAM_BYTES_MAX,
    ROUTE_BYTES_MAX, ROUTE_WAY_BYTES_MAX, VERSION_SPEC_BYTES_MAX,
};
use umbel_core::ranges::Ranges;
use umbel_proto::disk;

use super::scan;
use crate::key::{At, Block, Key, Whole};
use crate::{Error, VALUE_BYTES_MAX, WriteBatch};

/// The longest columns that lie within their record, in bytes. A restart reads records and no
/// columns: a job of single invocations should not make it read outputs, nor pay a key for each of
/// a few bytes.
const INLINE_COLUMNS_BYTES_MAX: usize = 512;

// A lease is one value: at worst every other index, each a pair of varints.
const _: () = assert!((CHUNK_INVOCATIONS_MAX as usize / 2) * 10 + 100 < VALUE_BYTES_MAX);

// So is a version with its spec, each variable with some bytes beside its text, and an alias.
const _: () = assert!(VERSION_SPEC_BYTES_MAX + VERSION_SPEC_BYTES_MAX / 2 < VALUE_BYTES_MAX);
const _: () = assert!(ALIAS_RECORD_BYTES_MAX < VALUE_BYTES_MAX);

// And a job's status, with the program that it was redriven to, or the route that it keeps to.
const _: () = assert!(REDRIVE_PROGRAM_BYTES_MAX + 2_048 < VALUE_BYTES_MAX);
const _: () = assert!(ROUTE_WAY_BYTES_MAX + ROUTE_WAY_BYTES_MAX / 4 < VALUE_BYTES_MAX);

// And the figures of an arm: two histograms of varints, and some numbers.
const _: () = assert!(2 * BUCKETS * 12 + 200 < VALUE_BYTES_MAX);
// And a rollout: four arms, the route that was before, and texts.
const _: () = assert!(8 * BUCKETS * 12 + ROUTE_BYTES_MAX + (8 << 10) < VALUE_BYTES_MAX);

pub(super) fn turn(number: u64, changes: &[Change]) -> Result<WriteBatch, Error> {
    let mut batch = WriteBatch::numbered(number);
    let mut n = 0;
    for change in changes {
        match change {
            Change::JobCreated(job) => {
                scan::put(&mut batch, Whole::Job(job.id), &disk::encode_job(job))?;
            }
            Change::Appended { job, block } => {
                let key = Block {
                    first: block.first,
                    appender: block.appender,
                };
                let value = disk::encode_appended(*block);
                batch.put(Key::Appended(*job, key).encode(), value)?;
                batch.delete(Key::Staged(*job, key).encode());
            }
            Change::JobStatus { job, status } => {
                batch.put(Key::Status(*job).encode(), disk::encode_status(status))?;
            }
            Change::Recorded(record) => {
                put_record(&mut batch, At { commit: number, n }, record)?;
                n += 1;
            }
            Change::Granted(lease) => {
                batch.put(Key::Lease(lease.lease).encode(), disk::encode_lease(lease))?;
            }
            Change::LeaseEnded(lease) => batch.delete(Key::Lease(*lease).encode()),
            Change::FunctionSeen(name) => {
                batch.put(Key::Function(name.clone()).encode(), Bytes::new())?;
            }
            Change::RequestKept { request_id, kept } => {
                let key = Key::Request(request_id.clone()).encode();
                batch.put(key, disk::encode_request(*kept))?;
            }
            Change::RequestForgotten(request_id) => {
                batch.delete(Key::Request(request_id.clone()).encode());
            }
            Change::Function(_)
            | Change::FunctionRemoved(_)
            | Change::Published(_)
            | Change::VersionRetired { .. }
            | Change::VersionRemoved(_)
            | Change::ArtifactRemoved(_)
            | Change::AliasMoved(_)
            | Change::AliasRemoved { .. }
            | Change::Rollout(_)
            | Change::RolloutRemoved { .. } => of_function(&mut batch, change)?,
            Change::ArmCell { .. } | Change::ArmMarked { .. } | Change::ArmForgotten(_) => {
                of_arm(&mut batch, change)?;
            }
            // The mark hides the job at once; what is left of it is removed step by step.
            Change::JobDeleted(job) => {
                batch.put(Key::Deleting(*job).encode(), Bytes::new())?;
                batch.delete(Key::Part(Whole::Job(*job), 0).encode());
                batch.delete(Key::Status(*job).encode());
            }
        }
    }
    Ok(batch)
}

/// What is about published functions.
fn of_function(batch: &mut WriteBatch, change: &Change) -> Result<(), Error> {
    match change {
        Change::Function(record) => {
            let value = disk::encode_function(record);
            batch.put(Key::Published(record.name.clone()).encode(), value)?;
        }
        Change::FunctionRemoved(name) => {
            batch.delete(Key::Published(name.clone()).encode());
        }
        Change::Published(version) => {
            let value = disk::encode_version(version);
            batch.put(Key::Version(version.id).encode(), value)?;
            batch.delete(Key::StagedArtifact(version.artifact.upload).encode());
        }
        Change::VersionRetired { id, at_ms } => {
            batch.put(Key::Retired(*id).encode(), disk::encode_retired(*at_ms))?;
        }
        Change::VersionRemoved(id) => {
            batch.delete(Key::Version(*id).encode());
            batch.delete(Key::Retired(*id).encode());
        }
        // Its parts are removed step by step.
        Change::ArtifactRemoved(upload) => {
            batch.put(Key::DeletingArtifact(*upload).encode(), Bytes::new())?;
        }
        Change::AliasMoved(alias) => {
            let key = Key::Alias(alias.function.clone(), alias.name.clone());
            batch.put(key.encode(), disk::encode_alias(alias))?;
        }
        Change::AliasRemoved { function, name } => {
            batch.delete(Key::Alias(function.clone(), name.clone()).encode());
        }
        Change::Rollout(rollout) => {
            let key = Key::Rollout(rollout.function.clone(), rollout.alias.clone());
            batch.put(key.encode(), disk::encode_rollout(rollout))?;
        }
        Change::RolloutRemoved { function, alias } => {
            batch.delete(Key::Rollout(function.clone(), alias.clone()).encode());
        }
        // These are of jobs and workers, and told apart before.
        Change::JobCreated(_)
        | Change::Appended { .. }
        | Change::JobStatus { .. }
        | Change::Recorded(_)
        | Change::Granted(_)
        | Change::LeaseEnded(_)
        | Change::FunctionSeen(_)
        | Change::JobDeleted(_)
        | Change::ArmCell { .. }
        | Change::ArmMarked { .. }
        | Change::ArmForgotten(_)
        | Change::RequestKept { .. }
        | Change::RequestForgotten(_) => {}
    }
    Ok(())
}

/// What came of arms.
fn of_arm(batch: &mut WriteBatch, change: &Change) -> Result<(), Error> {
    match change {
        Change::ArmCell {
            arm,
            begin_ms,
            figures,
        } => {
            let key = Key::ArmCell(*arm, *begin_ms).encode();
            match figures {
                Some(figures) => batch.put(key, disk::encode_arm_cell(figures))?,
                None => batch.delete(key),
            }
        }
        Change::ArmMarked {
            arm,
            at_ms,
            figures,
        } => {
            let key = Key::ArmMark(*arm).encode();
            batch.put(key, disk::encode_arm_mark(*at_ms, figures))?;
        }
        Change::ArmForgotten(arm) => batch.delete(Key::ArmMark(*arm).encode()),
        // Nothing else is about arms.
        _ => {}
    }
    Ok(())
}

fn put_record(batch: &mut WriteBatch, at: At, record: &Record) -> Result<(), Error> {
    let columns = if record.columns.len() <= INLINE_COLUMNS_BYTES_MAX {
        disk::Columns::Inline
    } else {
        scan::put(batch, Whole::Columns(record.job, at), &record.columns)?;
        disk::Columns::Parts(scan::count(record.columns.len()))
    };
    let log_parts = if record.logs.is_empty() {
        0
    } else {
        scan::put(batch, Whole::Logs(record.job, at), &record.logs)?;
        scan::count(record.logs.len())
    };
    scan::put(
        batch,
        Whole::Record(record.job, at),
        &disk::encode_record(record, columns, log_parts),
    )?;
    for (first, last) in pointers(record) {
        let value = Bytes::copy_from_slice(&last.to_be_bytes());
        batch.put(Key::ByIndex(record.job, first, at).encode(), value)?;
    }
    Ok(())
}

/// The first and last indices under which a record is found.
pub(crate) fn pointers(record: &Record) -> Vec<(Index, Index)> {
    extents(&shown(record))
}

/// The indices for which a reader has to look at the record: its final outcomes, and what a redrive
/// made wait again, since that hides an earlier outcome.
fn shown(record: &Record) -> Ranges {
    let mut shown = record.succeeded.clone();
    if !record.failed.is_empty() {
        let mut failed = Ranges::new();
        for failure in &record.failed {
            failed.insert(failure.index);
        }
        shown = shown.union(&failed);
    }
    if !record.cancelled.is_empty() {
        shown = shown.union(&record.cancelled);
    }
    if record.redrive > 0 {
        for waiting in &record.waiting {
            shown = shown.union(&waiting.indices);
        }
    }
    shown
}

/// First and last indices that cover `ranges`, no two of a pair [`RECORD_SPAN_MAX`] or more apart:
/// so far back a reader looks for what concerns an index. Only a cancel needs more than one pair.
fn extents(ranges: &Ranges) -> Vec<(Index, Index)> {
    let mut extents: Vec<(Index, Index)> = Vec::new();
    for run in ranges.runs() {
        let mut begin = run.start;
        while begin < run.end {
            match extents.last_mut() {
                Some((first, last)) if begin - *first < RECORD_SPAN_MAX => {
                    *last = (run.end - 1).min(*first + (RECORD_SPAN_MAX - 1));
                    begin = *last + 1;
                }
                _ => extents.push((begin, begin)),
            }
        }
    }
    extents
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_cover_what_they_should_and_are_never_too_long() {
        let mut ranges = Ranges::one(5..10);
        ranges.push(20..30);
        assert_eq!(extents(&ranges), [(5, 29)]);
        ranges.push(RECORD_SPAN_MAX + 4..RECORD_SPAN_MAX + 8);
        let far = RECORD_SPAN_MAX + 5;
        assert_eq!(extents(&ranges), [(5, far - 1), (far, far + 2)]);
        let wide = Ranges::one(1..1 + 3 * RECORD_SPAN_MAX);
        let expected: Vec<_> = (0..3)
            .map(|i| (1 + i * RECORD_SPAN_MAX, (i + 1) * RECORD_SPAN_MAX))
            .collect();
        assert_eq!(extents(&wide), expected);
        assert_eq!(extents(&Ranges::new()), []);
    }
}
