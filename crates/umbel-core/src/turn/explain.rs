//! Why a job's invocations wait.

use std::cmp::Reverse;

use super::step::route;
use crate::id::JobId;
use crate::tables::Tables;
use crate::tables::demands::Demand;
use crate::tables::job::{Job, Running};
use crate::view::WaitReason;

pub(crate) fn explain(t: &Tables, wall_ms: u64, id: JobId) -> Option<Vec<WaitReason>> {
    let job = t.jobs.find(id)?;
    let Some(running) = &job.running else {
        return Some(Vec::new());
    };
    let mut reasons = Vec::new();
    not_yet(t, job, running, &mut reasons);
    let (backing_off, first_due_ms) = running.backlog.backing_off(wall_ms);
    add(&mut reasons, "backoff", backing_off, first_due_ms, || {
        "an earlier attempt failed, and the wait before the next has not passed".to_owned()
    });
    let lone = running.backlog.lone_len();
    let open = running.backlog.open_len();
    let due = open.saturating_sub(backing_off);
    if t.demands.able_len(running.group).0 == 0 {
        let until_ms = place_timeout_ms(t, job, running, wall_ms);
        let demand = t.demands.demand(running.group);
        nobody(t, demand, due, until_ms, &mut reasons);
    } else {
        // Of some versions that a route leads to.
        let stranded = route::stranded(t, running);
        let lost: u64 = stranded.iter().map(|(_, count)| count).sum();
        if lost > 0 {
            let until_ms = place_timeout_ms(t, job, running, wall_ms);
            let demand = t.demands.demand(running.group);
            let demand = demand.map(|demand| demand.narrowed(route::runtimes_of(t, &stranded)));
            nobody(t, demand.as_ref(), lost, until_ms, &mut reasons);
        }
        let due = due.saturating_sub(lost);
        add(&mut reasons, "suspect", lone, None, || {
            "their workers were lost, so each waits for a worker that holds nothing else".to_owned()
        });
        busy(t, job, running, due.saturating_sub(lone), &mut reasons);
    }
    reasons.sort_by_key(|reason| Reverse(reason.invocations));
    Some(reasons)
}

fn add(
    reasons: &mut Vec<WaitReason>,
    reason: &'static str,
    invocations: u64,
    until_ms: Option<u64>,
    message: impl FnOnce() -> String,
) {
    if invocations > 0 {
        reasons.push(WaitReason {
            reason,
            message: message(),
            invocations,
            until_ms,
        });
    }
}

/// What may not run yet.
fn not_yet(t: &Tables, job: &Job, running: &Running, reasons: &mut Vec<WaitReason>) {
    let early = running.next_index.saturating_sub(job.may_run());
    let early = if job.may_run() < running.backlog.end() {
        0
    } else {
        early
    };
    add(reasons, "unsealed", u64::from(early), None, || {
        "the job begins when it is sealed; seal it, or submit with start AS_APPENDED".to_owned()
    });
    let held = running.backlog.held_len();
    let left_ms = t.reclaim.until_ms;
    let left_ms = left_ms.map(|until| until.saturating_sub(t.clock.engine_ms()));
    let until_ms = left_ms.map(|left| t.clock.wall_ms().saturating_add(left));
    add(reasons, "reclaim", held, until_ms, || {
        "the coordinator restarted; they are held back for the workers that may still have them"
            .to_owned()
    });
    let leased = t.leases.of_job(job.id()).open;
    let none_left = running.final_len() + leased == u64::from(running.next_index);
    if job.status.sealed.is_none() && none_left {
        reasons.push(WaitReason {
            reason: "upload",
            message: "all inputs so far are leased or have ended; append more, or seal the job"
                .to_owned(),
            invocations: 0,
            until_ms: None,
        });
    }
}

/// When work that nobody can run is given up, by the wall clock.
fn place_timeout_ms(t: &Tables, job: &Job, running: &Running, wall_ms: u64) -> Option<u64> {
    let timeout_ms = job.record.spec.policy.place_timeout_ms?;
    let until_ms = running.unable_since_ms?.saturating_add(timeout_ms);
    let left_ms = until_ms.saturating_sub(t.clock.engine_ms());
    Some(wall_ms.saturating_add(left_ms))
}

/// No worker can run it.
fn nobody(
    t: &Tables,
    demand: Option<&Demand>,
    due: u64,
    until_ms: Option<u64>,
    reasons: &mut Vec<WaitReason>,
) {
    let Some(demand) = demand else {
        return;
    };
    let workers = t.demands.abilities().count();
    let have = t.demands.abilities();
    let have = have.filter(|(_, able)| demand.has_target(able)).count();
    let needs = demand.in_words();
    if workers == 0 {
        add(reasons, "no_worker", due, until_ms, || {
            "no worker takes work now; start one with `umbel worker start`".to_owned()
        });
    } else if have == 0 {
        let reason = if demand.is_of_runtimes() {
            "runtime_missing"
        } else {
            "function_missing"
        };
        add(reasons, reason, due, until_ms, || demand.lacked_by(workers));
    } else {
        add(reasons, "label_unmet", due, until_ms, || match have {
            1 => format!("the only worker that could run it lacks a label: the job needs {needs}"),
            _ => format!("{have} workers could run it but none bears the labels: {needs}"),
        });
    }
}

