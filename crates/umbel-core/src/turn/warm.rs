//! Versions that stand ready on workers before there is work for them.
//!
//! Each able worker keeps as many instances of a version as it asks for, and no more than it has
//! slots: an instance runs one invocation at a time. The coordinator says which versions; a worker
//! starts and replaces instances by itself, as far as its own bound lets it.

use std::sync::Arc;

use super::step::{self, Out, lease, route, warmth};
use crate::command::{Command, Reply};
use crate::function::{Keep, Version};
use crate::id::{ReplyId, SessionId, WorkerId};
use crate::limit;
use crate::message::ToWorker;
use crate::tables::Tables;

/// How long a version is made ready ahead of an alias after that was last asked for.
const AHEAD_MS: u64 = 60_000;

/// Tells workers what they are to keep ready, where that has changed.
pub(crate) fn advance(t: &mut Tables, out: &mut Out) {
    let forgotten = t.functions.forget_ahead(t.clock.engine_ms());
    let changed = std::mem::take(&mut t.marks.kept) || forgotten;
    let newcomers = std::mem::take(&mut t.marks.newcomers);
    if !changed && (newcomers.is_empty() || !t.functions.has_warm()) {
        return;
    }
    let kept = t.functions.kept().take(limit::VERSIONS_KEPT_MAX);
    let kept: Vec<Arc<Version>> = kept.cloned().collect();
    let live = t.roster.iter().filter_map(|(id, worker)| {
        let session = worker.session?;
        let concerned = changed || newcomers.contains(&id);
        (concerned && !worker.runtimes.is_empty()).then_some((id, session))
    });
    let live: Vec<(WorkerId, SessionId)> = live.collect();
    for (worker, session) in live {
        tell(t, out, (worker, session), &kept);
    }
}

fn tell(
    t: &mut Tables,
    out: &mut Out,
    (id, session): (WorkerId, SessionId),
    versions: &[Arc<Version>],
) {
    let Some(worker) = t.roster.find(id) else {
        return;
    };
    let able = |version: &&Arc<Version>| worker.runtimes.contains(version.spec.runtime);
    let versions: Vec<&Arc<Version>> = versions.iter().filter(able).collect();
    let keep = |version: &&Arc<Version>| Keep {
        version: version.id,
        instances: version.spec.warm.min(worker.slots),
    };
    let kept: Vec<Keep> = versions.iter().map(keep).collect();
    if !t.roster.keep(id, &kept) {
        return;
    }
    for version in versions {
        lease::tell(t, out, (id, session), Some(version.id));
    }
    let message = ToWorker::Keep(kept);
    out.push(Command::Send { session, message });
}

/// A version is made ready before an alias points at it.
pub(crate) fn ahead(t: &mut Tables, out: &mut Out, to: ReplyId, function: &str, number: u32) {
    if t.functions.find(function).is_none() {
        let refusal = route::unpublished(t, function);
        return step::refuse(out, to, refusal);
    }
    let found = route::version(t, function, number);
    let version = found.map(|id| t.functions.version(id).cloned());
    let version = match version {
        Ok(Some(version)) => version,
        Ok(None) => return,
        Err(refusal) => return step::refuse(out, to, refusal),
    };
    let until_ms = t.clock.engine_ms().saturating_add(AHEAD_MS);
    if version.spec.warm > 0 && t.functions.go_ahead(version.id, until_ms) {
        t.marks.kept = true;
        // Told now, so that the answer counts what is to be kept.
        advance(t, out);
    }
    let (kept, ready) = warmth::instances(t, &version);
    let reply = Reply::Warm {
        workers: warmth::able_len(t, &version),
        kept,
        ready,
    };
    step::reply(out, to, reply);
}

#[cfg(test)]
mod tests {
    use super::super::testing::Env;
    use super::*;
    use crate::event::{Event, Publication};
    use crate::function::{Holdings, Runtime};
    use crate::message::FromWorker;

    fn warm(count: u32) -> impl Fn(&mut Publication) {
        move |publication| publication.spec.warm = count
    }

    /// Publishes a version that asks for so many instances.
    fn publish(env: &mut Env, function: &str, content: &str, count: u32) -> Arc<Version> {
        match env.try_publish(function, content, Runtime::Python, warm(count)) {
            Reply::Published { version, .. } => version,
            other => panic!("{other:?}"),
        }
    }

