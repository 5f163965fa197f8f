//! Granting, and taking what was granted back into the backlog.

use super::{Out, arm, record, refresh, rollout};
use crate::change::{Change, LeaseRecord, WaitingRecord};
use crate::command::Command;
use crate::function::VersionId;
use crate::history::History;
use crate::id::{JobId, LeaseId, SessionId, WorkerId};
use crate::job::{Source, Target};
use crate::message::{Grant, GrantHead, GrantInputs, ToWorker};
use crate::ranges::Ranges;
use crate::tables::Tables;
use crate::tables::backlog::Wait;
use crate::tables::leases::Lease;

/// What an unmeasured invocation is charged, in microseconds of slot time, until
/// a report says what it used.
const UNMEASURED_CHARGE_US: u64 = 1_000;

/// The slot time that the invocations of a lease were charged when it was granted.
pub(crate) fn charge_us(lease: &Lease, count: u64) -> u64 {
    let each = lease.run_us.unwrap_or(UNMEASURED_CHARGE_US);
    each.saturating_mul(count)
}

/// Promises invocations to a worker, with the history that they waited with, and the one that they
/// are granted under. They must be out of the backlog.
pub(crate) fn promise(
    t: &mut Tables,
    out: &mut Out,
    (worker, job_id, slots): (WorkerId, JobId, u32),
    indices: &Ranges,
    (waited, history): (History, History),
) -> Option<LeaseId> {
    let wall_ms = t.clock.wall_ms();
    let job = t.jobs.find_mut(job_id)?;
    let bounded = job.slot_limit().is_some();
    let running = job.running.as_mut()?;
    let lease = Lease {
        worker,
        job: job_id,
        group: running.group,
        granted: indices.clone(),
        open: indices.clone(),
        begun: None,
        history,
        waited,
        slots,
        load_us: running.pace.load_us(),
        run_us: running.pace.run_us(),
        stays: history.is_lone_suspect() || bounded,
        asked: false,
        spent: false,
    };
    let charge = charge_us(&lease, indices.len());
    running.had_us = running.had_us.saturating_add(charge);
    running.versions.extend(history.version);
    if job.status.started_ms.is_none() {
        job.status.started_ms = Some(wall_ms);
        let status = job.status.clone();
        let change = Change::JobStatus {
            job: job_id,
            status,
        };
        out.push(Command::Persist(change));
        t.show(job_id);
    }
    let lease = t.leases.grant(lease);
    out.push(Command::Persist(Change::Granted(LeaseRecord {
        lease,
        worker,
        job: job_id,
        indices: indices.clone(),
        version: history.version,
        arm: history.arm,
    })));
    refresh::job(t, job_id);
    refresh::worker(t, worker);
    Some(lease)
}

/// Sends a worker what it was promised.
pub(crate) fn send(t: &mut Tables, out: &mut Out, id: LeaseId) {
    let Some(lease) = t.leases.find(id) else {
        return;
    };
    let (worker, version) = (lease.worker, lease.history.version);
    let Some(session) = t.roster.find(worker).and_then(|worker| worker.session) else {
        return;
    };
    let Some(job) = t.jobs.find(lease.job) else {
        return;
    };
    let Some(running) = &job.running else { return };
    let spec = &job.record.spec;
    let head = GrantHead {
        lease: id,
        job: lease.job,
        target: target(t, job.target(), version),
        version,
        arm: lease.history.arm,
        indices: lease.granted.clone(),
        attempt: lease.history.next_attempt(),
        timeout_ms: timeout_ms(t, spec.policy.timeout_ms, version),
        slots: lease.slots,
        log_basis_points: spec.policy.log_basis_points,
    };
    let inputs = match job.record.source {
        Source::Range { begin, .. } => GrantInputs::Range { begin },
        Source::Blocks => GrantInputs::Blocks(running.blocks_of(&lease.granted)),
    };
    let message = ToWorker::Grant(Grant { head, inputs });
    tell(t, out, (worker, session), version);
    out.push(Command::Send { session, message });
}

/// What a worker calls what it runs: the version is named apart, and its function need not be
/// the one that was asked for.
pub(crate) fn target(t: &Tables, asked: &Target, version: Option<VersionId>) -> Target {
    if let Some(version) = version.and_then(|id| t.functions.version(id)) {
        return Target::Function(version.function.clone());
    }
    match asked {
        Target::Version(name, _) => Target::Function(name.clone()),
        Target::Function(_) | Target::Program(_) => asked.clone(),
    }
}

/// The shorter of what the job and the version allow.
fn timeout_ms(t: &Tables, job_ms: Option<u64>, version: Option<VersionId>) -> Option<u64> {
    let version = version.and_then(|id| t.functions.version(id));
    let version_ms = version.and_then(|version| version.spec.timeout_ms);
    [job_ms, version_ms].into_iter().flatten().min()
}

/// Tells a worker what a version is, ahead of its first work for it in this session.
pub(crate) fn tell(
    t: &mut Tables,
    out: &mut Out,
    (worker, session): (WorkerId, SessionId),
    version: Option<VersionId>,
) {
    let version = version.and_then(|id| t.functions.version(id));
    if let Some(version) = version.filter(|version| t.roster.tell(worker, version.id)) {
        let message = ToWorker::Version(version.clone());
        out.push(Command::Send { session, message });
    }
}

/// What of a lease was never run waits again, with nothing added to its history.
pub(crate) fn give_back(t: &mut Tables, out: &mut Out, id: LeaseId, unrun: &Ranges) {
    let Some(lease) = t.leases.find(id) else {
        return;
    };
    let (worker, job_id) = (lease.worker, lease.job);
    let moved = rollout::moved(t, lease.waited);
    let history = lease.waited.unrun();
    let dealt = lease.history.arm.filter(|_| history == History::FRESH);
    let charge = charge_us(lease, unrun.len());
    if t.leases.close(id, &Ranges::new(), unrun) {
        out.push(Command::Persist(Change::LeaseEnded(id)));
    }
    let job = t.jobs.find_mut(job_id);
    if let Some(running) = job.and_then(|job| job.running.as_mut()) {
        running.had_us = running.had_us.saturating_sub(charge);
        if moved.is_none() {
            running.backlog.put(unrun, Wait { due_ms: 0, history });
        }
    }
    if let Some(history) = moved.filter(|_| !unrun.is_empty()) {
        let mut record = record::empty(t, job_id);
        record.waiting.push(WaitingRecord {
            indices: unrun.clone(),
            history,
            due_ms: 0,
        });
        record::commit(t, out, record);
    }
    arm::came_back(t, job_id, dealt, unrun.len());
    t.marks.workers.insert(worker);
    t.touch(job_id);
}
