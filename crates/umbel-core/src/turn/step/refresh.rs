//! Brings a job's or a worker's place in line up to date.

use std::cmp::Reverse;

use super::route;
use crate::id::{JobId, WorkerId};
use crate::limit;
use crate::tables::Tables;

/// Leases that a worker may hold beside two for each slot.
const LEASES_BESIDE: u64 = 4;

/// A job's place in line and its alarms follow from what waits and is leased.
pub(crate) fn job(t: &mut Tables, id: JobId) {
    route::regroup(t, id);
    let routing = t.jobs.find(id).and_then(|job| route::routing(t, job));
    let revision = routing.map(|routing| routing.revision);
    let (wall_ms, engine_ms) = (t.clock.wall_ms(), t.clock.engine_ms());
    let used = t.leases.of_job(id).slots;
    let running = t.jobs.find(id).and_then(|job| job.running.as_ref());
    let stranded = running.map_or_else(Vec::new, |running| route::stranded(t, running));
    let Some(job) = t.jobs.find_mut(id) else {
        return;
    };
    let may_run = job.may_run();
    let room = job.slot_limit().is_none_or(|limit| used < u64::from(limit));
    let deadline = job.deadline_ms();
    // Whoever copies inputs comes back by itself.
    let uploaded = job.status.sealed.is_none() && !job.is_of_copies();
    let policy = &job.record.spec.policy;
    let (priority, place_timeout) = (policy.priority, policy.place_timeout_ms);
    let Some(running) = job.running.as_mut() else {
        return;
    };
    let group = running.group;
    running.backlog.allow(may_run);
    running.backlog.route(revision);
    running.backlog.strand(&stranded);
    // Nothing is sorted for workers that are not there; once they are, this is looked at again.
    if revision.is_some() {
        t.demands.watch(group, id);
    }
    if room && running.backlog.wants_sorting() && t.demands.able_len(group).0 > 0 {
        t.marks.unsorted.insert(id);
    }

    let stands = room && running.backlog.has_due(wall_ms);
    if stands && !running.in_line {
        // Whoever joins the line has saved nothing up while it was away.
        let least = t.demands.least_had().unwrap_or(0);
        running.had_us = running.had_us.max(least);
    }
    running.in_line = stands;
    let place = stands.then_some((Reverse(priority), running.had_us, id));
    let lone = room && running.backlog.lone_len() > 0;
    t.demands.line_up(group, id, place);
    t.demands.set_lone(group, id, lone);

    let retry = running.backlog.next_due().filter(|due| *due > wall_ms);
    let wall = [deadline, retry].into_iter().flatten().min();
    t.alarms.walls.set(id, wall);

    let nobody = t.demands.able_len(group).0 == 0 && running.backlog.open_len() > 0;
    let unable = nobody || !stranded.is_empty();
    running.unable_since_ms = match running.unable_since_ms {
        _ if !unable => None,
        Some(since) => Some(since),
        None => Some(engine_ms),
    };
    let since = running.unable_since_ms;
    let place = since
        .zip(place_timeout)
        .map(|(since, ms)| since.saturating_add(ms));
    let idle = running
        .appended_ms
        .saturating_add(t.config.upload_idle_timeout_ms);
    let idle = uploaded.then_some(idle);
    let engine = [place, idle].into_iter().flatten().min();
    t.alarms.jobs.set(id, engine);
}

/// Whether a worker wants more follows from what it holds.
pub(crate) fn worker(t: &mut Tables, id: WorkerId) {
    let load = load_if_hungry(t, id);
    t.demands.feed(id, load);
}

fn load_if_hungry(t: &Tables, id: WorkerId) -> Option<u64> {
    let worker = t.roster.find(id).filter(|worker| worker.is_ready())?;
    if t.reserved.contains_key(&id) {
        return None;
    }
    let side = t.leases.of_worker(id);
    let leases = u64::try_from(side.len()).unwrap_or(u64::MAX);
    let slots = u64::from(worker.slots);
    let full = leases >= LEASES_BESIDE + 2 * slots
        || side.len() >= limit::WORKER_LEASES_MAX
        || side.open >= limit::WORKER_INVOCATIONS_MAX;
    if full || side.lone > 0 {
        return None;
    }
    // Of fast work a second chunk is on its way while the first one runs.
    let fast = side.load_us < side.open * limit::HOLD_US;
    let hungry = side.load_us < limit::HOLD_US * slots || (fast && leases < 2);
    hungry.then(|| side.load_us / slots.max(1))
}
