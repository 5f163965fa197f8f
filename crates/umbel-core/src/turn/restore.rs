//! A machine comes back from what an earlier one persisted.

use std::collections::{BTreeMap, BTreeSet};

use crate::change::{Change, JobRecord, JobStatus, LeaseRecord, Record, WaitingRecord};
use crate::event::INLINE;
use crate::id::{JobId, LeaseId};
use crate::job::Source;
use crate::ranges::Ranges;
use crate::tables::Tables;
use crate::tables::backlog::{Backlog, Wait};
use crate::tables::demands::Demand;
use crate::tables::job::{Job, Running, first_status};

/// What is gathered before backlogs can be made.
#[derive(Debug, Default)]
struct Gathered {
    waiting: BTreeMap<JobId, Vec<WaitingRecord>>,
    leases: BTreeMap<LeaseId, LeaseRecord>,
}

pub(crate) fn restore(t: &mut Tables, changes: impl IntoIterator<Item = Change>) {
    let mut gathered = Gathered::default();
    for change in changes {
        take(t, &mut gathered, change);
    }
    let mut leases: BTreeMap<JobId, Vec<LeaseRecord>> = BTreeMap::new();
    for lease in gathered.leases.into_values() {
        leases.entry(lease.job).or_default().push(lease);
    }
    let running: Vec<JobId> = t.jobs.running().map(Job::id).collect();
    for id in running {
        let waiting = gathered.waiting.remove(&id).unwrap_or_default();
        let leases = leases.get(&id).map_or(&[][..], Vec::as_slice);
        rebuild_backlog(t, id, &waiting, leases);
        t.touch(id);
    }
    // The newest first: what an older one covers too came back unrun from it, and was granted again.
    let mut leases: Vec<LeaseRecord> = leases.into_values().flatten().collect();
    leases.sort_by_key(|lease| std::cmp::Reverse(lease.lease));
    for lease in &leases {
        hold(t, lease);
    }
    t.functions.reroute();
    if !t.reclaim.leases.is_empty() {
        let until_ms = t.clock.engine_ms().saturating_add(t.config.reclaim_ms);
        t.reclaim.until_ms = Some(until_ms);
    }
    t.marks.retired = t.functions.retired().collect();
    t.marks.spent = t.functions.deleted().cloned().collect();
    t.marks.recall = true;
    t.marks.more = true;
}

fn take(t: &mut Tables, gathered: &mut Gathered, change: Change) {
    match change {
        Change::FunctionSeen(name) => {
            t.registry.see(&name);
        }
        Change::Function(record) => {
            t.registry.publish(&record.name, !record.deleted);
            t.functions.record(record);
        }
        Change::FunctionRemoved(name) => t.functions.forget(&name),
        Change::Published(version) => t.functions.insert(version),
        Change::VersionRetired { id, at_ms } => {
            t.functions.retire(id, at_ms);
        }
        Change::VersionRemoved(id) => {
            t.functions.remove(id);
        }
        Change::AliasMoved(alias) => t.functions.put_alias(alias),
        Change::AliasRemoved { function, name } => t.functions.remove_alias(&function, &name),
        Change::ArtifactRemoved(_) | Change::ArmForgotten(_) => {}
        Change::ArmCell {
            arm,
            begin_ms,
            figures,
        } => t.arms.restore_cell(arm, begin_ms, figures),
        Change::ArmMarked {
            arm,
            at_ms,
            figures,
        } => t.arms.restore_mark(arm, at_ms, *figures),
        Change::Rollout(rollout) => t.rollouts.put(*rollout),
        Change::RolloutRemoved { function, alias } => {
            t.rollouts.remove(&function, &alias);
        }
        Change::JobCreated(record) => create(t, record),
        Change::JobStatus { job, status } => set_status(t, job, status),
        Change::Appended { job, block } => {
            let job = t.jobs.find_mut(job);
            if let Some(running) = job.and_then(|job| job.running.as_mut()) {
                running.next_index = block.first.saturating_add(block.count);
                // A later upload must not stage over a block of an earlier one.
                running.appender = running.appender.max(block.appender);
                running.blocks.push(block);
            }
        }
        Change::Recorded(record) => replay(t, gathered, *record),
        Change::Granted(lease) => {
            gathered.leases.insert(lease.lease, lease);
        }
        Change::LeaseEnded(lease) => {
            gathered.leases.remove(&lease);
        }
        Change::RequestKept { request_id, kept } => t.requests.keep(request_id, kept),
        Change::RequestForgotten(request_id) => t.requests.remove(&request_id),
        Change::JobDeleted(job) => {
            if let Some(running) = t.jobs.remove(job).and_then(|job| job.running) {
                t.demands.part(running.group, job);
            }
        }
    }
}

