//! A worker is lost: what it held and did not report waits again, under
//! suspicion of having taken the worker down.

use super::{Out, end, lease, part, record};
use crate::change::{Change, FailedRecord, WaitingRecord};
use crate::command::{Command, Note, Refusal, Reply};
use crate::history::History;
use crate::id::{JobId, LeaseId, WorkerId};
use crate::job::Usage;
use crate::limit;
use crate::outcome::{Failure, FailureKind};
use crate::ranges::Ranges;
use crate::tables::Tables;
use crate::tables::leases::Lease;

/// Voids all that a worker held and forgets it.
pub(crate) fn lose(t: &mut Tables, out: &mut Out, id: WorkerId) {
    let Some(worker) = t.roster.find(id) else {
        return;
    };
    let name = worker.name.clone();
    let invokes = t.invokes.of_worker(id);
    let side = t.leases.of_worker(id);
    let invocations = side.open;
    let alone = side.open == 1 && side.lone == 1 && invokes.is_empty();
    for lease in t.leases.ids_of_worker(id) {
        out.push(Command::Note(Note::LeaseExpired { lease }));
        suspect(t, out, lease, &name, alone);
    }
    for invoke in invokes {
        let Some(entry) = t.invokes.remove(invoke) else {
            continue;
        };
        t.alarms.invokes.set(invoke, None);
        let worker = name.clone();
        let reply = Reply::Refused(Refusal::InvokeLost { worker });
        super::reply(out, entry.reply, reply);
    }
    part::forget(t, id);
    out.push(Command::Note(if invocations > 0 {
        Note::WorkerLost { name, invocations }
    } else {
        Note::WorkerLeft { name }
    }));
}

/// What of a lease was not reported waits again as suspects.
fn suspect(t: &mut Tables, out: &mut Out, id: LeaseId, worker: &str, alone: bool) {
    let Some(lost) = t.leases.remove(id) else {
        return;
    };
    out.push(Command::Persist(Change::LeaseEnded(id)));
    let count = lost.open.len();
    let charge = lease::charge_us(&lost, count);
    let job = t.jobs.find_mut(lost.job);
    if let Some(running) = job.and_then(|job| job.running.as_mut()) {
        running.had_us = running.had_us.saturating_sub(charge);
    }
    // Alone there is no doubt which one it was, however far it had come.
    let begun = if alone {
        lost.open.clone()
    } else {
        lost.begun_open()
    };
    let unbegun = lost.open.minus(&begun);
    let spared = History {
        suspect_chunk: next_chunk(lost.history, count),
        ..lost.history
    };
    let blamed = History {
        lost: spared.lost.saturating_add(1),
        lost_alone: spared.lost_alone.saturating_add(u8::from(alone)),
        ..spared
    };
    let mut record = record::empty(t, lost.job);
    record.usage = Usage {
        attempts: begun.len(),
        ..Usage::default()
    };
    if blamed.lost_alone >= limit::CRASH_LIMIT {
        crash(out, &mut record.failed, &lost, blamed, worker);
    } else {
        wait(&mut record.waiting, begun, blamed);
    }
    wait(&mut record.waiting, unbegun, spared);
    record::commit(t, out, record);
    end::settle(t, out, lost.job);
}

/// The size of the chunk in which suspects travel next.
fn next_chunk(history: History, unreported: u64) -> u32 {
    let size = u32::try_from(unreported).unwrap_or(u32::MAX);
    let size = match history.suspect_chunk {
        0 => size,
        chunk => size.min(chunk),
    };
    (size / 2).max(1)
}

fn wait(waiting: &mut Vec<WaitingRecord>, indices: Ranges, history: History) {
    if !indices.is_empty() {
        waiting.push(WaitingRecord {
            indices,
            history,
            due_ms: 0,
        });
    }
}

/// An invocation has met the crash limit.
fn crash(
    out: &mut Out,
    failed: &mut Vec<FailedRecord>,
    lost: &Lease,
    history: History,
    worker: &str,
) {
    let job: JobId = lost.job;
    for index in lost.open.indices() {
        out.push(Command::Note(Note::CrashLimit { job, index }));
        failed.push(FailedRecord {
            index,
            failure: Failure {
                kind: FailureKind::Crashed,
                error_type: "CrashLimit".to_owned(),
                message: format!(
                    "{} workers were lost while each ran this invocation alone, the last was \
                     {worker:?}; the limit is {}",
                    history.lost_alone,
                    limit::CRASH_LIMIT
                ),
                stderr: String::new(),
            },
            attempts: history.attempts(),
            started_at_us: 0,
            duration_us: 0,
            cpu_us: None,
        });
    }
}