    fn python(env: &mut Env, name: &str, slots: u32) {
        env.worker_with(name, slots, |worker| {
            worker.runtimes.insert(Runtime::Python);
        });
    }

    fn kept(env: &Env, name: &str) -> Vec<(u32, u32)> {
        let kept = env.workers[name].kept.iter();
        kept.map(|keep| (keep.version.0, keep.instances)).collect()
    }

    fn ahead(env: &mut Env, function: &str, number: u32) -> Reply {
        let function = function.to_owned();
        env.ask(|reply| Event::Warm {
            reply,
            function,
            number,
        })
    }

    #[test]
    fn able_workers_keep_what_an_alias_means_up_to_their_slots() {
        let mut env = Env::new();
        python(&mut env, "small", 2);
        env.worker("unable", 2);
        let one = publish(&mut env, "f", "one", 3);
        python(&mut env, "large", 8);
        assert_eq!(kept(&env, "small"), [(one.id.0, 2)]);
        assert_eq!(kept(&env, "large"), [(one.id.0, 3)], "who comes later too");
        assert_eq!(kept(&env, "unable"), []);
        let two = publish(&mut env, "f", "two", 1);
        assert_eq!(kept(&env, "small"), [(two.id.0, 1)], "`live` moved on");
        env.point("f", "old", 1);
        let both = [(two.id.0, 1), (one.id.0, 3)];
        assert_eq!(kept(&env, "large"), both, "the newest first");
        publish(&mut env, "g", "three", 0);
        assert_eq!(kept(&env, "large"), both, "who asks for none gets none");
        env.delete("f", None);
        assert_eq!(kept(&env, "large"), []);
    }

    #[test]
    fn a_new_session_and_a_new_coordinator_say_it_again() {
        let mut env = Env::new();
        python(&mut env, "a", 2);
        let one = publish(&mut env, "f", "one", 1);
        env.cut("a");
        env.connect("a");
        assert_eq!(kept(&env, "a"), [(one.id.0, 1)]);
        env.settle();
        env.restart();
        env.connect("a");
        assert_eq!(kept(&env, "a"), [(one.id.0, 1)]);
    }

    #[test]
    fn a_version_can_stand_ready_before_an_alias_points_at_it() {
        let mut env = Env::new();
        python(&mut env, "a", 2);
        publish(&mut env, "f", "one", 0);
        env.point("f", "live", 1);
        let two = publish(&mut env, "f", "two", 2);
        env.point("f", "live", 1);
        assert_eq!(kept(&env, "a"), []);
        let none = Reply::Warm {
            workers: 1,
            kept: 0,
            ready: 0,
        };
        assert_eq!(ahead(&mut env, "f", 1), none, "it asks for none");
        let reply = ahead(&mut env, "f", 2);
        assert!(matches!(
            reply,
            Reply::Warm {
                kept: 2,
                ready: 0,
                ..
            }
        ));
        assert_eq!(kept(&env, "a"), [(two.id.0, 2)]);
        let holdings = Holdings {
            standing: vec![(two.content, 2)],
            ..Holdings::default()
        };
        env.say("a", FromWorker::Holds(holdings));
        let reply = ahead(&mut env, "f", 2);
        assert!(matches!(reply, Reply::Warm { ready: 2, .. }));
        let cluster = env.machine.cluster();
        assert_eq!((cluster.instances_kept, cluster.instances_ready), (2, 2));
        env.advance(AHEAD_MS + 1);
        assert_eq!(kept(&env, "a"), [], "nobody came back to it");
        assert!(matches!(ahead(&mut env, "f", 9), Reply::Refused(_)));
    }

    #[test]
    fn so_many_are_kept_and_made_ready_ahead_and_no_more() {
        let mut env = Env::new();
        python(&mut env, "a", 1);
        for number in 0..=limit::VERSIONS_KEPT_MAX {
            publish(&mut env, &format!("f{number}"), &format!("{number}"), 1);
        }
        let all = kept(&env, "a");
        assert_eq!(all.len(), limit::VERSIONS_KEPT_MAX);
        assert!(all.iter().all(|(id, _)| *id > 1), "the oldest is left out");
    }
}
