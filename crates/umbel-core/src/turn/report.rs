//! Workers say what happened. A report is judged index by index: only what is
//! open under its lease counts.

use super::step::record::{self, Sorted};
use super::step::{self, Out, arm, end, lease, part, rollout, runs};
use crate::change::Change;
use crate::command::{Command, Ignored, Refusal};
use crate::history::History;
use crate::id::{JobId, LeaseId, SessionId, WorkerId};
use crate::job::Usage;
use crate::limit;
use crate::message::{Begun, ChunkReport, Report, ToWorker};
use crate::outcome::{FailedAttempt, Failure, FailureKind};
use crate::ranges::Ranges;
use crate::tables::Tables;

/// A sign of life tells how far leases have begun.
pub(crate) fn heartbeat(t: &mut Tables, out: &mut Out, worker: WorkerId, begun: &[Begun]) {
    for begun in begun {
        if t.leases.held_by(begun.lease, worker).is_some() {
            t.leases.begun(begun.lease, begun.count);
        } else {
            step::ignore(out, Ignored::StaleLease);
        }
    }
}

pub(crate) fn report(
    t: &mut Tables,
    out: &mut Out,
    (session, worker): (SessionId, WorkerId),
    report: Report,
) {
    let last = t.roster.find(worker).map_or(0, |worker| worker.reported);
    if report.number <= last {
        step::ignore(out, Ignored::RepeatedReport);
        return acknowledge(out, session, last);
    }
    if let Err(what) = judge_form(last, &report) {
        let refusal = Refusal::ProtocolBroken { what };
        return part::close(t, out, session, worker, refusal);
    }
    for chunk in report.chunks {
        take_chunk(t, out, worker, chunk);
    }
    t.roster.reported(worker, report.number);
    acknowledge(out, session, report.number);
}

fn acknowledge(out: &mut Out, session: SessionId, number: u64) {
    let message = ToWorker::Ack(number);
    out.push(Command::SendDurable { session, message });
}

fn judge_form(last: u64, report: &Report) -> Result<(), String> {
    if report.number != last.saturating_add(1) {
        return Err(format!(
            "report {} came behind report {last}; none may be left out",
            report.number
        ));
    }
    for chunk in &report.chunks {
        let first = chunk.succeeded.first().unwrap_or(0);
        let span = chunk.succeeded.last().unwrap_or(first) - first;
        if span >= limit::RECORD_SPAN_MAX {
            return Err(format!(
                "report {} spans {span} indices of lease {}; {} are the most",
                report.number,
                chunk.begun.lease,
                limit::RECORD_SPAN_MAX
            ));
        }
    }
    Ok(())
}

/// What of a chunk's report counts.
#[derive(Debug, Default)]
struct Judged {
    succeeded: Ranges,
    failed: Vec<FailedAttempt>,
    failed_set: Ranges,
    handed_back: Ranges,
    masked: bool,
}

fn judge(open: &Ranges, chunk: &mut ChunkReport) -> Judged {
    let succeeded = if chunk.succeeded == *open {
        open.clone()
    } else {
        open.intersect(&chunk.succeeded)
    };
    let mut left = open.minus(&succeeded);
    let mut failed_set = Ranges::new();
    let named = chunk.failed.len();
    let mut failed = std::mem::take(&mut chunk.failed);
    failed.retain(|attempt| {
        let counts = left.contains(attempt.index) && !failed_set.contains(attempt.index);
        if counts {
            failed_set.insert(attempt.index);
        }
        counts
    });
    left = left.minus(&failed_set);
    let handed_back = left.intersect(&chunk.handed_back);
    let masked = succeeded.len() < chunk.succeeded.len()
        || failed.len() < named
        || handed_back.len() < chunk.handed_back.len();
    Judged {
        succeeded,
        failed,
        failed_set,
        handed_back,
        masked,
    }
}

