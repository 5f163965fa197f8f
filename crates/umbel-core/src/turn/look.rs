//! What the machine shows of itself.

use super::step::{self, warmth};
use crate::command::Refusal;
use crate::history::History;
use crate::id::{Index, JobId};
use crate::limit;
use crate::tables::Tables;
use crate::view::{
    ClusterView, FunctionView, InvocationView, JobView, PublishedView, VersionView, WorkerView,
};

/// Jobs looked at for one page of a list.
const SCAN_MAX: usize = 10 * limit::PAGE_SIZE_MAX;

pub(crate) fn find_job(t: &Tables, text: &str) -> Result<JobId, Refusal> {
    let by_id = parse_uuid(text).filter(|id| t.jobs.find(*id).is_some());
    let named = || t.jobs.newest_named(text);
    let newest = || (text == "last").then(|| t.jobs.newest()).flatten();
    let found = by_id.or_else(named).or_else(newest);
    found.ok_or_else(|| Refusal::UnknownJob {
        job: text.to_owned(),
    })
}

/// The 16 bytes of a UUID as people paste it.
fn parse_uuid(text: &str) -> Option<JobId> {
    let mut id = [0u8; 16];
    let mut digits = 0usize;
    for (at, byte) in text.bytes().enumerate() {
        if matches!(at, 8 | 13 | 18 | 23) {
            if byte != b'-' {
                return None;
            }
            continue;
        }
        let digit = char::from(byte).to_digit(16)?;
        let slot = id.get_mut(digits / 2)?;
        *slot = (*slot << 4) | u8::try_from(digit).ok()?;
        digits += 1;
    }
    (digits == 32).then_some(JobId(id))
}

pub(crate) fn jobs(
    t: &Tables,
    before: Option<JobId>,
    limit: usize,
    accept: &dyn Fn(&JobView) -> bool,
) -> (Vec<JobView>, Option<JobId>) {
    let mut page = Vec::new();
    let mut last = None;
    let mut rest = t.jobs.before(before).peekable();
    for _ in 0..SCAN_MAX {
        if page.len() >= limit {
            break;
        }
        let Some(job) = rest.next() else {
            return (page, None);
        };
        last = Some(job.id());
        page.extend(step::job_view(t, job.id()).filter(|view| accept(view)));
    }
    let next = rest.peek().and(last);
    (page, next)
}

pub(crate) fn invocation(t: &Tables, id: JobId, index: Index) -> Option<InvocationView> {
    let running = t.jobs.find(id)?.running.as_ref()?;
    if index >= running.next_index {
        return None;
    }
    if running.succeeded.contains(index) {
        return Some(InvocationView::Succeeded);
    }
    if running.failed.contains(index) {
        return Some(InvocationView::Failed);
    }
    if running.cancelled.contains(index) {
        return Some(InvocationView::Cancelled);
    }
    if let Some(lease) = t.leases.covering(id, index) {
        let history = lease.waited;
        return Some(InvocationView::Leased { history });
    }
    let wait = running.backlog.find(index);
    Some(InvocationView::Waiting {
        history: wait.map_or(History::FRESH, |wait| wait.history),
        due_ms: wait.map_or(0, |wait| wait.due_ms),
    })
}

pub(crate) fn workers(t: &Tables, after: &str, limit: usize) -> Vec<WorkerView> {
    let workers = t.roster.behind(after).take(limit).map(|(id, worker)| {
        let side = t.leases.of_worker(id);
        WorkerView {
            name: worker.name.clone(),
            state: worker.state(),
            slots: worker.slots,
            leases: u32::try_from(side.len()).unwrap_or(u32::MAX),
            invocations: side.open,
            labels: worker.labels.clone(),
            functions: worker.functions.iter().cloned().collect(),
            runtimes: worker.runtimes,
            version: worker.version.clone(),
            connected_ms: worker.connected_ms,
        }
    });
    workers.collect()
}

pub(crate) fn functions(t: &Tables, after: &str, limit: usize) -> Vec<FunctionView> {
    let functions = t.registry.behind(after).take(limit);
    functions
        .map(|(name, workers)| listed(t, name, workers))
        .collect()
}

pub(crate) fn function_view(t: &Tables, name: &str) -> Option<FunctionView> {
    let workers = t.registry.workers(name)?;
    Some(listed(t, name, workers))
}

fn listed(t: &Tables, name: &str, workers: u32) -> FunctionView {
    let live = t.functions.live(name).cloned();
    let published = t.functions.find(name);
    FunctionView {
        name: name.to_owned(),
        workers: live
            .as_ref()
            .map_or(workers, |live| warmth::able_len(t, live)),
        version_count: published.map_or(0, |f| {
            let ids = f.versions.values();
            let taking = ids.filter(|id| t.functions.takes_jobs(**id)).count();
            u32::try_from(taking).unwrap_or(u32::MAX)
        }),
        live: live.filter(|_| published.is_some()),
    }
}

