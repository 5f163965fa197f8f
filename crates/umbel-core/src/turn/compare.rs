//! The arms of an alias side by side.

use super::step::route;
use crate::arm::ArmFigures;
use crate::command::Refusal;
use crate::tables::Tables;
use crate::tables::arms::cell_of;
use crate::view::{ArmView, ExperimentView};

/// The figures of an alias's arms over the same time: since a time, as far as the grid of cells
/// has it, else since the alias moved the last time.
pub(crate) fn experiment(
    t: &Tables,
    function: &str,
    alias: &str,
    (since_ms, until_ms): (Option<u64>, u64),
) -> Result<ExperimentView, Refusal> {
    let Some(published) = t.functions.find(function) else {
        return Err(route::unpublished(t, function));
    };
    let Some(known) = published.aliases.get(alias) else {
        return Err(route::unknown_alias(t, function, alias));
    };
    let plan = known.route.plan.as_deref();
    let split = plan.and_then(|plan| plan.split.as_ref());
    let Some((plan, split)) = plan.zip(split).filter(|(_, split)| split.arms.len() > 1) else {
        return Err(Refusal::NoExperiment {
            alias: format!("{function}@{alias}"),
        });
    };
    let moved_ms = known.moves.last().map_or(0, |last| last.at_ms);
    let since_ms = since_ms.map(|since_ms| cell_of(since_ms, until_ms));
    let figures = |arm| -> ArmFigures {
        match since_ms {
            Some(since_ms) => t.arms.since(arm, since_ms),
            None => t.arms.since_move(arm),
        }
    };
    let arms = split.arms.iter().map(|arm| ArmView {
        id: arm.id,
        name: arm.name.clone(),
        target: arm.target.clone(),
        weight: Some(arm.weight()),
        figures: figures(arm.id),
    });
    let rules = plan.rules.iter().map(|rule| ArmView {
        id: rule.arm,
        name: rule.name.clone(),
        target: rule.target.clone(),
        weight: None,
        figures: figures(rule.arm),
    });
    Ok(ExperimentView {
        function: function.to_owned(),
        alias: alias.to_owned(),
        key: split.key.clone(),
        moved_ms,
        since_ms: since_ms.unwrap_or(moved_ms),
        until_ms,
        arms: arms.chain(rules).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::route::{bucket, decide, wish};
    use super::super::testing::{Env, failed};
    use super::*;
    use crate::event::Event;
    use crate::function::{Qualifier, Runtime};
    use crate::id::{InvokeId, ReplyId};
    use crate::job::{JobState, Target};
    use crate::message::{Begun, FromWorker, InvokeDone};
    use crate::outcome::FailureKind;
    use crate::ranges::Ranges;

    fn version(number: u32) -> Target {
        Target::Version("f".to_owned(), Qualifier::Version(number))
    }

    /// `f` has two versions, each with half of the inputs; `a` runs them.
    fn halves() -> Env {
        let mut env = Env::new();
        for content in ["one", "two"] {
            env.publish("f", content, Runtime::Python);
        }
        env.worker_with("a", 4, |worker| worker.can([Runtime::Python]));
        env.set_route(split(5_000));
        env
    }

    fn split(first: u16) -> crate::route::RouteWish {
        let arms = [(version(1), first), (version(2), 10_000 - first)];
        wish(("f", "live"), &[], &arms)
    }

    fn look(env: &Env, since_ms: Option<u64>) -> Vec<ArmFigures> {
        let view = env.machine.experiment(env.now, ("f", "live"), since_ms);
        let arms = view.unwrap().arms.into_iter();
        arms.map(|arm| arm.figures).collect()
    }

    /// Works off all that there is; on the second arm everything fails.
    fn work_off(env: &mut Env) {
        while let Some((lease, open)) = env.open("a").pop() {
            let first = open.first().unwrap();
            if bucket(first) < 5_000 {
                env.report("a", lease, (open, Vec::new()), 1_000);
            } else {
                let wrong = open.indices();
                let wrong = wrong.map(|index| failed(index, FailureKind::Function));
                env.report("a", lease, (Ranges::new(), wrong.collect()), 9_000);
            }
        }
    }

    #[test]
    fn what_comes_back_unrun_is_counted_once_where_it_was_sent() {
        let mut env = halves();
        let job = env.submit_to("f", 100);
        assert!(env.open_len("a") > 0);
        // The grants were lost on their way.
        env.cut("a");
        env.workers.get_mut("a").unwrap().open.clear();
        env.connect("a");
        env.work_off();
        assert_eq!(env.state(job), JobState::Succeeded);
        for arm in look(&env, None) {
            assert_eq!(arm.routed, arm.succeeded);
        }
    }

    #[test]
    fn arms_are_counted_apart_and_the_same_after_a_restart() {
        let mut env = halves();
        let job = env.submit_to("f", 100);
        env.turn([]);
        let second = (0..100).filter(|index| bucket(*index) >= 5_000).count() as u64;
        while env.state(job) == JobState::Running {
            work_off(&mut env);
            env.advance(60_000);
        }
        let figures = look(&env, None);
        let [one, two] = &figures[..] else {
            panic!("two arms")
        };
        assert_eq!((one.routed, two.routed), (100 - second, second));
        assert_eq!((one.succeeded, one.failures()), (100 - second, 0));
        assert_eq!((two.succeeded, two.failures()), (0, second));
        assert_eq!(two.failed_of(FailureKind::Function), second);
        assert_eq!(two.usage.attempts, 3 * second, "each was tried three times");
        assert_eq!(two.usage.duration_us, 3 * second * 9_000);
        assert_eq!(two.warm.count(), 3 * second);
        let p50 = one.warm.percentile_us(50).unwrap();
        assert!(p50.abs_diff(1_000) < 70);
        assert_eq!(look(&env, Some(0)), figures, "there was nothing before");

        env.restart();
        assert_eq!(look(&env, None), figures);
        assert_eq!(look(&env, Some(0)), figures);
    }

    #[test]
    fn a_move_of_the_alias_begins_a_new_comparison() {
        let mut env = halves();
        env.submit_to("f", 40);
        while env.open_len("a") > 0 {
            work_off(&mut env);
            env.advance(60_000);
        }
        let before = look(&env, Some(0));
        env.set_route(split(6_000));
        let fresh = look(&env, None);
        assert!(fresh.iter().all(ArmFigures::is_empty), "{fresh:?}");
        env.restart();
        assert_eq!(look(&env, None), fresh);
        assert_eq!(look(&env, Some(0)), before);
        let view = env
            .machine
            .experiment(env.now, ("f", "live"), None)
            .unwrap();
        assert_eq!(
            (view.since_ms, view.arms[0].weight),
            (view.moved_ms, Some(6_000))
        );
    }

    #[test]
    fn what_a_lost_worker_ended_counts_against_its_arm() {
        let mut env = halves();
        env.submit(40, |proposal| {
            proposal.spec.target = Target::Function("f".to_owned());
            proposal.spec.policy.no_retry_on.insert("lost".to_owned());
        });
        let (lease, open) = env.open("a").remove(0);
        let arm = usize::from(bucket(open.first().unwrap()) >= 5_000);
        let begun = vec![Begun { lease, count: 2 }];
        env.say("a", FromWorker::Heartbeat(begun));
        env.kill("a");
        assert_eq!(look(&env, None)[arm].failed_of(FailureKind::Lost), 2);
    }

    #[test]
    fn what_somebody_waits_for_counts_too_and_is_written_a_while_later() {
        let mut env = halves();
        let routing = env.machine.routing(&Target::Function("f".to_owned()));
        let routing = routing.unwrap().unwrap();
        let decision = decide(&routing, 0);
        env.turn([Event::Invoke {
            reply: ReplyId(900),
            id: InvokeId(900),
            target: Target::Function("f".to_owned()),
            input: bytes::Bytes::new(),
            timeout_ms: 2_000,
            decided: Some((routing.revision, decision)),
        }]);
        env.say(
            "a",
            FromWorker::InvokeDone(InvokeDone {
                id: InvokeId(900),
                outcome: Ok(bytes::Bytes::new()),
                duration_us: 7,
                cpu_us: Some(5),
                cold_start: None,
            }),
        );
        let counted = look(&env, None).remove(0);
        assert_eq!((counted.routed, counted.succeeded), (1, 1));
        assert_eq!((counted.usage.cpu_us, counted.warm.count()), (5, 1));
        env.advance(2_000);
        env.restart();
        assert_eq!(look(&env, None)[0], counted);
    }

    #[test]
    fn an_alias_without_a_split_is_no_experiment_and_figures_go_with_their_function() {
        let mut env = halves();
        let job = env.submit_to("f", 40);
        work_off(&mut env);
        assert!(!env.disk.arm_cells.is_empty());
        env.point("f", "live", 2);
        let ask = |env: &Env, name: (&str, &str)| {
            env.machine.experiment(env.now, name, None).unwrap_err()
        };
        let refusal = ask(&env, ("f", "live"));
        assert!(matches!(refusal, Refusal::NoExperiment { .. }), "{refusal}");
        let refusal = ask(&env, ("f", "none"));
        assert!(matches!(refusal, Refusal::UnknownAlias { .. }), "{refusal}");
        env.ask(|reply| Event::Cancel { reply, job });
        env.delete("f", None);
        env.settle();
        assert!(env.disk.arm_cells.is_empty() && env.disk.arm_marks.is_empty());
        let refusal = ask(&env, ("f", "live"));
        assert!(
            matches!(refusal, Refusal::UnknownFunction { .. }),
            "{refusal}"
        );
    }
}
