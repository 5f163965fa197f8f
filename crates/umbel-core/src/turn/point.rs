//! An alias is pointed at a version, or rolled back.

use super::step::{self, Out, alias, rollout, route};
use crate::command::{Refusal, Reply};
use crate::function::{LIVE, MoveKind};
use crate::id::ReplyId;
use crate::limit;
use crate::rollout::RolloutState;
use crate::route::{Plan, Route};
use crate::tables::Tables;

/// What a client asks about an alias.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) function: String,
    pub(crate) alias: String,
    pub(crate) by: String,
}

pub(crate) fn point(t: &mut Tables, out: &mut Out, to: ReplyId, wish: Wish, number: u32) {
    if let Err(refusal) = judge(t, &wish, number) {
        return step::refuse(out, to, refusal);
    }
    let at = t.functions.find(&wish.function);
    let at = at.and_then(|function| function.aliases.get(&wish.alias));
    let newest = t.functions.newest(&wish.function) == Some(number);
    // Rules stay; a split ends, since one version is named for all that it shared out.
    let plan = at.and_then(|at| at.route.plan.as_deref().cloned());
    let route = Route {
        to: number,
        plan: plan.and_then(|plan| {
            alias::planned(Plan {
                split: None,
                ..plan
            })
        }),
    };
    // Said twice is said once.
    if at.is_none_or(|at| at.route != route || at.follows != (newest && at.name == LIVE)) {
        let step = alias::Step {
            kind: MoveKind::Pointed,
            to: route,
            by: wish.by,
        };
        alias::move_to(t, out, &wish.function, &wish.alias, step);
    }
    reply(t, out, to, &wish.function, &wish.alias);
}

fn judge(t: &Tables, wish: &Wish, number: u32) -> Result<(), Refusal> {
    let function = t.functions.find(&wish.function);
    let Some(function) = function else {
        return Err(route::unpublished(t, &wish.function));
    };
    rollout::judge_still(t, &wish.function, &wish.alias)?;
    route::version(t, &wish.function, number)?;
    let is_new = !function.aliases.contains_key(&wish.alias);
    if is_new && function.aliases.len() >= limit::FUNCTION_ALIASES_MAX {
        return Err(Refusal::TooManyAliases {
            function: wish.function.clone(),
            limit: limit::FUNCTION_ALIASES_MAX as u64,
        });
    }
    Ok(())
}

pub(crate) fn roll_back(t: &mut Tables, out: &mut Out, to: ReplyId, wish: Wish) {
    let Some(function) = t.functions.find(&wish.function) else {
        let refusal = route::unpublished(t, &wish.function);
        return step::refuse(out, to, refusal);
    };
    let Some(known) = function.aliases.get(&wish.alias) else {
        let refusal = route::unknown_alias(t, &wish.function, &wish.alias);
        return step::refuse(out, to, refusal);
    };
    let mut known = known.clone();
    // What is being rolled out is taken back as a whole.
    if let Some(rollout) = t.rollouts.open(&wish.function, &wish.alias).cloned() {
        let why = "the alias was rolled back".to_owned();
        let verdict = (RolloutState::RolledBack, wish.by, why);
        rollout::end(t, out, rollout, verdict);
        return reply(t, out, to, &wish.function, &wish.alias);
    }
    let back = loop {
        match known.trail.pop() {
            // What was retired since is passed over.
            Some(to) if route::judge(t, &wish.function, &wish.alias, &to).is_err() => {}
            Some(to) if to == known.route => {}
            back => break back,
        }
    };
    let Some(route) = back else {
        let refusal = Refusal::NothingToRollBack {
            function: wish.function,
            alias: wish.alias,
        };
        return step::refuse(out, to, refusal);
    };
    t.functions.put_alias(known);
    let step = alias::Step {
        kind: MoveKind::RolledBack,
        to: route,
        by: wish.by,
    };
    alias::move_to(t, out, &wish.function, &wish.alias, step);
    reply(t, out, to, &wish.function, &wish.alias);
}