pub(crate) fn function(
    t: &Tables,
    name: &str,
    before: Option<u32>,
    limit: usize,
) -> Result<PublishedView, Refusal> {
    let kept = t.functions.find_any(name);
    let kept = kept.filter(|kept| !kept.versions.is_empty());
    let Some(function) = kept else {
        return Err(step::route::unpublished(t, name));
    };
    let older = function.versions.range(..before.unwrap_or(u32::MAX)).rev();
    let mut versions = older.filter_map(|(_, id)| t.functions.version(*id));
    let page = versions.by_ref().take(limit).map(|version| {
        let ready = t.roster.iter().filter(|(_, worker)| worker.is_ready());
        let warm = ready.filter(|(_, worker)| worker.has.warm.contains(&version.content));
        let (kept_instances, ready_instances) = warmth::instances(t, version);
        VersionView {
            retired_ms: t.functions.retired_ms(version.id),
            workers: warmth::able_len(t, version),
            warm_workers: u32::try_from(warm.count()).unwrap_or(u32::MAX),
            kept_instances,
            ready_instances,
            figures: t.figures.of(name, version.number),
            version: version.clone(),
        }
    });
    Ok(PublishedView {
        name: name.to_owned(),
        deleted: function.record.deleted,
        versions: page.collect(),
        more: versions.next().is_some(),
        aliases: function.aliases.values().cloned().collect(),
    })
}

pub(crate) fn cluster(t: &Tables) -> ClusterView {
    let mut view = ClusterView {
        leases: t.leases.len() as u64,
        jobs_running: t.jobs.running_len() as u64,
        jobs_kept: t.jobs.len() as u64,
        invocations_leased: t.leases.open_len(),
        ..ClusterView::default()
    };
    for (id, worker) in t.roster.iter().filter(|(_, w)| w.session.is_some()) {
        let open = t.leases.of_worker(id).open;
        let used = u32::try_from(open).unwrap_or(u32::MAX).min(worker.slots);
        view.workers += 1;
        view.slots = view.slots.saturating_add(worker.slots);
        view.slots_used = view.slots_used.saturating_add(used);
        for keep in &worker.kept {
            if let Some(version) = t.functions.version(keep.version) {
                let (kept, standing) = worker.instances(version);
                view.instances_kept += u64::from(kept);
                view.instances_ready += u64::from(standing);
            }
        }
    }
    for job in t.jobs.running() {
        let summary = job.summary(t.leases.of_job(job.id()).open);
        view.invocations_waiting += summary.counts.waiting;
    }
    view
}

#[cfg(test)]
mod tests {
    use super::super::testing::Env;
    use super::*;
    use crate::event::Event;

    #[test]
    fn jobs_are_listed_newest_first_page_by_page() {
        let mut env = Env::new();
        let ids: Vec<JobId> = (0..5).map(|_| env.submit_range(1)).collect();
        env.ask(|reply| Event::Cancel { reply, job: ids[3] });
        let runs = |view: &JobView| !view.status.state.is_final();
        let (page, next) = env.machine.jobs(None, 2, &runs);
        let page: Vec<JobId> = page.iter().map(|view| view.record.id).collect();
        assert_eq!(page, [ids[4], ids[2]]);
        let (page, next) = env.machine.jobs(next, 2, &runs);
        let page: Vec<JobId> = page.iter().map(|view| view.record.id).collect();
        assert_eq!(page, [ids[1], ids[0]]);
        assert_eq!(next, None);
    }

    #[test]
    fn a_name_finds_its_newest_job() {
        let mut env = Env::new();
        let mut named = |name: &str| {
            let name = name.to_owned();
            env.submit(1, |proposal| proposal.spec.name = name)
        };
        let (_first, second, other) = (named("nightly"), named("nightly"), named("other"));
        assert_eq!(env.machine.find_job("nightly"), Ok(second));
        assert_eq!(env.machine.find_job("last"), Ok(other));
        assert_eq!(env.machine.find_job(&second.to_string()), Ok(second));
        assert!(env.machine.find_job("weekly").is_err());
    }

    #[test]
    fn the_cluster_counts_what_waits_and_what_is_leased() {
        let mut env = Env::new();
        env.worker("a", 4);
        env.submit_range(10);
        assert_eq!(
            env.machine.cluster(),
            ClusterView {
                workers: 1,
                slots: 4,
                slots_used: 4,
                leases: 1,
                jobs_running: 1,
                jobs_kept: 1,
                invocations_waiting: 6,
                invocations_leased: 4,
                instances_kept: 0,
                instances_ready: 0,
            }
        );
    }

    #[test]
    fn a_uuid_is_read_as_it_is_printed() {
        let id = JobId([
            0x01, 0x92, 0xab, 0xcd, 0xef, 0x01, 0x72, 0x34, 0x89, 0xab, 0, 1, 2, 3, 4, 5,
        ]);
        assert_eq!(parse_uuid(&id.to_string()), Some(id));
        assert_eq!(parse_uuid(&id.to_string().to_uppercase()), Some(id));
        for wrong in ["", "last", "0192abcd-ef01-7234-89ab-00010203040", "é"] {
            assert_eq!(parse_uuid(wrong), None);
        }
        assert_eq!(parse_uuid(&format!("{id}0")), None);
    }
}
