//! A worker is lost: what it held and did not report waits again, under
//! suspicion of having taken the worker down.

use super::{Out, arm, end, lease, part, record, rollout};
use crate::change::{Change, FailedRecord, Record, WaitingRecord};
use crate::command::{Command, Note, Refusal, Reply};
use crate::history::History;
use crate::id::{JobId, LeaseId, WorkerId};
use crate::job::Usage;
use crate::limit;
use crate::outcome::{Failure, FailureKind, WORKER_LOST};
use crate::ranges::Ranges;
use crate::route::ArmId;
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
        // What one lease lost may have ended the job, and its other leases with it.
        if t.leases.find(lease).is_none() {
            continue;
        }
        out.push(Command::Note(Note::LeaseExpired { lease }));
        suspect(t, out, lease, &name, alone);
    }
    lose_invokes(t, out, id, &name);
    part::forget(t, id);
    out.push(Command::Note(if invocations > 0 {
        Note::WorkerLost { name, invocations }
    } else {
        Note::WorkerLeft { name }
    }));
}

/// Tells who waits for what a worker ran that it never comes: an outcome belongs to
/// the session in which it was asked for.
pub(crate) fn lose_invokes(t: &mut Tables, out: &mut Out, id: WorkerId, name: &str) {
    for invoke in t.invokes.of_worker(id) {
        let Some(entry) = t.invokes.remove(invoke) else {
            continue;
        };
        t.alarms.invokes.set(invoke, None);
        if let Some(version) = entry.version {
            t.release(version);
        }
        arm::invoke_lost(t, entry.arm);
        let worker = name.to_owned();
        let reply = Reply::Refused(Refusal::InvokeLost { worker });
        super::reply(out, entry.reply, reply);
    }
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
    record::ran(t, &mut record, lost.history);
    record.usage = Usage {
        attempts: begun.len(),
        ..Usage::default()
    };
    let policy = t.jobs.find(lost.job).map(|job| &job.record.spec.policy);
    if blamed.lost_alone >= limit::CRASH_LIMIT {
        crash(out, &mut record.failed, &lost, blamed, worker);
    } else if policy.is_some_and(|policy| !policy.retries(FailureKind::Lost, WORKER_LOST)) {
        let failure = Failure {
            kind: FailureKind::Lost,
            error_type: WORKER_LOST.to_owned(),
            message: format!(
                "worker {worker:?} was lost while it ran the invocation, and its job does not try \
                 again what was lost"
            ),
            stderr: String::new(),
        };
        record.failed = record::unreported(&begun, &failure, blamed);
    } else {
        wait(&mut record.waiting, begun, blamed);
    }
    wait(&mut record.waiting, unbegun, spared);
    let exhausted = take_refuge(t, &mut record, lost.history.arm);
    record::commit(t, out, record);
    if let Some((failure, count)) = exhausted {
        rollout::exhausted(t, lost.history.arm, &failure, count);
    }
    end::settle(t, out, lost.job);
}

