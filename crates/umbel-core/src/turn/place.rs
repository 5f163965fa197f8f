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

#[cfg(test)]
mod tests {
    use super::super::testing::{Env, run};
    use super::*;
    use crate::event::Event;
    use crate::id::Appender;
    use crate::job::{BlockRef, JobState, StartMode};
    use crate::message::GrantInputs;

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
        assert_eq!(sizes, [2_000, 2_000], "{} us each", limit::HOLD_US);
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
}