/// Workers can run it, and have other things to do.
fn busy(t: &Tables, job: &Job, running: &Running, due: u64, reasons: &mut Vec<WaitReason>) {
    let mut due = due;
    if running.backlog.sorted_len() == Some(0) {
        let unsorted = running.backlog.fresh_len().min(due);
        due -= unsorted;
        add(reasons, "routing", unsorted, None, || {
            "the route of its alias is being asked where they go".to_owned()
        });
    }
    if running.backlog.has_too_many_retries() {
        let fresh = running.backlog.fresh_len().min(due);
        due -= fresh;
        add(reasons, "retries_waiting", fresh, None, || {
            "so many of its invocations wait for another attempt that nothing new begins".to_owned()
        });
    }
    let used = t.leases.of_job(job.id()).slots;
    if let Some(limit) = job.slot_limit()
        && used >= u64::from(limit)
    {
        return add(reasons, "max_concurrency", due, None, || match limit {
            1 => "the job holds the one slot that it may".to_owned(),
            _ => format!("the job holds all of the {limit} slots that it may"),
        });
    }
    let mut line = t.demands.line(running.group);
    let ahead = line.next().filter(|first| first.2 != job.id());
    let own = job.record.spec.policy.priority;
    match ahead {
        Some((Reverse(priority), _, other)) if priority > own => {
            add(reasons, "priority", due, None, || {
                format!(
                    "job {other} has priority {priority}, this one {own}; the higher goes first"
                )
            });
        }
        Some((_, _, other)) => add(reasons, "fair_share", due, None, || {
            format!("job {other} goes first now; the shares are equal over time")
        }),
        None => add(reasons, "no_slot", due, None, || {
            "all slots that can run it are taken; start more workers to go faster".to_owned()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Env, failed, run};
    use super::*;
    use crate::event::Event;
    use crate::job::StartMode;
    use crate::outcome::FailureKind;

    fn reasons(env: &Env, job: JobId) -> Vec<(&'static str, u64)> {
        let reasons = env.machine.explain(env.now, job).unwrap();
        let pairs = reasons.iter().map(|why| (why.reason, why.invocations));
        pairs.collect()
    }

    #[test]
    fn work_that_nobody_can_run_says_what_is_missing() {
        let mut env = Env::new();
        let job = env.submit(10, |proposal| {
            let require = &mut proposal.spec.policy.require;
            require.insert("disk".to_owned(), "ssd".to_owned());
        });
        assert_eq!(reasons(&env, job), [("no_worker", 10)]);
        env.worker("a", 1);
        assert_eq!(reasons(&env, job), [("label_unmet", 10)]);
        let why = env.machine.explain(env.now, job).unwrap().remove(0);
        let lacks = "the only worker that could run it lacks a label: the job needs \
                     function \"umbel.echo\", label disk=ssd";
        assert_eq!(why.message, lacks);
        env.kill("a");
        env.worker_with("b", 1, |worker| worker.functions.clear());
        assert_eq!(reasons(&env, job), [("function_missing", 10)]);
    }

    #[test]
    fn work_that_waits_its_turn_says_for_what() {
        let mut env = Env::new();
        env.worker("a", 2);
        let job = env.submit_range(10);
        assert_eq!(reasons(&env, job), [("no_slot", 8)]);
        let (lease, _) = env.open("a").remove(0);
        let attempts = vec![failed(0, FailureKind::Function)];
        env.report("a", lease, (run(1..2), attempts), 10_000_000);
        assert_eq!(reasons(&env, job), [("no_slot", 6), ("backoff", 1)]);
        let second = env.submit_range(5);
        assert!(["fair_share", "no_slot"].contains(&reasons(&env, second)[0].0));
        let bounded = env.submit(5, |proposal| {
            proposal.spec.policy.max_concurrency = Some(1);
            proposal.spec.policy.priority = 1;
        });
        env.worker("b", 2);
        assert_eq!(reasons(&env, bounded), [("max_concurrency", 4)]);
        let why = env.machine.explain(env.now, bounded).unwrap().remove(0);
        assert_eq!(why.message, "the job holds the one slot that it may");
        env.restart();
        let first = reasons(&env, bounded);
        assert_eq!(first, [("no_worker", 4), ("reclaim", 1)]);
    }

    #[test]
    fn a_job_of_higher_priority_goes_first_and_is_named() {
        let mut env = Env::new();
        env.worker("a", 1);
        let first = env.submit(5, |proposal| proposal.spec.policy.priority = 7);
        let second = env.submit_range(5);
        assert_eq!(reasons(&env, second), [("priority", 5)]);
        let why = env.machine.explain(env.now, second).unwrap().remove(0);
        assert!(why.message.contains(&first.to_string()), "{}", why.message);
        let third = env.submit_range(5);
        env.ask(|reply| Event::Cancel { reply, job: first });
        let waiting = [second, third].map(|job| reasons(&env, job)[0].0);
        assert!(!waiting.contains(&"priority"), "{waiting:?}");
    }

    #[test]
    fn an_upload_says_what_it_waits_for() {
        let mut env = Env::new();
        let job = env.submit_open(StartMode::AsSealed);
        assert_eq!(reasons(&env, job), [("upload", 0)]);
        env.ask(|reply| Event::OpenAppend { reply, job });
        let block = crate::job::BlockRef {
            first: 0,
            count: 7,
            bytes: 7,
            appender: crate::id::Appender(1),
        };
        env.ask(|reply| Event::Append { reply, job, block });
        assert_eq!(reasons(&env, job), [("unsealed", 7)]);
    }
}
