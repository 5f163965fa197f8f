//! A suspect that has come down to one travels alone: it goes to a worker that
//! holds nothing else, and that worker gets nothing more until it is done.

use super::step::{Out, lease, refresh, route};
use crate::id::{JobId, WorkerId};
use crate::limit;
use crate::tables::Tables;
use crate::tables::demands::GroupId;

/// Places suspects on empty workers, and keeps some busy ones from new work so
/// that they become empty. Gives the number of grants.
pub(crate) fn place(t: &mut Tables, out: &mut Out) -> usize {
    let groups = t.demands.lone_groups();
    if groups.is_empty() && t.reserved.is_empty() {
        return 0;
    }
    let mut grants = 0;
    for group in &groups {
        grants += place_group(t, out, *group, limit::TURN_GRANTS_MAX - grants);
    }
    reserve(t);
    grants
}

fn place_group(t: &mut Tables, out: &mut Out, group: GroupId, most: usize) -> usize {
    let able: Vec<WorkerId> = t.demands.able(group).collect();
    let mut empty = able
        .into_iter()
        .filter(|worker| t.leases.of_worker(*worker).len() + t.invokes.count_of(*worker) == 0);
    let mut pairs = Vec::new();
    'jobs: for job in t.demands.lone_jobs(group) {
        for _ in 0..suspects(t, job) {
            if pairs.len() >= most {
                t.marks.more = true;
                break 'jobs;
            }
            let Some(worker) = empty.next() else {
                break 'jobs;
            };
            pairs.push((job, worker));
        }
    }
    drop(empty);
    let mut grants = 0;
    for (job, worker) in pairs {
        grants += usize::from(grant(t, out, job, worker).is_some());
    }
    grants
}

/// How many of a job's suspects may be placed, as far as its bound of slots goes.
fn suspects(t: &Tables, id: JobId) -> u64 {
    let job = t.jobs.find(id);
    let Some((job, running)) = job.and_then(|job| Some((job, job.running.as_ref()?))) else {
        return 0;
    };
    let used = t.leases.of_job(id).slots;
    let room = job
        .slot_limit()
        .map_or(u64::MAX, |limit| u64::from(limit).saturating_sub(used));
    running.backlog.lone_len().min(room)
}

fn grant(t: &mut Tables, out: &mut Out, job: JobId, worker: WorkerId) -> Option<()> {
    let can = route::can(t, t.jobs.find(job)?, worker);
    let running = t.jobs.find_mut(job)?.running.as_mut()?;
    let cut = running
        .backlog
        .cut_lone(&|version| can.run(&t.functions, version))?;
    t.reserved.remove(&worker);
    let history = can.pin(cut.wait.history);
    let id = lease::promise(
        t,
        out,
        (worker, job, 1),
        &cut.indices,
        (cut.wait.history, history),
    )?;
    lease::send(t, out, id);
    Some(())
}

/// As many able workers are reserved as suspects wait, but of several never all:
/// the rest of the work goes on beside them.
fn reserve(t: &mut Tables) {
    let mut reserved = std::mem::take(&mut t.reserved);
    for group in t.demands.lone_groups() {
        let jobs = t.demands.lone_jobs(group);
        let waiting: u64 = jobs.iter().map(|job| suspects(t, *job)).sum();
        let mut able: Vec<WorkerId> = t.demands.able(group).collect();
        let most = able.len().saturating_sub(1).max(1);
        let wanted = usize::try_from(waiting).unwrap_or(most).min(most);
        able.retain(|worker| t.leases.of_worker(*worker).lone == 0);
        // Those reserved before stay so; then those that will be empty first.
        able.sort_by_key(|worker| {
            let before = reserved.contains_key(worker);
            (!before, t.leases.of_worker(*worker).load_us, *worker)
        });
        for worker in able.into_iter().take(wanted) {
            t.reserved.insert(worker, group);
            if reserved.remove(&worker).is_none() {
                refresh::worker(t, worker);
            }
        }
    }
    for worker in reserved.into_keys() {
        refresh::worker(t, worker);
    }
}