/// What would be final on the new version of a rollout runs on the old one, and so does all else
/// that was lost there once the new version was taken back. Tells what counts against it.
fn take_refuge(t: &Tables, record: &mut Record, arm: Option<ArmId>) -> Option<(Failure, u64)> {
    let refuge = rollout::refuge(t, arm)?;
    if refuge.at_once {
        for waiting in &mut record.waiting {
            // It may be the input that its workers are lost by.
            let suspect_chunk = waiting.history.suspect_chunk;
            waiting.history = History {
                suspect_chunk,
                ..refuge.history
            };
        }
    }
    let failed = std::mem::take(&mut record.failed);
    let count = failed.len() as u64;
    let indices: Ranges = failed.iter().map(|one| one.index..one.index + 1).collect();
    let history = History {
        suspect_chunk: 1,
        ..refuge.history
    };
    wait(&mut record.waiting, indices, history);
    failed.into_iter().next().map(|one| (one.failure, count))
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
    ended: &mut Vec<FailedRecord>,
    lost: &Lease,
    history: History,
    worker: &str,
) {
    let job: JobId = lost.job;
    for index in lost.open.indices() {
        out.push(Command::Note(Note::CrashLimit { job, index }));
    }
    let failure = Failure {
        kind: FailureKind::Crashed,
        error_type: "CrashLimit".to_owned(),
        message: format!(
            "{} workers were lost while each ran this invocation alone, the last was {worker:?}; \
             the limit is {}",
            history.lost_alone,
            limit::CRASH_LIMIT
        ),
        stderr: String::new(),
    };
    *ended = record::unreported(&lost.open, &failure, history);
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Env, run};
    use super::*;
    use crate::job::JobState;
    use crate::message::{Begun, FromWorker};
    use crate::policy::Tolerance;
    use crate::view::InvocationView;

    fn history(env: &Env, job: JobId, index: u32) -> History {
        match env.machine.invocation(job, index).unwrap() {
            InvocationView::Waiting { history, .. } | InvocationView::Leased { history } => history,
            other => panic!("{index} has ended: {other:?}"),
        }
    }

    #[test]
    fn what_had_begun_lost_an_attempt_and_all_travel_as_suspects() {
        let mut env = Env::new();
        env.worker("a", 4);
        let job = env.submit_range(4);
        let (lease, _) = env.open("a").remove(0);
        env.report("a", lease, (run(0..1), Vec::new()), 10);
        let begun = vec![Begun { lease, count: 2 }];
        env.say("a", FromWorker::Heartbeat(begun));
        env.kill("a");
        let suspect = History {
            suspect_chunk: 1,
            ..History::FRESH
        };
        let lost = History { lost: 1, ..suspect };
        assert_eq!(history(&env, job, 1), lost, "it had begun");
        assert_eq!(history(&env, job, 2), suspect, "it had not");
        assert_eq!(env.view(job).usage.attempts, 2);
        env.worker("b", 4);
        env.work_off();
        assert_eq!(env.state(job), JobState::Succeeded);
    }

    #[test]
    fn what_is_not_to_be_tried_again_after_a_loss_fails_as_far_as_it_had_begun() {
        let mut env = Env::new();
        env.worker("a", 4);
        let job = env.submit(4, |proposal| {
            let policy = &mut proposal.spec.policy;
            policy.no_retry_on.insert("lost".to_owned());
        });
        let (lease, _) = env.open("a").remove(0);
        let begun = vec![Begun { lease, count: 2 }];
        env.say("a", FromWorker::Heartbeat(begun));
        env.kill("a");
        let counts = env.counts(job);
        assert_eq!((counts.failed, counts.waiting), (2, 2));
        env.worker("b", 4);
        env.work_off();
        let view = env.view(job);
        assert_eq!(view.status.state, JobState::Failed);
        assert_eq!((view.counts.failed, view.usage.attempts), (2, 4));
    }

    #[test]
    fn a_lease_that_ended_with_its_job_does_not_expire_too() {
        let mut env = Env::new();
        env.worker("a", 1);
        env.worker("b", 1);
        let job = env.submit(100, |proposal| {
            let policy = &mut proposal.spec.policy;
            policy.no_retry_on.insert("lost".to_owned());
            policy.tolerate = Some(Tolerance::Count(0));
        });
        // Fast work, so that a worker has a second lease while it runs the first.
        env.report_all("a");
        let leases = env.open("a");
        assert!(leases.len() > 1, "{leases:?}");
        let begun = leases.iter().map(|(lease, _)| Begun {
            lease: *lease,
            count: 1,
        });
        let begun = begun.collect();
        env.say("a", FromWorker::Heartbeat(begun));
        env.notes.clear();
        env.kill("a");
        assert_eq!(env.state(job), JobState::Failed);
        let expired = |note: &&Note| matches!(note, Note::LeaseExpired { .. });
        assert_eq!(env.notes.iter().filter(expired).count(), 1);
    }

    #[test]
    fn one_poison_input_fails_alone() {
        let mut env = Env::new();
        let job = env.submit_range(1_000);
        for life in 0..100 {
            let name = format!("w{life}");
            env.worker(&name, 4);
            loop {
                let open = env.open(&name);
                let all_open = open.iter().all(|(_, open)| !open.contains(666));
                if open.is_empty() || !all_open {
                    break;
                }
                env.report_all(&name);
            }
            if env.state(job) != JobState::Running {
                let counts = env.counts(job);
                assert_eq!((counts.succeeded, counts.failed), (999, 1));
                assert_eq!(env.disk.ended[&(job, 666)], "failed");
                assert!(life >= 3, "alone three times at the least");
                return;
            }
            env.kill(&name);
        }
        panic!("the poison is never found: {:?}", env.counts(job));
    }

    #[test]
    fn a_suspect_that_runs_to_its_end_is_none_any_more() {
        let mut env = Env::new();
        env.worker("a", 1);
        let job = env.submit_range(1);
        env.kill("a");
        env.worker("b", 1);
        let (lease, _) = env.open("b").remove(0);
        let attempt = super::super::super::testing::failed(0, FailureKind::Function);
        env.report("b", lease, (Ranges::new(), vec![attempt]), 10);
        let after = history(&env, job, 0);
        assert_eq!((after.failed, after.suspect_chunk), (1, 0));
    }

    #[test]
    fn a_lone_suspect_has_its_worker_for_itself_and_others_work_on() {
        let mut env = Env::new();
        env.worker("a", 1);
        let poison = env.submit_range(1);
        env.kill("a");
        let other = env.submit_range(100_000);
        env.worker("b", 2);
        assert_eq!(env.open_len("b"), 1, "the suspect alone");
        assert_eq!(env.counts(poison).leased, 1);
        env.kill("b");
        env.worker("c", 2);
        env.worker("d", 2);
        assert_eq!(env.counts(poison).leased, 1);
        assert!(env.counts(other).leased > 0);
        env.work_off();
        assert_eq!(env.state(poison), JobState::Succeeded);
        assert_eq!(env.state(other), JobState::Succeeded);
    }

    #[test]
    fn a_busy_worker_is_reserved_until_the_suspect_can_be_alone_on_it() {
        let mut env = Env::new();
        env.worker("a", 1);
        let poison = env.submit_range(1);
        env.worker("b", 2);
        let long = env.submit_range(100);
        assert_eq!(env.open_len("b"), 2);
        env.kill("a");
        assert_eq!(env.counts(poison).waiting, 1);
        let (lease, _) = env.open("b").remove(0);
        let first = env.open("b")[0].1.first().unwrap();
        env.report("b", lease, (run(first..first + 1), Vec::new()), 1_000_000);
        assert_eq!(env.open_len("b"), 1, "it gets nothing new");
        env.report_all("b");
        assert_eq!(env.counts(poison).leased, 1);
        assert_eq!(env.counts(long).leased, 0);
        env.work_off();
        assert_eq!(env.state(long), JobState::Succeeded);
    }
}