fn reply(t: &Tables, out: &mut Out, to: ReplyId, function: &str, alias: &str) {
    let function = t.functions.find(function);
    if let Some(alias) = function.and_then(|function| function.aliases.get(alias)) {
        step::reply(out, to, Reply::Alias(Box::new(alias.clone())));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Env, failed, run};
    use super::*;
    use crate::function::Runtime;
    use crate::job::JobState;
    use crate::outcome::FailureKind;

    #[test]
    fn live_follows_the_newest_unless_it_was_pointed_elsewhere() {
        let mut env = Env::with_three_versions();
        env.point("f", "live", 1);
        env.publish("f", "four", Runtime::Python);
        assert_eq!(env.live("f"), 1, "it was pointed elsewhere");
        env.point("f", "live", 4);
        env.publish("f", "five", Runtime::Python);
        assert_eq!(env.live("f"), 5, "it stood at the newest and follows again");
    }

    #[test]
    fn a_rollback_goes_one_step_back_each_time_and_outlives_a_restart() {
        let mut env = Env::with_three_versions();
        env.point("f", "canary", 3);
        env.restart();
        assert_eq!(env.roll_back("f", "live"), Ok(2));
        env.restart();
        assert_eq!(env.roll_back("f", "live"), Ok(1));
        let nothing = Refusal::NothingToRollBack {
            function: "f".to_owned(),
            alias: "live".to_owned(),
        };
        assert_eq!(env.roll_back("f", "live"), Err(nothing));
        env.publish("f", "four", Runtime::Python);
        assert_eq!(
            env.live("f"),
            1,
            "a rollback is not undone by a publication"
        );
        let alias = env.alias("f", "live");
        let moves: Vec<_> = alias.moves.iter().map(|one| (one.from, one.to)).collect();
        let expected = [
            (None, 1),
            (Some(1), 2),
            (Some(2), 3),
            (Some(3), 2),
            (Some(2), 1),
        ];
        assert_eq!(moves, expected);
        assert_eq!(alias.moves[3].kind, MoveKind::RolledBack);
        assert_eq!(alias.moves[3].by, "me@desk");
    }

    #[test]
    fn what_is_not_there_is_refused_by_name() {
        let mut env = Env::with_three_versions();
        env.worker("a", 1);
        for (function, alias, number, reason) in [
            ("g", "live", 1, "no function is named \"g\""),
            ("umbel.echo", "live", 1, "is brought by workers"),
            (
                "f",
                "live",
                9,
                "has no version 9 that takes jobs; the newest is 3",
            ),
        ] {
            let refusal = env.try_point(function, alias, number).unwrap_err();
            assert!(refusal.to_string().contains(reason), "{refusal}");
        }
        let refusal = env.roll_back("f", "canary").unwrap_err();
        assert!(refusal.to_string().contains("it has live"), "{refusal}");
    }

    #[test]
    fn moves_and_trail_are_bounded() {
        let mut env = Env::with_three_versions();
        for round in 0..3 * limit::ALIAS_MOVES_MAX {
            env.point("f", "live", 1 + u32::try_from(round % 2).unwrap());
        }
        let alias = env.alias("f", "live");
        assert_eq!(alias.moves.len(), limit::ALIAS_MOVES_MAX);
        assert_eq!(alias.trail.len(), limit::ALIAS_TRAIL_MAX);
    }

    #[test]
    fn an_alias_is_resolved_when_a_chunk_is_cut_and_retries_keep_it() {
        let mut env = Env::new();
        env.publish("f", "one", Runtime::Python);
        env.worker_with("a", 4, |worker| worker.can([Runtime::Python]));
        let job = env.submit_to("f", 10);
        let pinned = env.submit(10, |proposal| {
            proposal.spec.target = crate::job::Target::Function("f".to_owned());
            proposal.spec.policy.pin = true;
        });
        let (lease, _) = env.open("a").remove(0);
        env.publish("f", "two", Runtime::Python);
        let attempts = vec![failed(1, FailureKind::Function)];
        env.report("a", lease, (run(0..1), attempts), 10_000_000);
        env.restart();
        env.connect("a");
        env.advance(1_000);
        env.work_off();
        assert_eq!(env.state(job), JobState::Succeeded);
        let versions = env.disk.versions_of(job);
        assert_eq!(versions[..4], [Some(1); 4], "the retry kept its version");
        assert_eq!(versions[4..], [Some(2); 6], "what was cut later did not");
        assert_eq!(env.state(pinned), JobState::Succeeded);
        assert_eq!(env.disk.versions_of(pinned), [Some(1); 10]);
    }

    #[test]
    fn a_job_whose_alias_moves_to_another_runtime_finds_other_workers() {
        let mut env = Env::new();
        env.publish("f", "one", Runtime::Python);
        env.worker_with("a", 2, |worker| worker.can([Runtime::Python]));
        env.worker_with("b", 2, |worker| worker.can([Runtime::Node]));
        let job = env.submit_to("f", 20);
        let (lease, indices) = env.open("a").remove(0);
        env.publish("f", "two", Runtime::Node);
        assert_eq!((env.open_len("a"), env.open_len("b")), (2, 2));
        let attempts = indices.indices().map(|i| failed(i, FailureKind::Function));
        env.report("a", lease, (run(0..0), attempts.collect()), 10_000_000);
        env.kill("b");
        env.advance(1_000);
        assert_eq!(
            env.open_len("a"),
            2,
            "the retries are Python's, the rest is not"
        );
        env.report_all("a");
        assert_eq!(env.open_len("a"), 0);
        assert_eq!(env.reasons(job), ["runtime_missing"]);
        env.worker_with("c", 2, |worker| worker.can([Runtime::Node]));
        env.work_off();
        assert_eq!(env.state(job), JobState::Succeeded);
    }
}
