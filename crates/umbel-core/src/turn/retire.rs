//! A version takes no new jobs, and is forgotten once no running job needs it; a function is deleted.

use super::shadow;
use super::step::{self, Out, route};
use crate::change::Change;
use crate::command::{Command, Refusal, Reply};
use crate::function::{FunctionRecord, Qualifier, VersionId};
use crate::id::ReplyId;
use crate::job::Target;
use crate::route::Node;
use crate::tables::Tables;

/// Retired versions looked at in one turn.
const SWEEP_VERSIONS_MAX: usize = 64;

pub(crate) fn retire(
    t: &mut Tables,
    out: &mut Out,
    to: ReplyId,
    function: &str,
    number: Option<u32>,
) {
    let retired = match number {
        Some(number) => retire_one(t, out, function, number),
        None => retire_all(t, out, function),
    };
    match retired {
        Ok(()) => step::reply(out, to, Reply::Done),
        Err(refusal) => step::refuse(out, to, refusal),
    }
}

fn retire_one(t: &mut Tables, out: &mut Out, name: &str, number: u32) -> Result<(), Refusal> {
    let Some(function) = t.functions.find(name) else {
        return Err(route::unpublished(t, name));
    };
    let id = route::version(t, name, number)?;
    let mut aliases = function.aliases.values();
    if let Some(alias) = aliases.find(|alias| alias.route.to == number) {
        return Err(Refusal::VersionInUse {
            function: name.to_owned(),
            number,
            alias: alias.name.clone(),
        });
    }
    let names = |target: &Target| match target {
        Target::Version(function, Qualifier::Version(other)) => {
            function == name && *other == number
        }
        _ => false,
    };
    if let Some(alias) = led_by(t, |_| true, names) {
        let target = format!("{name}@{number}");
        return Err(Refusal::RouteInUse { alias, target });
    }
    shadow::end_of(t, out, name, number);
    mark(t, out, id);
    Ok(())
}

/// A function is deleted. What runs keeps the version that it means now, and its aliases go: a name
/// that is published again, or brought by a worker, is another function.
fn retire_all(t: &mut Tables, out: &mut Out, name: &str) -> Result<(), Refusal> {
    let Some(function) = t.functions.find(name) else {
        return Err(route::unpublished(t, name));
    };
    let others = |function: &str| function != name;
    if let Some(alias) = led_by(t, others, |target| target.function() == Some(name)) {
        let target = name.to_owned();
        return Err(Refusal::RouteInUse { alias, target });
    }
    let record = FunctionRecord {
        deleted: true,
        ..function.record.clone()
    };
    let ids: Vec<VersionId> = function.versions.values().copied().collect();
    let aliases: Vec<String> = function.aliases.keys().cloned().collect();
    pin_all(t, out, name);
    for alias in aliases {
        t.arms.forget(t.functions.arms_of(name, &alias));
        t.functions.remove_alias(name, &alias);
        if let Some(rollout) = t.rollouts.find(name, &alias) {
            t.alarms.rollouts.set(rollout.candidate, None);
            t.rollouts.remove(name, &alias);
            let (function, alias) = (name.to_owned(), alias.clone());
            out.push(Command::Persist(Change::RolloutRemoved { function, alias }));
        }
        let function = name.to_owned();
        out.push(Command::Persist(Change::AliasRemoved {
            function,
            name: alias,
        }));
    }
    t.functions.reroute();
    for id in ids {
        mark(t, out, id);
    }
    t.registry.publish(name, false);
    t.functions.record(record.clone());
    t.marks.spent.insert(name.to_owned());
    out.push(Command::Persist(Change::Function(record)));
    Ok(())
}

/// Every running job keeps to the version of a function that it means now.
fn pin_all(t: &mut Tables, out: &mut Out, name: &str) {
    let free = t.jobs.of_function(name);
    let free = free.filter(|job| route::pinned(job).is_none());
    let meant = free.filter_map(|job| {
        let routing = route::routing(t, job).map(route::frozen);
        Some((job.id(), route::meant(t, job)?, routing))
    });
    let meant: Vec<_> = meant.collect();
    for (id, version, routing) in meant {
        let Some(job) = t.jobs.find_mut(id) else {
            continue;
        };
        job.status.pinned = Some(version);
        let routed = routing.is_some();
        job.status.routing = routing;
        let (job, status) = (id, job.status.clone());
        out.push(Command::Persist(Change::JobStatus { job, status }));
        if routed {
            t.jobs.route(id);
        }
        t.show(id);
    }
}

