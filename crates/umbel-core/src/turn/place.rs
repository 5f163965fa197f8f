//! Work meets free slots.

use super::step::{Out, lease, refresh, route};
use crate::id::{JobId, WorkerId};
use crate::job::Source;
use crate::limit;
use crate::tables::Tables;
use crate::tables::demands::GroupId;
use crate::tables::job::{Job, Running};
use crate::tables::pace::Room;

/// Hungry workers that are compared by how near a version is.
const LOOK_MAX: usize = 64;

/// Grants chunks until no hungry worker can run anything, or the turn's bound.
pub(crate) fn place(t: &mut Tables, out: &mut Out, mut grants: usize) {
    let mut passed = Vec::new();
    while let Some((group, job)) = t.demands.front() {
        if grants >= limit::TURN_GRANTS_MAX {
            t.marks.more = true;
            break;
        }
        if grant_to_hungry(t, out, group, job).is_none() {
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

/// Grants a chunk to one of the workers that want more: the least loaded, or of a published
/// function where it is near.
fn grant_to_hungry(t: &mut Tables, out: &mut Out, group: GroupId, id: JobId) -> Option<()> {
    let job = t.jobs.find(id)?;
    let running = job.running.as_ref()?;
    if running.runtimes.is_none() {
        let worker = hungry_for(t, group, job).next()?;
        return grant(t, out, worker, id);
    }
    let mut near = nearest(t, group, job, running).into_iter();
    near.find_map(|worker| grant(t, out, worker, id))
}

/// The workers that want more, the least loaded first. A job that is bounded in slots has
/// one lease on a worker, so that its slots are counted rightly.
fn hungry_for(t: &Tables, group: GroupId, job: &Job) -> impl Iterator<Item = WorkerId> {
    let (id, bounded) = (job.id(), job.slot_limit().is_some());
    let hungry = t.demands.hungry(group);
    hungry.filter(move |worker| !bounded || !t.leases.holds(*worker, id))
}

/// Some of the least loaded workers for a published function: where its version stands ready
/// goes first, then where its artifact is. A worker is only hungry until it has its fill: so
/// the preference says who is filled first, and work that is left goes to the others in the
/// same turn.
fn nearest(t: &Tables, group: GroupId, job: &Job, running: &Running) -> Vec<WorkerId> {
    let next = running.backlog.next_version(t.clock.wall_ms());
    let next = next.or_else(|| route::meant(t, job));
    let next = next.and_then(|id| t.functions.version(id));
    let nearness = |id: &WorkerId| {
        let worker = t.roster.find(*id);
        worker.zip(next).map(|(worker, next)| {
            // Whoever cannot run it is tried last, for what else is due.
            let able = worker.runtimes.contains(next.spec.runtime);
            (!able, worker.nearness(next))
        })
    };
    let hungry = hungry_for(t, group, job);
    let mut hungry: Vec<WorkerId> = hungry.take(LOOK_MAX).collect();
    hungry.sort_by_key(nearness);
    hungry
}

/// Cuts a chunk and grants it.
fn grant(t: &mut Tables, out: &mut Out, worker: WorkerId, id: JobId) -> Option<()> {
    let wall_ms = t.clock.wall_ms();
    let used = t.leases.of_job(id).slots;
    let mut slots = t.roster.find(worker)?.slots;
    let can = route::can(t, t.jobs.find(id)?, worker);
    let job = t.jobs.find_mut(id)?;
    if let Some(limit) = job.slot_limit() {
        let left = u64::from(limit).saturating_sub(used);
        slots = slots.min(u32::try_from(left).unwrap_or(u32::MAX));
    }
    let source = job.record.source;
    let running = job.running.as_mut()?;
    let functions = &t.functions;
    let room = Room {
        slots,
        load_us: t.leases.of_worker(worker).load_us,
        waiting: running.backlog.open_len(),
        able_slots: t.demands.able_len(running.group).1,
    };
    let count = running.pace.chunk(room);
    let runs = |version| can.run(functions, version);
    let mut cut = running.backlog.cut(count, wall_ms, &runs)?;
    if source == Source::Blocks {
        let fits = running.fit_bytes(&cut.indices, limit::CHUNK_BYTES_MAX);
        let rest = cut.indices.split_off(fits);
        running.backlog.put_back(&cut, &rest);
    }
    let history = can.pin(cut.wait.history);
    let id = lease::promise(
        t,
        out,
        (worker, id, slots),
        &cut.indices,
        (cut.wait.history, history),
    )?;
    lease::send(t, out, id);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Env, run};
    use super::*;
    use crate::event::Event;
    use crate::function::{Holdings, Runtime};
    use crate::id::Appender;
    use crate::job::{BlockRef, JobState, StartMode};
    use crate::message::{FromWorker, GrantInputs};

    #[test]
    fn a_small_job_is_spread_over_the_workers() {
        let mut env = Env::new();
        for name in ["a", "b", "c"] {
            env.worker(name, 4);
        }
        env.submit_range(6);
        for name in ["a", "b", "c"] {
            assert_eq!(env.open_len(name), 2, "{name}");
        }
    }

    #[test]
    fn fast_work_travels_in_large_chunks_two_at_a_time() {
        let mut env = Env::new();
        env.worker("a", 1);
        env.submit_range(1_000_000);
        for _ in 0..20 {
            for (lease, indices) in env.open("a") {
                env.report("a", lease, (indices, Vec::new()), 20);
            }
        }
        let sizes: Vec<u64> = env.open("a").iter().map(|(_, open)| open.len()).collect();
        assert_eq!(sizes, [4_000, 4_000], "{} us each", limit::HOLD_US);
    }

    #[test]
    fn one_long_run_does_not_starve_the_other_slots() {
        let mut env = Env::new();
        env.worker("a", 4);
        let job = env.submit_range(1_000);
        for _ in 0..50 {
            // The run of input 0 never ends; each other takes ten seconds.
            let others: Vec<_> = env.open("a");
            assert_eq!(env.open_len("a"), 4, "every slot has something");
            for (lease, indices) in others {
                let done = indices.minus(&run(0..1));
                if !done.is_empty() {
                    env.report("a", lease, (done, Vec::new()), 10_000_000);
                }
            }
        }
        assert_eq!(env.counts(job).succeeded, 150);
    }

    #[test]
    fn a_higher_priority_goes_first_and_equals_share_slot_time() {
        let mut env = Env::new();
        let low = env.submit_range(1_000);
        let one = env.submit(1_000, |proposal| proposal.spec.policy.priority = 1);
        let two = env.submit(1_000, |proposal| proposal.spec.policy.priority = 1);
        env.worker("a", 1);
        for _ in 0..400 {
            let (lease, indices) = env.open("a").remove(0);
            let job = env.workers["a"].held[&lease].head.job;
            let each_us = if job == one { 300_000 } else { 100_000 };
            env.report("a", lease, (indices, Vec::new()), each_us);
        }
        assert_eq!(env.counts(low).succeeded, 0);
        let (ones, twos) = (env.counts(one).succeeded, env.counts(two).succeeded);
        assert!(
            (98..=102).contains(&ones),
            "{ones} of three times the length"
        );
        assert!((298..=302).contains(&twos), "{twos}");
    }

    #[test]
    fn max_concurrency_bounds_slots_over_all_workers() {
        let mut env = Env::new();
        env.worker("a", 4);
        env.worker("b", 4);
        let job = env.submit(100, |proposal| {
            proposal.spec.policy.max_concurrency = Some(6);
        });
        let slots = |env: &Env, name: &str| -> u32 {
            let held = &env.workers[name];
            let open = held.open.keys().map(|lease| held.held[lease].head.slots);
            open.sum()
        };
        assert_eq!(slots(&env, "a") + slots(&env, "b"), 6);
        env.work_off();
        assert_eq!(env.state(job), JobState::Succeeded);
    }

    #[test]
    fn only_workers_with_the_function_and_the_labels_are_able() {
        let mut env = Env::new();
        env.worker("plain", 4);
        env.worker_with("able", 1, |worker| {
            worker.labels.insert("disk".to_owned(), "ssd".to_owned());
        });
        let job = env.submit(10, |proposal| {
            let require = &mut proposal.spec.policy.require;
            require.insert("disk".to_owned(), "ssd".to_owned());
        });
        assert_eq!((env.open_len("plain"), env.open_len("able")), (0, 1));
        env.work_off();
        assert_eq!(env.state(job), JobState::Succeeded);
    }

    #[test]
    fn a_chunk_has_a_bounded_number_of_bytes_and_names_its_blocks() {
        let mut env = Env::new();
        let job = env.submit_open(StartMode::AsAppended);
        env.ask(|reply| Event::OpenAppend { reply, job });
        for at in 0..4 {
            let block = BlockRef {
                first: at * 10,
                count: 10,
                bytes: 400_000,
                appender: Appender(1),
            };
            env.ask(|reply| Event::Append { reply, job, block });
        }
        env.worker("a", 40);
        let (lease, indices) = env.open("a").remove(0);
        assert_eq!(indices, run(0..26), "40,000 bytes each, of a MiB");
        let GrantInputs::Blocks(blocks) = &env.workers["a"].held[&lease].inputs else {
            panic!("inputs lie in blocks");
        };
        let firsts: Vec<u32> = blocks.iter().map(|block| block.first).collect();
        assert_eq!(firsts, [0, 10, 20]);
    }

    /// Three workers with the runtime: one where the version stands ready, one that has its
    /// artifact, one with neither; the farthest is the first in line.
    fn near_and_far() -> Env {
        let mut env = Env::new();
        let version = env.publish("f", "one", Runtime::Python);
        env.worker_with("cold", 2, |worker| worker.can([Runtime::Python]));
        env.worker_with("cached", 2, |worker| {
            worker.can([Runtime::Python]);
            worker.holdings.cached.push(version.artifact.digest);
        });
        env.worker_with("warm", 2, |worker| {
            worker.can([Runtime::Python]);
            worker.holdings.warm.push(version.content);
        });
        env
    }

    #[test]
    fn work_goes_where_a_version_is_warm_then_where_it_is_cached() {
        let mut env = near_and_far();
        let held = |env: &Env| ["warm", "cached", "cold"].map(|name| env.open_len(name));
        env.submit_to("f", 1);
        assert_eq!(held(&env), [1, 0, 0]);
        env.submit_to("f", 1);
        env.submit_to("f", 1);
        assert_eq!(held(&env), [2, 1, 0], "who has its fill wants no more");
    }

    #[test]
    fn a_worker_without_a_version_gets_its_share_of_more_work() {
        let mut env = near_and_far();
        let job = env.submit_to("f", 100);
        for name in ["warm", "cached", "cold"] {
            assert_eq!(env.open_len(name), 2, "{name} has its fill");
        }
        env.work_off();
        assert_eq!(env.state(job), JobState::Succeeded);
        let cold = &env.workers["cold"];
        assert_eq!(cold.told.len(), 1, "it was told of the version once");
    }

    #[test]
    fn what_a_worker_holds_may_change() {
        let mut env = near_and_far();
        env.say("warm", FromWorker::Holds(Holdings::default()));
        env.submit_to("f", 1);
        assert_eq!((env.open_len("warm"), env.open_len("cached")), (0, 1));
    }

    #[test]
    fn where_a_version_could_not_be_loaded_others_go_first() {
        let mut env = near_and_far();
        let version = env.machine.function_view("f").unwrap().live.unwrap();
        for name in ["warm", "cached"] {
            let holdings = Holdings {
                failed: vec![version.content],
                ..env.workers[name].holdings.clone()
            };
            env.say(name, FromWorker::Holds(holdings));
        }
        env.submit_to("f", 1);
        assert_eq!(env.open_len("cold"), 1, "it is not known to be unable");
        env.submit_to("f", 3);
        assert_eq!(
            env.open_len("warm") + env.open_len("cached"),
            2,
            "then they"
        );
    }

    #[test]
    fn a_version_that_allows_less_time_than_its_job_is_heeded() {
        let mut env = Env::new();
        env.try_publish("f", "one", Runtime::Python, |publication| {
            publication.spec.timeout_ms = Some(5_000);
        });
        env.worker_with("a", 1, |worker| worker.can([Runtime::Python]));
        env.submit_to("f", 1);
        let (lease, _) = env.open("a").remove(0);
        let head = &env.workers["a"].held[&lease].head;
        assert_eq!(head.timeout_ms, Some(5_000));
        assert_eq!(head.target.display(), "f");
    }
}
