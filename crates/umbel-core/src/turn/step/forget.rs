//! An ended job is forgotten.

use super::Out;
use crate::change::{Change, KeptRequest};
use crate::command::Command;
use crate::id::JobId;
use crate::limit;
use crate::tables::Tables;

/// Forgets a job at once; the store removes what it left step by step. Its request id is known
/// for as long as was promised, so that a late repeat does not run it again.
pub(crate) fn forget(t: &mut Tables, out: &mut Out, id: JobId) {
    let Some(job) = t.jobs.remove(id) else { return };
    t.marks
        .spent
        .extend(job.target().function().map(str::to_owned));
    out.push(Command::Persist(Change::JobDeleted(id)));
    t.marks.shown.insert(id);
    let request_id = job.record.request_id.clone();
    let until_ms = job
        .record
        .created_ms
        .saturating_add(limit::REQUEST_ID_KEPT_MS);
    if request_id.is_empty() || until_ms <= t.clock.wall_ms() {
        return;
    }
    let kept = KeptRequest { job: id, until_ms };
    t.requests.keep(request_id.clone(), kept);
    out.push(Command::Persist(Change::RequestKept { request_id, kept }));
}
