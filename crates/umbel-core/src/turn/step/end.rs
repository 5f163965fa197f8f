//! The end of a job.

use std::collections::BTreeMap;

use super::{Out, record, route};
use crate::change::{Change, Summary};
use crate::command::{Command, Note};
use crate::id::{JobId, LeaseId, SessionId};
use crate::job::{JobFailure, JobFailureKind, JobState};
use crate::message::ToWorker;
use crate::ranges::Ranges;
use crate::tables::Tables;

/// Ends a job if its figures say so.
pub(crate) fn settle(t: &mut Tables, out: &mut Out, id: JobId) {
    let Some(job) = t.jobs.find(id) else { return };
    let Some(running) = &job.running else { return };
    let policy = &job.record.spec.policy;
    let succeeded = running.succeeded.len();
    if let Some(enough) = policy.enough
        && job.status.sealed.is_some()
        && succeeded >= enough
    {
        return end(t, out, id, JobState::Succeeded, None);
    }
    // What failed before a redrive, and was left out of it, does not end it early.
    let tolerated = job.tolerated();
    if let Some(tolerated) = tolerated
        && running.failed_now > tolerated
    {
        let message = beyond(running.failed_now, tolerated);
        return fail(t, out, id, JobFailureKind::Tolerance, message);
    }
    let (failed, total) = (running.failed.len(), running.final_len());
    if job.status.sealed.map(u64::from) != Some(total) {
        return;
    }
    if let Some(tolerated) = tolerated
        && failed > tolerated
    {
        let message = beyond(failed, tolerated);
        return fail(t, out, id, JobFailureKind::Tolerance, message);
    }
    if let Some(enough) = policy.enough {
        let message = format!("{succeeded} of {total} invocations succeeded, fewer than {enough}");
        return fail(t, out, id, JobFailureKind::Invocations, message);
    }
    if failed > 0 && policy.tolerate.is_none() {
        let message = format!("{failed} of {total} invocations failed");
        return fail(t, out, id, JobFailureKind::Invocations, message);
    }
    // What a redrive left out was not run: the job is no success, and may be redriven again.
    let state = if running.cancelled.is_empty() {
        JobState::Succeeded
    } else {
        JobState::Cancelled
    };
    end(t, out, id, state, None);
}

/// That more failed than may, in words.
fn beyond(failed: u64, tolerated: u64) -> String {
    let invocations = if failed == 1 {
        "invocation"
    } else {
        "invocations"
    };
    match tolerated {
        0 => format!("{failed} {invocations} failed, and none is tolerated"),
        _ => format!("{failed} {invocations} failed, more than the {tolerated} tolerated"),
    }
}

/// Ends a job as failed.
pub(crate) fn fail(
    t: &mut Tables,
    out: &mut Out,
    id: JobId,
    kind: JobFailureKind,
    message: String,
) {
    let failure = JobFailure { kind, message };
    end(t, out, id, JobState::Failed, Some(failure));
}

/// Ends a job: whatever is not final becomes cancelled in the same commit.
pub(crate) fn end(
    t: &mut Tables,
    out: &mut Out,
    id: JobId,
    state: JobState,
    failure: Option<JobFailure>,
) {
    revoke(t, out, id);
    let wall_ms = t.clock.wall_ms();
    let mut record = record::empty(t, id);
    let Some(job) = t.jobs.find_mut(id) else {
        return;
    };
    let Some(running) = &job.running else { return };
    let cancelled: Ranges = running.not_final();
    let mut summary: Summary = job.summary(0);
    summary.counts.waiting = 0;
    summary.counts.cancelled += cancelled.len();
    let (group, versions) = (running.group, running.versions.clone());
    job.status.state = state;
    job.status.failure = failure;
    job.status.finished_ms = Some(wall_ms);
    job.status.summary = Some(summary);
    let status = job.status.clone();
    if !cancelled.is_empty() {
        record.cancelled = cancelled;
        out.push(Command::Persist(Change::Recorded(Box::new(record))));
    }
    out.push(Command::Persist(Change::JobStatus { job: id, status }));
    out.push(Command::Note(Note::JobEnded { job: id, state }));
    let job = t.jobs.find(id);
    let meant = job.and_then(|job| route::meant(t, job));
    let routing = job.and_then(|job| route::routing(t, job)).cloned();
    t.jobs.stop(id);
    let led = routing.iter().flat_map(|routing| routing.versions());
    for version in versions.into_iter().chain(meant).chain(led) {
        t.release(version);
    }
    t.demands.part(group, id);
    t.alarms.jobs.set(id, None);
    t.alarms.walls.set(id, None);
    t.show(id);
}

/// Ends a job's leases and tells their workers to stop.
fn revoke(t: &mut Tables, out: &mut Out, id: JobId) {
    let mut revoked: BTreeMap<SessionId, Vec<LeaseId>> = BTreeMap::new();
    for lease_id in t.leases.ids_of_job(id) {
        let Some(lease) = t.leases.remove(lease_id) else {
            continue;
        };
        out.push(Command::Persist(Change::LeaseEnded(lease_id)));
        t.marks.workers.insert(lease.worker);
        let worker = t.roster.find(lease.worker);
        if let Some(session) = worker.and_then(|worker| worker.session) {
            revoked.entry(session).or_default().push(lease_id);
        }
    }
    for (session, leases) in revoked {
        let message = ToWorker::Revoke(leases);
        out.push(Command::Send { session, message });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_beyond_the_tolerated_are_counted_in_plain_words() {
        let none = "1 invocation failed, and none is tolerated";
        assert_eq!(beyond(1, 0), none);
        let more = "3 invocations failed, more than the 2 tolerated";
        assert_eq!(beyond(3, 2), more);
    }
}