fn set_status(t: &mut Tables, job: JobId, status: JobStatus) {
    let Some(known) = t.jobs.find_mut(job) else {
        return;
    };
    known.status = status;
    if !known.status.state.is_final() {
        return rejoin(t, job);
    }
    let summary = known.status.summary.unwrap_or_default();
    known.status.summary = Some(summary);
    if let Some(group) = known.running.as_ref().map(|running| running.group) {
        t.demands.part(group, job);
    }
    t.jobs.stop(job);
}

fn create(t: &mut Tables, record: std::sync::Arc<JobRecord>) {
    let mut running = Running::joining(&mut t.demands, &record, t.clock.engine_ms());
    running.appender = INLINE;
    if let Source::Range { count, .. } = record.source {
        running.next_index = count;
    }
    t.jobs.insert(Job {
        status: first_status(record.source),
        record,
        running: Some(Box::new(running)),
    });
}

/// A job that was redriven to another target needs another worker.
fn rejoin(t: &mut Tables, id: JobId) {
    let Some(job) = t.jobs.find_mut(id) else {
        return;
    };
    let redriven = job.status.redriven.as_ref();
    if redriven.is_none_or(|redriven| redriven.target.is_none()) {
        return;
    }
    let demand = Demand::of(job);
    let watched = job.record.spec.policy.place_timeout_ms.is_some();
    let Some(running) = job.running.as_mut() else {
        return;
    };
    t.demands.part(running.group, id);
    running.group = t.demands.join(demand);
    if watched {
        t.demands.watch(running.group, id);
    }
    t.jobs.relink(id);
}

fn replay(t: &mut Tables, gathered: &mut Gathered, record: Record) {
    let Some(job) = t.jobs.find_mut(record.job) else {
        return;
    };
    let redrives = job.status.redrives;
    let Some(running) = job.running.as_mut() else {
        return;
    };
    running.take(&record, redrives);
    let waiting = gathered.waiting.entry(record.job).or_default();
    waiting.extend(record.waiting);
}

/// Of all that was recorded of a waiting invocation the last word counts, so the
/// records are read backwards.
fn rebuild_backlog(t: &mut Tables, id: JobId, waiting: &[WaitingRecord], leases: &[LeaseRecord]) {
    let Some(job) = t.jobs.find_mut(id) else {
        return;
    };
    let may_run = job.may_run();
    let Some(running) = job.running.as_mut() else {
        return;
    };
    let mut decided = running.final_set();
    let mut touched = decided.last().map_or(0, |last| last + 1);
    let named = leases.iter().map(|lease| &lease.indices);
    for indices in named.chain(waiting.iter().map(|waiting| &waiting.indices)) {
        touched = touched.max(indices.last().map_or(0, |last| last + 1));
    }
    let mut again: Vec<(Ranges, Wait)> = Vec::new();
    for waiting in waiting.iter().rev() {
        let known = decided.intersect(&waiting.indices);
        let left = waiting.indices.minus(&known);
        decided.insert_all(&left);
        let wait = Wait {
            due_ms: waiting.due_ms,
            history: waiting.history,
        };
        again.push((left, wait));
    }
    let touched = touched.min(may_run);
    running.backlog = Backlog::restored(touched, &[&decided]);
    running.backlog.allow(may_run);
    for (indices, wait) in again {
        running.backlog.put(&indices, wait);
        running.versions.extend(wait.history.version);
    }
    let leased = leases.iter().filter_map(|lease| lease.version);
    running.versions.extend(leased);
    let arms = leases.iter().map(|lease| lease.arm);
    let mut arms = arms.chain(waiting.iter().map(|waiting| waiting.history.arm));
    if arms.any(|arm| arm.is_some()) {
        t.jobs.route(id);
    }
}