/// The first alias of such a function whose route names such a target.
fn led_by(
    t: &Tables,
    of: impl Fn(&str) -> bool,
    names: impl Fn(&Target) -> bool,
) -> Option<String> {
    let mut routings = t.functions.routings();
    let leads = |node: &Node| node.plan.targets().any(|(_, _, target)| names(target));
    let found = routings.find(|((function, _), routing)| {
        // A function that is deleted takes its routes along.
        let stays = of(function) && t.functions.find(function).is_some();
        stays && routing.nodes.first().is_some_and(leads)
    });
    found.map(|((function, alias), _)| format!("{function}@{alias}"))
}

fn mark(t: &mut Tables, out: &mut Out, id: VersionId) {
    let at_ms = t.clock.wall_ms();
    if t.functions.retire(id, at_ms) {
        t.marks.kept = true;
        out.push(Command::Persist(Change::VersionRetired { id, at_ms }));
    }
    t.marks.retired.insert(id);
}

/// Forgets retired versions that nothing needs any more, some in each turn, and then what is
/// left of deleted functions.
pub(crate) fn sweep(t: &mut Tables, out: &mut Out) {
    for _ in 0..SWEEP_VERSIONS_MAX {
        let Some(id) = t.marks.retired.pop_first() else {
            break;
        };
        if !is_needed(t, id) {
            forget(t, out, id);
        }
    }
    t.marks.more |= !t.marks.retired.is_empty();
    let mut spent = std::mem::take(&mut t.marks.spent);
    spent.retain(|name| t.functions.is_spent(name));
    for name in t.jobs.unnamed(spent) {
        t.functions.forget(&name);
        out.push(Command::Persist(Change::FunctionRemoved(name)));
    }
}

/// Whether a running job or an invoke may still run a version.
fn is_needed(t: &Tables, id: VersionId) -> bool {
    let Some(version) = t.functions.version(id) else {
        return false;
    };
    // Those that a route has sent here name another function.
    let jobs = t.jobs.of_function(&version.function);
    let mut jobs = jobs.chain(t.jobs.routed());
    let needs = jobs.any(|job| {
        let running = job.running.as_ref();
        let granted = running.is_some_and(|running| running.versions.contains(&id));
        let routing = route::routing(t, job);
        let led = routing.is_some_and(|routing| routing.versions().any(|led| led == id));
        granted || led || route::meant(t, job) == Some(id)
    });
    needs || t.invokes.uses(id)
}

fn forget(t: &mut Tables, out: &mut Out, id: VersionId) {
    let Some(version) = t.functions.version(id).cloned() else {
        return;
    };
    let upload = t.functions.remove(id);
    t.functions.reroute();
    t.figures.forget(&version.function, version.number);
    out.push(Command::Persist(Change::VersionRemoved(id)));
    if let Some(upload) = upload {
        out.push(Command::Persist(Change::ArtifactRemoved(upload)));
    }
    t.marks.spent.insert(version.function.clone());
}

#[cfg(test)]
mod tests {
    use super::super::testing::Env;
    use super::*;
    use crate::event::Event;
    use crate::function::Runtime;
    use crate::id::JobId;
    use crate::job::JobState;
    use crate::redrive::{Filter, Redrive};

    #[test]
    fn a_version_that_an_alias_points_at_is_not_retired() {
        let mut env = Env::new();
        env.publish("f", "one", Runtime::Python);
        let refusal = env.try_delete("f", Some(1)).unwrap_err();
        assert!(refusal.to_string().contains("f@live points at version 1"));
        env.publish("f", "two", Runtime::Python);
        env.delete("f", Some(1));
        assert!(env.disk.artifacts.contains("two"));
        assert!(!env.disk.artifacts.contains("one"), "nothing needs it");
        let gone = env.try_point("f", "live", 1).unwrap_err();
        assert!(matches!(gone, Refusal::UnknownVersion { number: 1, .. }));
    }

