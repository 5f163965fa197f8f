//! The invariants across the tables.

use crate::ranges::Ranges;
use crate::tables::Tables;
use crate::turn::route;

/// Walks every invariant, of each table and across them.
pub(super) fn check(t: &Tables) {
    t.jobs.check();
    t.requests.check();
    t.functions.check();
    t.arms.check();
    t.leases.check();
    t.roster.check();
    t.demands.check();
    t.invokes.check();
    t.alarms.jobs.check();
    t.alarms.walls.check();
    t.alarms.workers.check();
    t.alarms.invokes.check();
    t.alarms.rollouts.check();
    t.rollouts.check();
    each_invocation_is_somewhere(t);
    each_lease_belongs(t);
    each_waiting_invoke_wants_a_newcomer(t);
    for worker in t.reserved.keys() {
        assert!(t.roster.find(*worker).is_some(), "who is reserved is there");
    }
    for (id, _) in t.roster.iter() {
        let side = t.leases.of_worker(id);
        assert!(side.lone <= 1, "a worker has at most one lone suspect");
    }
}

/// An invocation waits, is leased or is final; never two of these, never none.
fn each_invocation_is_somewhere(t: &Tables) {
    for job in t.jobs.running() {
        let Some(running) = &job.running else {
            continue;
        };
        let mut all = running.succeeded.clone();
        let failed: Ranges = running.failed.runs().collect();
        assert_eq!(all.insert_all(&failed), failed.len(), "final once");
        let cancelled: Ranges = running.cancelled.runs().collect();
        let new = all.insert_all(&cancelled);
        assert_eq!(new, cancelled.len(), "final once");
        assert!(running.failed_now <= failed.len(), "a failure counts once");
        let mut leased = 0;
        for id in t.leases.ids_of_job(job.id()) {
            let Some(lease) = t.leases.find(id) else {
                continue;
            };
            leased += lease.open.len();
            let new = all.insert_all(&lease.open);
            assert_eq!(new, lease.open.len(), "leased once and not final");
        }
        assert_eq!(leased, t.leases.of_job(job.id()).open);
        let waiting = running.backlog.check();
        let not_yet = u64::from(running.next_index - running.backlog.end());
        assert_eq!(
            all.len() + waiting + not_yet,
            u64::from(running.next_index),
            "job {}: {} final or leased, {waiting} waiting, {not_yet} not to run yet",
            job.id(),
            all.len(),
        );
        for index in running.not_final().indices().take(256) {
            let waits = running.backlog.find(index).is_some();
            let later = index >= running.backlog.end();
            assert_eq!(
                waits || later,
                !all.contains(index),
                "index {index} is in one place"
            );
        }
        let mut next = 0;
        for block in &running.blocks {
            assert_eq!(block.first, next, "blocks leave no gap");
            next += block.count;
        }
        if let Some(limit) = job.slot_limit() {
            let used = t.leases.of_job(job.id()).slots;
            assert!(used <= u64::from(limit), "{used} of {limit} slots");
        }
    }
}

/// Nobody who was there when an invoke was last tried can run it.
fn each_waiting_invoke_wants_a_newcomer(t: &Tables) {
    for (_, entry) in t.invokes.waiting() {
        let demand = route::demand_of(t, &entry.target, entry.version);
        let mut able = t
            .demands
            .abilities()
            .filter(|(_, able)| demand.is_met(able));
        assert!(able.all(|(worker, _)| t.invokes.is_newcomer(worker)));
    }
}

fn each_lease_belongs(t: &Tables) {
    for (_, lease) in t.leases.iter() {
        assert!(t.roster.find(lease.worker).is_some(), "a holder is there");
        let job = t.jobs.find(lease.job);
        let running = job.and_then(|job| job.running.as_ref());
        assert!(running.is_some_and(|running| running.group == lease.group));
    }
}