/// What an earlier epoch leased is held back until its worker has returned or a
/// while has passed.
fn hold(t: &mut Tables, lease: &LeaseRecord) {
    let job = t.jobs.find_mut(lease.job);
    let job = job.filter(|job| !job.is_outdated(lease.lease));
    let Some(running) = job.and_then(|job| job.running.as_mut()) else {
        t.reclaim.void.push(lease.lease);
        return;
    };
    for mut cut in running.backlog.claim_unheld(&lease.indices) {
        // It may have begun there: if it waits again, it keeps its version. What ran before there was one
        // is not kept to what only this lease says.
        if cut.wait.history.version.is_none() && cut.wait.history.is_fresh() {
            cut.wait.history.version = lease.version;
            cut.wait.history.arm = lease.arm;
        }
        running.backlog.hold(&cut.indices, cut.wait, lease.worker);
    }
    let leases = t.reclaim.leases.entry(lease.worker).or_default();
    leases.push(lease.lease);
    let jobs: &mut BTreeSet<JobId> = t.reclaim.jobs.entry(lease.worker).or_default();
    jobs.insert(lease.job);
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Env, failed, run};
    use crate::config::Config;
    use crate::history::History;
    use crate::id::LeaseId;
    use crate::job::JobState;
    use crate::outcome::FailureKind;
    use crate::view::InvocationView;

    #[test]
    fn what_was_leased_is_held_back_for_its_worker_and_kept_when_it_returns() {
        let mut env = Env::new();
        env.worker("a", 4);
        let job = env.submit_range(8);
        env.restart();
        env.worker("b", 2);
        assert_eq!(env.open_len("b"), 2, "the rest is placed at once");
        assert_eq!(env.counts(job).leased, 2);
        env.connect("a");
        let (lease, kept) = env.open("a").remove(0);
        assert_eq!((lease.epoch, kept), (2, run(0..4)), "a lease of this epoch");
        env.work_off();
        assert_eq!(env.state(job), JobState::Succeeded);
        assert_eq!(env.view(job).usage.attempts, 8, "nothing ran twice");
        assert!(env.disk.leases.is_empty());
    }

    #[test]
    fn what_is_not_reclaimed_in_time_runs_elsewhere() {
        let mut env = Env::new();
        env.worker("a", 4);
        let job = env.submit_range(4);
        env.restart();
        env.worker("b", 4);
        env.advance(Config::default().reclaim_ms - 500);
        assert_eq!(env.open_len("b"), 0);
        env.advance(500);
        assert_eq!(env.open_len("b"), 4);
        env.connect("a");
        assert_eq!(env.open_len("a"), 0, "it was granted to another");
        env.work_off();
        assert_eq!(env.state(job), JobState::Succeeded);
    }

    #[test]
    fn a_late_worker_keeps_what_still_waits() {
        let mut env = Env::new();
        env.worker("a", 4);
        let job = env.submit_range(4);
        env.restart();
        env.advance(Config::default().reclaim_ms + 500);
        env.connect("a");
        assert_eq!(env.open_len("a"), 4);
        env.report_all("a");
        assert_eq!(env.state(job), JobState::Succeeded);
    }

    #[test]
    fn the_last_word_on_each_waiting_invocation_survives() {
        let mut env = Env::new();
        env.worker("a", 4);
        let job = env.submit_range(10);
        let (lease, _) = env.open("a").remove(0);
        let attempts = vec![
            failed(1, FailureKind::Function),
            failed(2, FailureKind::Function),
        ];
        env.report("a", lease, (run(0..1), attempts), 10_000_000);
        env.advance(300);
        let (lease, next) = env.open("a").pop().unwrap();
        env.report("a", lease, (next, Vec::new()), 10_000_000);
        let again = env.open("a");
        let again = again.iter().find(|(_, open)| open.contains(1)).unwrap();
        let attempt = vec![failed(1, FailureKind::Function)];
        env.report("a", again.0, (run(0..0), attempt), 10_000_000);
        let before: Vec<_> = (0..10).map(|index| history(&env, job, index)).collect();
        let (counts, usage) = (env.counts(job), env.view(job).usage);
        env.restart();
        env.workers.clear();
        env.advance(Config::default().reclaim_ms);
        let after: Vec<_> = (0..10).map(|index| history(&env, job, index)).collect();
        assert_eq!(before, after);
        assert_eq!(before[1].unwrap().failed, 2);
        assert_eq!(env.counts(job).succeeded, counts.succeeded);
        assert_eq!(env.view(job).usage, usage);
    }

    fn history(env: &Env, job: crate::id::JobId, index: u32) -> Option<History> {
        match env.machine.invocation(job, index)? {
            InvocationView::Waiting { history, .. } | InvocationView::Leased { history } => {
                Some(history)
            }
            _ => None,
        }
    }

    #[test]
    fn an_ended_job_comes_back_from_its_summary() {
        let mut env = Env::new();
        env.worker("a", 4);
        let job = env.submit_range(100);
        env.work_off();
        let before = env.view(job);
        env.restart();
        assert_eq!(env.view(job), before);
    }

    #[test]
    fn leases_of_two_epochs_are_never_the_same() {
        let mut env = Env::new();
        env.worker("a", 4);
        env.submit_range(4);
        let (old, indices) = env.open("a").remove(0);
        assert_eq!(
            old,
            LeaseId {
                epoch: 1,
                number: 1
            }
        );
        env.restart();
        env.connect("a");
        env.report("a", old, (indices, Vec::new()), 10);
        assert_eq!(env.ignored, [crate::command::Ignored::StaleLease]);
    }
}