fn take_chunk(t: &mut Tables, out: &mut Out, worker: WorkerId, mut chunk: ChunkReport) {
    let id = chunk.begun.lease;
    if t.leases.held_by(id, worker).is_some() {
        t.leases.begun(id, chunk.begun.count);
    }
    let Some(lease) = t.leases.held_by(id, worker) else {
        return step::ignore(out, Ignored::StaleLease);
    };
    let (job_id, history) = (lease.job, lease.history);
    let judged = judge(&lease.open, &mut chunk);
    if judged.masked {
        step::ignore(out, Ignored::MaskedIndices);
    }
    let reported = judged.succeeded.union(&judged.failed_set);
    let usage = usage_that_counts(chunk.usage, reported.len());
    let charge = lease::charge_us(lease, reported.len());
    if t.leases.close(id, &reported, &Ranges::new()) {
        out.push(Command::Persist(Change::LeaseEnded(id)));
    }
    measure(t, job_id, usage, charge);
    if let Some(job) = t.jobs.find(job_id) {
        let target = job.target().clone();
        let figures = (&chunk.warm, &chunk.cold[..]);
        runs::note(t, out, (&target, history.version), figures);
    }
    arm::ran(t, history.arm, &chunk.warm, &chunk.cold);
    t.marks.workers.insert(worker);
    if !reported.is_empty() {
        let mut sorted = sort(t, job_id, history, judged.failed);
        let mut record = record::empty(t, job_id);
        let name = t.roster.find(worker).map(|worker| worker.name.as_str());
        record.worker = name.unwrap_or_default().into();
        record.attempt = history.next_attempt();
        record::ran(t, &mut record, history);
        if !judged.succeeded.is_empty() {
            record.reported = chunk.succeeded;
            record.succeeded = judged.succeeded;
            record.columns = chunk.columns;
            record.logs = chunk.logs;
        }
        record.waiting = sorted.waiting();
        record.failed = std::mem::take(&mut sorted.failed);
        record.usage = usage;
        record::commit(t, out, record);
        sorted.count_exhausted(t, history);
    }
    lease::give_back(t, out, id, &judged.handed_back);
    end::settle(t, out, job_id);
}

/// Sorts failed attempts into what runs again and what is final.
fn sort(t: &Tables, job: JobId, history: History, failed: Vec<FailedAttempt>) -> Sorted {
    let mut sorted = Sorted::default();
    if failed.is_empty() {
        return sorted;
    }
    let refuge = rollout::refuge(t, history.arm);
    if let Some(known) = t.jobs.find(job) {
        let context = (job, &known.record.spec.policy, t.clock.wall_ms());
        for attempt in failed {
            sorted.sort(context, (history, refuge), attempt);
        }
    }
    sorted
}

/// The part of a chunk's figures that belongs to the attempts that count.
fn usage_that_counts(usage: Usage, attempts: u64) -> Usage {
    if attempts == usage.attempts {
        return usage;
    }
    let named = u128::from(usage.attempts.max(attempts).max(1));
    let part = |figure: u64| {
        let part = u128::from(figure) * u128::from(attempts) / named;
        u64::try_from(part).unwrap_or(u64::MAX)
    };
    Usage {
        duration_us: part(usage.duration_us),
        cpu_us: part(usage.cpu_us),
        attempts,
    }
}

/// What was measured corrects what was charged when the lease was granted.
fn measure(t: &mut Tables, job: JobId, usage: Usage, charge_us: u64) {
    let Some(job) = t.jobs.find_mut(job) else {
        return;
    };
    if let Some(running) = job.running.as_mut() {
        running.pace.measure(usage);
        let had_us = running.had_us.saturating_sub(charge_us);
        running.had_us = had_us.saturating_add(usage.duration_us);
        let pace = running.pace;
        t.paces.learn(job.target(), pace);
    }
}