    #[test]
    fn what_a_running_job_needs_is_kept_until_it_has_ended() {
        let mut env = Env::new();
        env.publish("f", "one", Runtime::Python);
        env.publish("g", "one", Runtime::Python);
        env.worker_with("a", 2, |worker| worker.can([Runtime::Python]));
        let job = env.submit_to("f", 10);
        env.delete("f", None);
        env.restart();
        env.connect("a");
        let gone = env.try_submit_to("f").unwrap_err();
        assert!(matches!(gone, Refusal::UnknownFunction { .. }));
        env.work_off();
        assert_eq!(env.state(job), JobState::Succeeded);
        assert_eq!(env.disk.versions_of(job), [Some(1); 10]);
        env.settle();
        assert_eq!(env.disk.version_len(), 1, "what is left is g's");
        assert!(env.disk.artifacts.contains("one"), "and its artifact");
        env.delete("g", None);
        env.settle();
        assert!(env.disk.artifacts.is_empty());
    }

    /// A deleted function, and a job that needs its only version until it has ended.
    fn deleted_with_an_old_job() -> (Env, JobId) {
        let mut env = Env::new();
        env.publish("f", "one", Runtime::Python);
        env.point("f", "canary", 1);
        env.worker_with("a", 1, |worker| worker.can([Runtime::Python]));
        let old = env.submit_to("f", 10);
        env.delete("f", None);
        (env, old)
    }

    #[test]
    fn a_name_that_a_worker_brings_after_the_delete_is_the_workers() {
        for restarts in [false, true] {
            let (mut env, old) = deleted_with_an_old_job();
            if restarts {
                env.restart();
                env.connect("a");
            }
            env.worker_with("b", 1, |worker| worker.functions.push("f".to_owned()));
            let new = env.submit_to("f", 4);
            let gone = env.try_submit_to("f@canary").unwrap_err();
            assert!(matches!(gone, Refusal::NotPublished { .. }), "{gone}");
            env.kill("a");
            env.work_off();
            assert_eq!(env.disk.versions_of(new), [None; 4], "the worker's own");
            env.worker_with("c", 1, |worker| worker.can([Runtime::Python]));
            env.work_off();
            assert_eq!(env.disk.versions_of(old), [Some(1); 10]);
            env.settle();
            assert_eq!(env.disk.version_len(), 0, "nothing needs it any more");
        }
    }

    #[test]
    fn a_deleted_function_lends_its_name_and_nothing_else_to_the_next_one() {
        for restarts in [false, true] {
            let (mut env, old) = deleted_with_an_old_job();
            let gone = env.try_submit_to("f").unwrap_err();
            assert!(gone.to_string().contains("it was deleted"), "{gone}");
            env.publish("f", "two", Runtime::Python);
            if restarts {
                env.restart();
                env.connect("a");
            }
            let gone = env.try_submit_to("f@canary").unwrap_err();
            assert!(matches!(gone, Refusal::UnknownAlias { .. }), "{gone}");
            let gone = env.try_submit_to("f@1").unwrap_err();
            assert!(matches!(gone, Refusal::UnknownVersion { .. }), "{gone}");
            let nothing = env.roll_back("f", "live").unwrap_err();
            assert!(matches!(nothing, Refusal::NothingToRollBack { .. }));
            let new = env.submit_to("f", 4);
            env.work_off();
            assert_eq!(env.disk.versions_of(old), [Some(1); 10], "it began before");
            assert_eq!(env.disk.versions_of(new), [Some(2); 4]);
            env.settle();
            assert_eq!(env.disk.version_len(), 1);
        }
    }

