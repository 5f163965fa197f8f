//! Sessions end and workers go.

use super::Out;
use crate::command::{Command, Note, Refusal};
use crate::id::{SessionId, WorkerId};
use crate::tables::Tables;

/// A worker's session has ended. It may return for a while, unless it was leaving
/// and holds nothing.
pub(crate) fn part(t: &mut Tables, out: &mut Out, id: WorkerId) {
    let until_ms = t.clock.engine_ms() + t.config.reconnect_grace_ms;
    t.roster.part(id, until_ms);
    stop_feeding(t, id);
    let Some(worker) = t.roster.find(id) else {
        return;
    };
    let holds = t.leases.of_worker(id).len() + t.invokes.count_of(id) > 0;
    if worker.draining && !holds {
        let name = worker.name.clone();
        forget(t, id);
        out.push(Command::Note(Note::WorkerLeft { name }));
        return;
    }
    t.alarms.workers.set(id, Some(until_ms));
}

/// A session did what it may not do.
pub(crate) fn close(
    t: &mut Tables,
    out: &mut Out,
    session: SessionId,
    worker: WorkerId,
    refusal: Refusal,
) {
    out.push(Command::Close { session, refusal });
    part(t, out, worker);
}

/// A worker gets nothing new.
pub(crate) fn stop_feeding(t: &mut Tables, id: WorkerId) {
    for job in t.demands.leave(id) {
        t.touch(job);
    }
    t.reserved.remove(&id);
}

/// A worker is gone. It must hold nothing.
pub(crate) fn forget(t: &mut Tables, id: WorkerId) {
    stop_feeding(t, id);
    if let Some(worker) = t.roster.remove(id) {
        for function in &worker.functions {
            t.registry.went(function);
        }
    }
    t.alarms.workers.set(id, None);
}
