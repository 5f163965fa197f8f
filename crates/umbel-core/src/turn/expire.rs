//! What becomes due by time alone.

use super::step::{Out, end, lose, reclaim, record, refresh, route};
use crate::change::Change;
use crate::command::{Command, Refusal};
use crate::function::VersionId;
use crate::id::{JobId, WorkerId};
use crate::job::{JobFailureKind, JobState};
use crate::limit;
use crate::outcome::{Failure, FailureKind};
use crate::tables::Tables;
use crate::tables::demands::Demand;

/// Workers looked at in one turn: each may take a thousand leases along.
const WORKERS_MAX: usize = 256;

pub(crate) fn expire(t: &mut Tables, out: &mut Out) {
    let engine_ms = t.clock.engine_ms();
    for lease in std::mem::take(&mut t.reclaim.void) {
        out.push(Command::Persist(Change::LeaseEnded(lease)));
    }
    if t.reclaim.until_ms.is_some_and(|until| until <= engine_ms) {
        reclaim::release_all(t, out);
    }
    let mut left = WORKERS_MAX;
    while left > 0
        && let Some(worker) = t.alarms.workers.pop_due(engine_ms)
    {
        look_at_worker(t, out, worker);
        left -= 1;
    }
    let wall_ms = t.clock.wall_ms();
    let mut left = limit::TURN_EVENTS_MAX;
    while left > 0
        && let Some(job) = t.alarms.walls.pop_due(wall_ms)
    {
        look_at_deadline(t, out, job);
        left -= 1;
    }
    let mut left = limit::TURN_EVENTS_MAX;
    while left > 0
        && let Some(job) = t.alarms.jobs.pop_due(engine_ms)
    {
        look_at_job(t, out, job);
        left -= 1;
    }
    // What a bound cut off is still due, and so the next turn is.
    let due = [t.alarms.workers.next(), t.alarms.jobs.next()];
    t.marks.more |= due.into_iter().flatten().any(|due| due <= engine_ms);
    t.marks.more |= t.alarms.walls.next().is_some_and(|due| due <= wall_ms);
}

/// Alarms of live sessions are set once and looked at when they go off, so that
/// hearing a worker costs next to nothing.
fn look_at_worker(t: &mut Tables, out: &mut Out, id: WorkerId) {
    let engine_ms = t.clock.engine_ms();
    let Some(worker) = t.roster.find(id) else {
        return;
    };
    let (due_ms, session) = match worker.session {
        None => (worker.away_until_ms, None),
        Some(session) => {
            let until_ms = worker.heard_ms.saturating_add(t.config.lease_timeout_ms);
            (until_ms, Some(session))
        }
    };
    if due_ms > engine_ms {
        t.alarms.workers.set(id, Some(due_ms));
        return;
    }
    if let Some(session) = session {
        let silent_ms = engine_ms.saturating_sub(worker.heard_ms);
        let refusal = Refusal::SessionSilent { silent_ms };
        out.push(Command::Close { session, refusal });
    }
    lose::lose(t, out, id);
}

fn look_at_deadline(t: &mut Tables, out: &mut Out, id: JobId) {
    let deadline = t.jobs.find(id).and_then(|job| job.deadline_ms());
    if deadline.is_some_and(|deadline| deadline <= t.clock.wall_ms()) {
        let message = "the job's deadline passed before all its invocations had ended".to_owned();
        end::fail(t, out, id, JobFailureKind::Deadline, message);
    } else {
        refresh::job(t, id);
    }
}

fn look_at_job(t: &mut Tables, out: &mut Out, id: JobId) {
    refresh::job(t, id);
    let engine_ms = t.clock.engine_ms();
    let Some(job) = t.jobs.find(id) else { return };
    let Some(running) = &job.running else { return };
    let idle_ms = running
        .appended_ms
        .saturating_add(t.config.upload_idle_timeout_ms);
    if job.status.sealed.is_none() && !job.is_of_copies() && idle_ms <= engine_ms {
        return end::end(t, out, id, JobState::Cancelled, None);
    }
    let since = running.unable_since_ms;
    let timeout = job.record.spec.policy.place_timeout_ms;
    if let Some((since, timeout)) = since.zip(timeout)
        && since.saturating_add(timeout) <= engine_ms
    {
        // The rest follows in the next turn, which sets the alarm again.
        t.alarms.jobs.set(id, None);
        reject_some(t, out, id, timeout);
    }
}

