//! What a worker has not begun may be taken back for an idle one. The coordinator
//! asks; only what the worker answers is granted again.

use super::step::{self, Out, lease, rollout};
use crate::command::{Command, Ignored};
use crate::id::WorkerId;
use crate::limit;
use crate::message::{TakenBack, ToWorker};
use crate::tables::Tables;
use crate::tables::demands::GroupId;
use crate::tables::leases::Lease;

/// Asks the fullest workers on behalf of those that have slots and nothing to run.
pub(crate) fn ask(t: &mut Tables, out: &mut Out) {
    for group in t.leases.groups_with_spare() {
        if t.demands.line(group).next().is_some() {
            continue;
        }
        let idle = idle(t, group);
        while t.leases.asked(group) < idle.len() {
            let Some(id) = t.leases.fullest(group) else {
                break;
            };
            let Some(lease) = t.leases.find(id) else {
                break;
            };
            if !idle.iter().any(|worker| can_run(t, *worker, lease)) {
                t.leases.answered(id, false);
                continue;
            }
            let worker = t.roster.find(lease.worker);
            let session = worker.and_then(|worker| worker.session);
            let keep = u32::try_from(lease.unbegun_len() / 2).unwrap_or(u32::MAX);
            t.leases.ask(id);
            match session {
                Some(session) => {
                    let message = ToWorker::TakeBack { lease: id, keep };
                    out.push(Command::Send { session, message });
                }
                // A worker that is away cannot answer; its offer, when it is
                // back, makes the lease worth asking for again.
                None => t.leases.answered(id, false),
            }
        }
    }
}

/// Whether a worker of a lease's group could run what came back of it: where the group
/// stands for several runtimes, it may not have the one.
fn can_run(t: &Tables, worker: WorkerId, lease: &Lease) -> bool {
    let version = lease.history.version;
    let Some(version) = version.and_then(|id| t.functions.version(id)) else {
        return true;
    };
    let worker = t.roster.find(worker);
    worker.is_some_and(|worker| worker.runtimes.contains(version.spec.runtime))
}

/// The workers of a group that have a free slot, up to what a turn may grant.
fn idle(t: &Tables, group: GroupId) -> Vec<WorkerId> {
    let hungry = t.demands.hungry(group).take(limit::TURN_GRANTS_MAX);
    let has_slot = |worker: &WorkerId| {
        let slots = t.roster.find(*worker).map_or(0, |worker| worker.slots);
        t.leases.of_worker(*worker).open < u64::from(slots)
    };
    hungry.filter(has_slot).collect()
}

/// A worker answers.
pub(crate) fn taken_back(t: &mut Tables, out: &mut Out, worker: WorkerId, taken: &TakenBack) {
    let id = taken.begun.lease;
    let Some(lease) = t.leases.held_by(id, worker) else {
        return step::ignore(out, Ignored::StaleLease);
    };
    if !lease.asked {
        return step::ignore(out, Ignored::UnaskedTakenBack);
    }
    let unrun = lease.open.intersect(&taken.indices);
    if unrun.len() < taken.indices.len() {
        step::ignore(out, Ignored::MaskedIndices);
    }
    t.leases.answered(id, !unrun.is_empty());
    t.leases.begun(id, taken.begun.count);
    if !unrun.is_empty() {
        lease::give_back(t, out, id, &unrun);
        rollout::ask_again(t, out, id);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Env;
    use super::*;
    use crate::job::JobState;
    use crate::message::{Begun, FromWorker};

    /// One worker that holds more than it should: its work was fast and is slow.
    fn overfull(env: &mut Env) -> crate::id::JobId {
        env.worker("a", 2);
        let job = env.submit_range(2_000);
        for _ in 0..6 {
            for (lease, indices) in env.open("a") {
                env.report("a", lease, (indices, Vec::new()), 1_000);
            }
        }
        job
    }

    #[test]
    fn an_idle_worker_gets_half_of_what_the_fullest_has_not_begun() {
        let mut env = Env::new();
        let job = overfull(&mut env);
        while env.counts(job).waiting > 0 {
            let (lease, indices) = env.open("a").remove(0);
            env.report("a", lease, (indices, Vec::new()), 1_000);
        }
        let before = env.open_len("a");
        env.worker("b", 2);
        assert_eq!(env.workers["a"].asked.len(), 1);
        assert_eq!(env.open_len("b"), 0, "nothing moves before the answer");
        env.give_back("a");
        assert!(env.open_len("b") > 0);
        let held = env.open_len("a") + env.open_len("b");
        assert_eq!(held + env.counts(job).waiting, before);
        env.work_off();
        assert_eq!(env.state(job), JobState::Succeeded);
        assert_eq!(env.view(job).usage.attempts, 2_000, "nothing ran twice");
    }

    #[test]
    fn a_worker_that_has_begun_everything_is_asked_once() {
        let mut env = Env::new();
        let job = overfull(&mut env);
        while env.counts(job).waiting > 0 {
            let (lease, indices) = env.open("a").remove(0);
            env.report("a", lease, (indices, Vec::new()), 1_000);
        }
        env.worker("b", 2);
        for _ in 0..10 {
            for (lease, _) in std::mem::take(&mut env.workers.get_mut("a").unwrap().asked) {
                let count = u32::MAX;
                let taken = TakenBack {
                    begun: Begun { lease, count },
                    indices: crate::ranges::Ranges::new(),
                };
                env.say("a", FromWorker::TakenBack(taken));
            }
        }
        assert_eq!(env.workers["a"].asked, [], "it said that nothing is left");
        assert_eq!(env.open_len("b"), 0);
    }

    #[test]
    fn what_nobody_asked_for_is_ignored() {
        let mut env = Env::new();
        env.worker("a", 2);
        let job = env.submit_range(2);
        let (lease, indices) = env.open("a").remove(0);
        let begun = Begun { lease, count: 0 };
        env.say("a", FromWorker::TakenBack(TakenBack { begun, indices }));
        assert_eq!(env.ignored, [Ignored::UnaskedTakenBack]);
        assert_eq!(env.counts(job).leased, 2);
    }
}