    #[test]
    fn a_version_that_was_retired_is_not_kept_by_a_redrive() {
        let mut env = Env::new();
        env.publish("f", "one", Runtime::Python);
        env.worker_with("a", 1, |worker| worker.can([Runtime::Python]));
        let holds = env.submit_to("f@1", 1_000);
        let mut cancelled = |pin| {
            let job = env.submit(4, |proposal| {
                proposal.spec.target = crate::job::Target::Function("f".to_owned());
                proposal.spec.policy.pin = pin;
            });
            env.ask(|reply| Event::Cancel { reply, job });
            job
        };
        let (free, pinned) = (cancelled(false), cancelled(true));
        env.publish("f", "two", Runtime::Python);
        env.delete("f", Some(1));
        assert_eq!(env.disk.version_len(), 2, "a job needs the first one");
        let wish = env.wish(pinned, filter());
        let refused = env.redrive(pinned, wish.clone());
        let gone = Refusal::PinnedVersionGone {
            job: pinned,
            function: "f".to_owned(),
        };
        assert_eq!(refused, Reply::Refused(gone), "pinned to what is gone");
        let wish = Redrive {
            target: Some(crate::job::Target::Function("f".to_owned())),
            ..wish
        };
        assert!(matches!(env.redrive(pinned, wish), Reply::Redriven { .. }));
        env.publish("f", "three", Runtime::Python);
        let wish = env.wish(free, filter());
        assert!(matches!(env.redrive(free, wish), Reply::Redriven { .. }));
        env.restart();
        env.connect("a");
        env.ask(|reply| Event::Cancel { reply, job: holds });
        env.work_off();
        assert_eq!(env.disk.versions_of(pinned), [Some(2); 4], "pinned anew");
        assert_eq!(env.disk.versions_of(free), [Some(3); 4]);
    }

    #[test]
    fn a_version_was_retired_when_it_was_first() {
        let mut env = Env::new();
        env.publish("f", "one", Runtime::Python);
        let _needs_it = env.submit_to("f@1", 4);
        env.publish("f", "two", Runtime::Python);
        env.delete("f", Some(1));
        let retired = |env: &Env| {
            let view = env.machine.function("f", None, 9).unwrap();
            let mut versions = view.versions.into_iter();
            versions
                .find(|view| view.version.number == 1)
                .unwrap()
                .retired_ms
        };
        let first = retired(&env);
        env.advance(5_000);
        env.delete("f", None);
        assert_eq!(retired(&env), first);
        env.restart();
        assert_eq!(retired(&env), first);
    }

    #[test]
    fn what_a_worker_offers_of_a_version_that_is_gone_is_dropped() {
        let mut env = Env::new();
        env.publish("f", "one", Runtime::Python);
        env.worker_with("a", 1, |worker| worker.can([Runtime::Python]));
        let job = env.submit_to("f", 1);
        // The coordinator dies before its grant is on the disk.
        env.disk.leases.clear();
        env.restart();
        env.publish("f", "two", Runtime::Python);
        env.delete("f", Some(1));
        env.settle();
        assert_eq!(env.disk.version_len(), 1);
        env.connect("a");
        env.work_off();
        assert_eq!(env.disk.versions_of(job), [Some(2)]);
    }

    fn filter() -> Filter {
        Filter {
            failed: true,
            cancelled: true,
            ..Filter::default()
        }
    }

    #[test]
    fn a_deleted_name_is_let_go_when_no_job_names_it_and_no_id_is_used_twice() {
        let mut env = Env::new();
        env.worker_with("a", 8, |worker| worker.can([Runtime::Python]));
        env.publish("f", "one", Runtime::Python);
        let job = env.submit_to("f", 4);
        env.work_off();
        env.delete("f", None);
        env.settle();
        let last = env.publish("g", "two", Runtime::Python).id;
        env.delete("g", None);
        env.settle();
        assert_eq!(env.disk.deleted(), ["f", "g"], "a kept job names f");
        env.restart();
        env.ask(|reply| Event::Delete { reply, job });
        env.settle();
        assert_eq!(env.disk.deleted(), ["g"], "it bears the last id");
        env.restart();
        let next = env.publish("f", "three", Runtime::Python);
        assert!(next.id > last);
        assert_eq!(next.number, 1, "nothing is left that could mean another");
        env.settle();
        assert!(env.disk.deleted().is_empty());
    }
}