/// Ends what nobody could run in time, a chunk a turn: a job may have millions.
fn reject_some(t: &mut Tables, out: &mut Out, id: JobId, timeout_ms: u64) {
    let Some((demand, versions)) = nobody_runs(t, id) else {
        return;
    };
    let needs = demand.in_words();
    let Some(running) = t.jobs.find_mut(id).and_then(|job| job.running.as_mut()) else {
        return;
    };
    let backlog = &mut running.backlog;
    let lost = |version: Option<VersionId>| match &versions {
        None => true,
        Some(versions) => version.is_some_and(|id| versions.contains(&id)),
    };
    let mut cut = backlog.cut(limit::CHUNK_INVOCATIONS_MAX, u64::MAX, &lost);
    if cut.is_none() && versions.is_none() {
        // Nothing is sorted for workers that are not there.
        cut = backlog.cut_fresh(limit::CHUNK_INVOCATIONS_MAX);
    }
    let Some(cut) = cut.or_else(|| backlog.cut_lone(&lost)) else {
        return;
    };
    let failure = Failure {
        kind: FailureKind::Rejected,
        error_type: "NoAbleWorker".to_owned(),
        message: format!(
            "no worker with {needs} took work for {timeout_ms} ms; start one, or allow a \
             longer place timeout"
        ),
        stderr: String::new(),
    };
    record::reject(t, out, id, &cut.indices, cut.wait.history, &failure);
    end::settle(t, out, id);
    t.marks.more = true;
}

/// What is needed that no worker has, and of which versions something waits that needs it; none:
/// all of the job does.
fn nobody_runs(t: &Tables, id: JobId) -> Option<(Demand, Option<Vec<VersionId>>)> {
    let running = t.jobs.find(id)?.running.as_ref()?;
    let demand = t.demands.demand(running.group)?;
    if t.demands.able_len(running.group).0 == 0 {
        return Some((demand.clone(), None));
    }
    let stranded = route::stranded(t, running);
    let demand = demand.narrowed(route::runtimes_of(t, &stranded));
    let versions = stranded.into_iter().map(|(id, _)| id).collect();
    Some((demand, Some(versions)))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Env;
    use super::*;

    #[test]
    fn a_deadline_ends_what_waits_and_what_is_leased_and_outlives_a_restart() {
        let mut env = Env::new();
        env.worker("a", 4);
        let job = env.submit(100, |proposal| {
            proposal.spec.policy.deadline_ms = Some(5_000);
        });
        env.report_all("a");
        env.restart();
        env.advance(4_900);
        assert_eq!(env.state(job), JobState::Running);
        env.advance(100);
        let view = env.view(job);
        assert_eq!(view.status.state, JobState::Failed);
        assert_eq!(view.status.failure.unwrap().kind, JobFailureKind::Deadline);
        assert_eq!((view.counts.succeeded, view.counts.cancelled), (4, 96));
    }

    #[test]
    fn work_that_nobody_can_run_is_rejected_after_its_place_timeout() {
        let mut env = Env::new();
        env.worker("a", 4);
        let job = env.submit(10_000, |proposal| {
            let policy = &mut proposal.spec.policy;
            policy.place_timeout_ms = Some(3_000);
            policy.require.insert("disk".to_owned(), "ssd".to_owned());
        });
        env.advance(2_000);
        env.worker_with("b", 1, |worker| {
            worker.labels.insert("disk".to_owned(), "ssd".to_owned());
        });
        env.report_all("b");
        env.kill("b");
        env.advance(1_500);
        assert_eq!(env.state(job), JobState::Running, "the time begins anew");
        env.advance(1_500);
        let view = env.view(job);
        assert_eq!(view.status.state, JobState::Failed);
        assert!(view.counts.failed >= 9_000, "{:?}", view.counts);
        assert_eq!(view.counts.cancelled, 0);
    }

    #[test]
    fn the_machine_says_when_it_wants_a_turn() {
        let mut env = Env::new();
        assert_eq!(env.machine.next_wake(), None);
        env.submit(1, |proposal| proposal.spec.policy.deadline_ms = Some(9_000));
        assert_eq!(env.machine.next_wake(), Some(env.now.mono_ms + 9_000));
        env.worker("a", 1);
        let wake = env.machine.next_wake().unwrap();
        assert!(wake <= env.now.mono_ms + limit::TURN_GAP_MAX_MS);
    }
}
