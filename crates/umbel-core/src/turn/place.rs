//! Work meets free slots.

use super::step::{Out, lease, refresh};
use crate::id::{JobId, WorkerId};
use crate::job::Source;
use crate::limit;
use crate::tables::Tables;
use crate::tables::demands::GroupId;
use crate::tables::pace::Room;

/// Grants chunks until no hungry worker can run anything, or the turn's bound.
pub(crate) fn place(t: &mut Tables, out: &mut Out, mut grants: usize) {
    let mut passed = Vec::new();
    while let Some((group, job)) = t.demands.front() {
        if grants >= limit::TURN_GRANTS_MAX {
            t.marks.more = true;
            break;
        }
        let granted = hungry_for(t, group, job).and_then(|worker| grant(t, out, worker, job));
        if granted.is_none() {
            // Nobody can take it in this turn; others in the line may go.
            t.demands.line_up(group, job, None);
            passed.push(job);
            continue;
        }
        grants += 1;
    }
    for job in passed {
        refresh::job(t, job);
    }
}

/// The least loaded worker that wants more. A job that is bounded in slots has
/// one lease on a worker, so that its slots are counted rightly.
fn hungry_for(t: &Tables, group: GroupId, job: JobId) -> Option<WorkerId> {
    let bounded = t.jobs.find(job)?.slot_limit().is_some();
    let mut hungry = t.demands.hungry(group);
    hungry.find(|worker| !bounded || !t.leases.holds(*worker, job))
}

/// Cuts a chunk and grants it.
fn grant(t: &mut Tables, out: &mut Out, worker: WorkerId, id: JobId) -> Option<()> {
    let wall_ms = t.clock.wall_ms();
    let used = t.leases.of_job(id).slots;
    let mut slots = t.roster.find(worker)?.slots;
    let job = t.jobs.find_mut(id)?;
    if let Some(limit) = job.slot_limit() {
        let left = u64::from(limit).saturating_sub(used);
        slots = slots.min(u32::try_from(left).unwrap_or(u32::MAX));
    }
    let source = job.record.source;
    let running = job.running.as_mut()?;
    let room = Room {
        slots,
        load_us: t.leases.of_worker(worker).load_us,
        waiting: running.backlog.open_len(),
        able_slots: t.demands.able_len(running.group).1,
    };
    let mut cut = running.backlog.cut(running.pace.chunk(room), wall_ms)?;
    if source == Source::Blocks {
        let fits = running.fit_bytes(&cut.indices, limit::CHUNK_BYTES_MAX);
        let rest = cut.indices.split_off(fits);
        running.backlog.put(&rest, cut.wait);
    }
    let history = cut.wait.history;
    let id = lease::promise(t, out, (worker, id, slots), &cut.indices, history)?;
    lease::send(t, out, id);
    Some(())
}
