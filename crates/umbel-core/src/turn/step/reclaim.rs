//! What an earlier epoch leased stops being held back.

use super::Out;
use crate::change::Change;
use crate::command::Command;
use crate::id::WorkerId;
use crate::tables::Tables;

/// A worker has returned: what was held back for it waits like the rest.
pub(crate) fn release(t: &mut Tables, out: &mut Out, worker: WorkerId) {
    for id in t.reclaim.jobs.remove(&worker).unwrap_or_default() {
        let job = t.jobs.find_mut(id);
        if let Some(running) = job.and_then(|job| job.running.as_mut()) {
            running.backlog.release(Some(worker));
        }
        t.touch(id);
        t.marks.recall = true;
    }
    for lease in t.reclaim.leases.remove(&worker).unwrap_or_default() {
        out.push(Command::Persist(Change::LeaseEnded(lease)));
    }
}

/// The workers that have not returned in time lose what was held back for them.
pub(crate) fn release_all(t: &mut Tables, out: &mut Out) {
    let workers: Vec<WorkerId> = t.reclaim.leases.keys().copied().collect();
    for worker in workers {
        release(t, out, worker);
    }
    t.reclaim.until_ms = None;
}