/// The inputs of a lease cannot be read, so no worker will ever run them.
pub(crate) fn unreadable(
    t: &mut Tables,
    out: &mut Out,
    session: SessionId,
    id: LeaseId,
    reason: &str,
) {
    let worker = t.roster.by_session(session);
    let Some(lease) = t
        .leases
        .find(id)
        .filter(|lease| Some(lease.worker) == worker)
    else {
        return step::ignore(out, Ignored::StaleLease);
    };
    let (job_id, worker, history) = (lease.job, lease.worker, lease.history);
    let open = lease.open.clone();
    t.leases.remove(id);
    out.push(Command::Persist(Change::LeaseEnded(id)));
    t.marks.workers.insert(worker);
    let failure = Failure {
        kind: FailureKind::Rejected,
        error_type: "InputUnreadable".to_owned(),
        message: format!("the input could not be read from the store: {reason}"),
        stderr: String::new(),
    };
    record::reject(t, out, job_id, &open, history, &failure);
    end::settle(t, out, job_id);
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Env, failed, run};
    use super::*;
    use crate::config::Config;
    use crate::event::INLINE;
    use crate::histogram::Histogram;
    use crate::job::{BlockRef, JobFailureKind, JobState, Source, StartMode};
    use crate::message::FromWorker;
    use crate::policy::Tolerance;

    #[test]
    fn what_is_not_open_under_the_lease_is_masked_and_the_rest_counts() {
        let mut env = Env::new();
        env.worker("a", 4);
        let job = env.submit_range(100);
        let (lease, indices) = env.open("a").remove(0);
        assert_eq!(indices, run(0..4));
        env.report("a", lease, (run(2..9), Vec::new()), 10);
        assert_eq!(env.ignored, [Ignored::MaskedIndices]);
        assert_eq!(env.counts(job).succeeded, 2);
        assert_eq!(env.view(job).usage.attempts, 2);
        env.report("a", lease, (run(0..2), Vec::new()), 10);
        env.report("a", lease, (run(0..2), Vec::new()), 10);
        assert_eq!(env.ignored[1..], [Ignored::StaleLease]);
        assert_eq!(env.counts(job).succeeded, 4);
    }

    #[test]
    fn a_report_under_a_lease_that_was_lost_does_not_count() {
        let mut env = Env::new();
        env.worker("a", 4);
        let job = env.submit_range(4);
        let (lease, indices) = env.open("a").remove(0);
        env.advance_but(Config::default().lease_timeout_ms, "a");
        env.worker("b", 4);
        let worker = env.workers.get_mut("a").unwrap();
        worker.open.clear();
        env.connect("a");
        env.report("a", lease, (indices, Vec::new()), 10);
        assert_eq!(env.ignored, [Ignored::StaleLease]);
        assert_eq!(env.counts(job).succeeded, 0);
    }

    #[test]
    fn reports_are_numbered_without_gaps_and_repeats_are_acknowledged() {
        let mut env = Env::new();
        env.worker("a", 4);
        env.submit_range(4);
        env.report_all("a");
        assert_eq!(env.workers["a"].acked, 1);
        let empty = |number| {
            FromWorker::Report(Report {
                number,
                chunks: Vec::new(),
            })
        };
        env.say("a", empty(1));
        assert_eq!(env.ignored, [Ignored::RepeatedReport]);
        assert_eq!(env.closed, []);
        env.say("a", empty(3));
        assert!(matches!(env.closed[..], [Refusal::ProtocolBroken { .. }]));
    }

    #[test]
    fn what_is_handed_back_waits_with_nothing_added() {
        let mut env = Env::new();
        env.worker("a", 4);
        let job = env.submit_range(4);
        let (lease, indices) = env.open("a").remove(0);
        env.workers.get_mut("a").unwrap().open.clear();
        let chunk = ChunkReport {
            begun: Begun { lease, count: 0 },
            succeeded: Ranges::new(),
            columns: bytes::Bytes::new(),
            logs: bytes::Bytes::new(),
            failed: Vec::new(),
            usage: Usage::default(),
            handed_back: indices,
            warm: Histogram::new(),
            cold: Vec::new(),
        };
        let report = Report {
            number: 1,
            chunks: vec![chunk],
        };
        env.workers.get_mut("a").unwrap().reports = 1;
        env.say("a", FromWorker::Report(report));
        assert_eq!(env.open_len("a"), 4, "it is granted again at once");
        env.report_all("a");
        assert_eq!(env.view(job).usage.attempts, 4);
    }

    #[test]
    fn one_failure_more_than_tolerated_ends_the_job() {
        let mut env = Env::new();
        env.worker("a", 4);
        let job = env.submit(100, |proposal| {
            proposal.spec.policy.max_attempts = 1;
            proposal.spec.policy.tolerate = Some(Tolerance::BasisPoints(199));
        });
        let (lease, _) = env.open("a").remove(0);
        let one = |index| vec![failed(index, FailureKind::Function)];
        env.report("a", lease, (Ranges::new(), one(0)), 10);
        assert_eq!(env.state(job), JobState::Running, "1 of 100 is tolerated");
        env.report("a", lease, (Ranges::new(), one(1)), 10);
        let view = env.view(job);
        assert_eq!(view.status.state, JobState::Failed);
        assert_eq!(view.status.failure.unwrap().kind, JobFailureKind::Tolerance);
        assert_eq!((view.counts.failed, view.counts.cancelled), (2, 98));
        assert_eq!(env.open_len("a"), 0, "its leases are revoked");
    }

    #[test]
    fn a_number_of_tolerated_failures_bounds_a_job_that_still_takes_inputs() {
        let mut env = Env::new();
        env.worker("a", 4);
        let job = env.submit(8, |proposal| {
            proposal.source = Source::Blocks;
            proposal.blocks = vec![BlockRef {
                first: 0,
                count: 8,
                bytes: 80,
                appender: INLINE,
            }];
            proposal.seal = false;
            proposal.spec.start = StartMode::AsAppended;
            proposal.spec.policy.max_attempts = 1;
            proposal.spec.policy.tolerate = Some(Tolerance::Count(0));
        });
        let (lease, _) = env.open("a").remove(0);
        let one = vec![failed(0, FailureKind::Function)];
        env.report("a", lease, (Ranges::new(), one), 10);
        let view = env.view(job);
        assert_eq!(view.status.state, JobState::Failed);
        assert_eq!(view.status.failure.unwrap().kind, JobFailureKind::Tolerance);
        assert_eq!((view.counts.failed, view.counts.cancelled), (1, 7));
    }

    #[test]
    fn failures_within_the_tolerance_leave_the_job_succeeded() {
        let mut env = Env::new();
        env.worker("a", 4);
        let job = env.submit(4, |proposal| {
            proposal.spec.policy.tolerate = Some(Tolerance::Count(1));
        });
        let (lease, _) = env.open("a").remove(0);
        let never = vec![failed(2, FailureKind::Rejected)];
        let rest: Ranges = [0..2, 3..4].into_iter().collect();
        env.report("a", lease, (rest, never), 10);
        assert_eq!(env.state(job), JobState::Succeeded);
        assert_eq!(env.counts(job).failed, 1, "rejected is not run again");
    }

    #[test]
    fn enough_successes_end_the_job_with_what_waits_and_what_is_leased() {
        let mut env = Env::new();
        env.worker("a", 4);
        let job = env.submit(100, |proposal| {
            proposal.spec.policy.max_attempts = 1;
            proposal.spec.policy.enough = Some(3);
        });
        let (lease, _) = env.open("a").remove(0);
        let wrong = vec![failed(3, FailureKind::Function)];
        env.report("a", lease, (run(0..2), wrong), 10_000_000);
        assert_eq!(env.state(job), JobState::Running);
        env.report("a", lease, (run(2..3), Vec::new()), 10_000_000);
        let (view, counts) = (env.view(job), env.counts(job));
        assert_eq!(view.status.state, JobState::Succeeded);
        assert_eq!((counts.succeeded, counts.failed), (3, 1));
        assert_eq!(counts.cancelled, 96);
        assert_eq!(env.open_len("a"), 0, "its leases are revoked");
        env.restart();
        assert_eq!(env.view(job), view);
    }

    #[test]
    fn fewer_successes_than_enough_are_a_failure_and_failures_alone_are_none() {
        for (enough, state) in [(4, JobState::Failed), (3, JobState::Succeeded)] {
            let mut env = Env::new();
            env.worker("a", 4);
            let job = env.submit(4, |proposal| {
                proposal.spec.policy.max_attempts = 1;
                proposal.spec.policy.enough = Some(enough);
            });
            let (lease, _) = env.open("a").remove(0);
            let wrong = vec![failed(3, FailureKind::Function)];
            env.report("a", lease, (run(0..3), wrong), 10);
            let view = env.view(job);
            assert_eq!(view.status.state, state);
            let kind = view.status.failure.map(|failure| failure.kind);
            let failed = state == JobState::Failed;
            assert_eq!(kind, failed.then_some(JobFailureKind::Invocations));
        }
    }

    #[test]
    fn enough_is_decided_after_the_seal() {
        let mut env = Env::new();
        env.worker("a", 8);
        let job = env.submit(8, |proposal| {
            proposal.source = Source::Blocks;
            proposal.blocks = vec![BlockRef {
                first: 0,
                count: 8,
                bytes: 80,
                appender: INLINE,
            }];
            proposal.seal = false;
            proposal.spec.start = StartMode::AsAppended;
            proposal.spec.policy.enough = Some(2);
        });
        let (lease, _) = env.open("a").remove(0);
        env.report("a", lease, (run(0..4), Vec::new()), 10);
        assert_eq!(env.state(job), JobState::Running);
        env.ask(|reply| crate::event::Event::Seal {
            reply,
            job,
            total: 8,
        });
        assert_eq!(env.state(job), JobState::Succeeded);
        assert_eq!(env.counts(job).cancelled, 4);
    }

    #[test]
    fn a_failure_that_is_not_to_be_retried_is_final_at_once_after_a_restart_too() {
        let mut env = Env::new();
        env.worker("a", 4);
        let job = env.submit(4, |proposal| {
            let policy = &mut proposal.spec.policy;
            policy.no_retry_on.insert("ValueError".to_owned());
        });
        env.restart();
        env.connect("a");
        let (lease, _) = env.open("a").remove(0);
        let mut other = failed(0, FailureKind::Function);
        other.failure.error_type = "KeyError".to_owned();
        let attempts = vec![other, failed(1, FailureKind::Function)];
        env.report("a", lease, (Ranges::new(), attempts), 10);
        assert_eq!((env.counts(job).failed, env.counts(job).waiting), (1, 1));
    }

    #[test]
    fn inputs_that_cannot_be_read_are_rejected() {
        let mut env = Env::new();
        env.worker("a", 4);
        let job = env.submit_range(4);
        let (lease, _) = env.open("a").remove(0);
        let session = env.workers["a"].session.unwrap();
        env.turn([crate::event::Event::GrantUnreadable {
            session,
            lease,
            reason: "checksum".to_owned(),
        }]);
        assert_eq!(env.state(job), JobState::Failed);
        assert_eq!(env.counts(job).failed, 4);
    }
}
