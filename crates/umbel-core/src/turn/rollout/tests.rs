use super::super::testing::rollout::wish;
use super::super::testing::route::wish as route_wish;
use super::super::testing::{Env, failed};
use super::*;
use crate::function::Runtime;
use crate::id::{Index, JobId};
use crate::job::JobState;
use crate::outcome::FailureKind;

/// Two versions of `f`, whose `live` points at the first, and a worker.
fn two() -> Env {
    let mut env = Env::new();
    for content in ["one", "two"] {
        env.publish("f", content, Runtime::Python);
    }
    env.point("f", "live", 1);
    env.worker_with("a", 8, |worker| worker.can([Runtime::Python]));
    env
}

const RATE: &str = "failure_rate<=+1%";

fn weights(env: &Env) -> Vec<(String, u16)> {
    let plan = env.alias("f", "live").route.plan;
    let split = plan.and_then(|plan| plan.split.clone());
    let arms = split.into_iter().flat_map(|split| split.arms);
    arms.map(|arm| (arm.name.clone(), arm.weight())).collect()
}

fn is_running(job: JobId) -> impl Fn(&Env) -> bool {
    move |env| env.state(job) == JobState::Running
}

fn nothing(_: u32, _: Index) -> bool {
    false
}

fn kinds(env: &Env) -> Vec<&'static str> {
    let moves = env.alias("f", "live").moves.into_iter();
    moves.map(|one| one.kind.as_str()).skip(3).collect()
}

#[test]
fn a_version_that_holds_goes_step_by_step_and_replaces_the_old_one() {
    let mut env = two();
    let view = env.start_rollout(wish(2, &[1, 50, 75, 100], RATE, 20));
    assert_eq!(view.waiting, Some(Waiting::Invocations));
    let of = |new, base, old| {
        let arms = [("2", new), ("baseline", base), ("1", old)];
        arms.map(|(name, weight)| (name.to_owned(), weight))
            .to_vec()
    };
    assert_eq!(weights(&env), of(100, 100, 9_800));
    let job = env.submit_to("f", 100_000);
    let step = |step| move |env: &Env| env.rollout().rollout.step < step;
    env.run_while("a", &nothing, &step(1));
    assert_eq!(weights(&env), of(5_000, 5_000, 0), "as large as can be");
    env.run_while("a", &nothing, &step(2));
    assert_eq!(
        weights(&env),
        of(7_500, 2_500, 0),
        "the rest is what it is compared with"
    );
    env.run_while("a", &nothing, &is_running(job));
    let view = env.rollout();
    assert_eq!(view.rollout.state, RolloutState::Promoted);
    assert_eq!((view.waiting, view.rollout.share()), (None, WHOLE));
    let alias = env.alias("f", "live");
    assert_eq!((alias.route.to, alias.route.plan), (2, None));
    assert_eq!(
        kinds(&env),
        [
            "rollout_started",
            "rollout_stepped",
            "rollout_stepped",
            "promoted"
        ]
    );
    assert_eq!(env.counts(job).succeeded, 100_000);
    env.restart();
    assert_eq!(env.rollout().rollout, view.rollout);
    assert_eq!(
        env.roll_back("f", "live"),
        Ok(1),
        "one step back is before it began"
    );
}

#[test]
fn a_bad_version_is_taken_back_in_the_middle_of_a_job_and_leaves_no_failed_result() {
    let mut env = two();
    let before = env.alias("f", "live").route;
    env.start_rollout(wish(2, &[10, 100], RATE, 50));
    let job = env.submit_to("f", 20_000);
    let bad = |version, index: Index| version == 2 && index.is_multiple_of(4);
    let advancing = |env: &Env| env.rollout().rollout.state == RolloutState::Advancing;
    env.run_while("a", &bad, &advancing);
    let view = env.rollout();
    assert_eq!(view.rollout.state, RolloutState::RolledBack);
    assert!(
        view.rollout.why.starts_with("failure_rate<=+1%: "),
        "{}",
        view.rollout.why
    );
    assert!(view.rollout.last_failure.contains("ValueError"));
    assert_eq!(
        env.state(job),
        JobState::Running,
        "in the middle of the job"
    );
    assert_eq!(env.alias("f", "live").route, before);
    env.run_while("a", &bad, &is_running(job));
    assert_eq!(env.state(job), JobState::Succeeded);
    assert_eq!(
        (env.counts(job).succeeded, env.counts(job).failed),
        (20_000, 0)
    );
    let arms = env.disk.arms_of(job);
    let marked = arms.iter().filter(|arm| *arm == "2").count();
    assert!(marked > 0, "what succeeded there stays, and bears its arm");
    assert!(view.compared.candidate.failures() > 0);
}

/// Lets invocations of a bad version fail until one has a refuge; gives it.
fn exhaust(env: &mut Env) -> (JobId, Index) {
    env.start_rollout(wish(2, &[50, 100], "", 1_000_000));
    let job = env.submit_to("f", 10);
    for _ in 0..40 {
        env.run_once("a", &|version, _| version == 2, &|_| true);
        if let Some(found) = (0..10).find(|index| is_in_refuge(env, job, *index)) {
            return (job, found);
        }
        env.advance(500);
    }
    panic!("nothing was exhausted");
}

fn is_in_refuge(env: &Env, job: JobId, index: Index) -> bool {
    let leases = env.open("a").into_iter();
    let mut held = leases.filter(|(_, indices)| indices.contains(index));
    let head = held
        .next()
        .map(|(lease, _)| env.workers["a"].held[&lease].head.clone());
    let arms = env.disk.leases.values();
    let mut arms = arms.filter(|lease| lease.job == job && lease.indices.contains(index));
    head.is_some_and(|head| head.attempt == 1)
        && arms.any(|lease| lease.arm == Some(env.rollout().rollout.stable))
        && env.rollout().compared.candidate.failures() > 0
}

#[test]
fn what_exhausts_its_attempts_runs_on_the_old_version_with_attempts_of_its_own() {
    let mut env = two();
    let (job, _) = exhaust(&mut env);
    assert_eq!(env.counts(job).failed, 0);
    let failures = env.rollout().compared.candidate.failures();
    env.restart();
    env.connect("a");
    assert_eq!(env.rollout().compared.candidate.failures(), failures);
    env.run_while("a", &|version, _| version == 2, &is_running(job));
    assert_eq!(env.state(job), JobState::Succeeded);
    let view = env.rollout();
    let arms = env.disk.arms_of(job);
    let refuged = arms.iter().filter(|arm| *arm == "1").count() as u64;
    assert_eq!(
        view.compared.candidate.failures(),
        refuged,
        "each counts against it"
    );
    assert!(!arms.contains(&"2".to_owned()));
}

#[test]
fn what_fails_on_the_old_version_too_is_final() {
    let mut env = two();
    env.start_rollout(wish(2, &[50, 100], RATE, 1_000_000));
    let job = env.submit_to("f", 40);
    env.run_while("a", &|_, index| index < 10, &is_running(job));
    assert_eq!(env.counts(job).failed, 10);
    assert_eq!(env.view(job).status.state, JobState::Failed);
}

#[test]
fn what_was_not_begun_comes_back_and_what_waits_out_a_backoff_moves() {
    let mut env = two();
    env.start_rollout(wish(2, &[50, 100], "", 1_000_000));
    let job = env.submit_to("f", 8_000);
    // Fast work is held in large chunks.
    for _ in 0..6 {
        env.run_once(
            "a",
            &|version, index| version == 2 && index % 9 == 0,
            &|_| true,
        );
    }
    let candidate = env.rollout().rollout.candidate;
    let leased = |env: &Env| {
        env.disk
            .leases
            .values()
            .filter(|l| l.arm == Some(candidate))
            .count()
    };
    assert!(leased(&env) > 0 && env.rollout().failing > 0);
    env.move_rollout(RolloutMove::RollBack).unwrap();
    assert!(
        !env.workers["a"].asked.is_empty(),
        "what has not begun is asked for"
    );
    env.give_back("a");
    assert_eq!(leased(&env), 0);
    env.restart();
    env.connect("a");
    env.run_while("a", &|version, _| version == 2, &is_running(job));
    assert_eq!(
        env.state(job),
        JobState::Succeeded,
        "nothing ran on it any more"
    );
}

#[test]
fn a_worker_that_is_lost_alone_on_a_new_version_counts_against_it() {
    let mut env = two();
    env.start_rollout(wish(2, &[50, 100], "", 1_000_000));
    let mut job = env.submit_to("f", 1);
    for at in 0..10 {
        let version = env.workers["a"].held.values().last().unwrap().head.version;
        if env.machine.version(version.unwrap()).unwrap().number == 2 {
            break;
        }
        env.run_while("a", &nothing, &is_running(job));
        assert!(at < 9, "some job goes to the new version");
        // Another index for each, since the bucket follows it.
        job = env.submit(1, |proposal| {
            proposal.spec.target = Target::Function("f".to_owned());
            proposal.source = crate::job::Source::Range {
                begin: 0,
                count: 2 + at,
            };
        });
    }
    let running = is_running(job);
    let mut names = vec!["a".to_owned()];
    for at in 0..8 {
        let name = names.last().unwrap().clone();
        if !running(&env) || env.rollout().compared.candidate.failures() > 0 {
            break;
        }
        env.kill(&name);
        let name = format!("b{at}");
        env.worker_with(&name, 1, |worker| worker.can([Runtime::Python]));
        names.push(name);
    }
    assert!(env.rollout().compared.candidate.failures() > 0);
    let name = names.last().unwrap().clone();
    env.run_while(&name, &nothing, &is_running(job));
    assert_eq!(env.state(job), JobState::Succeeded);
}

#[test]
fn a_rollout_stays_where_it_is_without_enough_and_never_fails_for_it() {
    let mut env = two();
    env.start_rollout(wish(2, &[50, 100], "failure_rate<=+0.5%", 10));
    let job = env.submit_to("f", 200);
    env.run_while("a", &nothing, &is_running(job));
    env.advance(5_000);
    let view = env.rollout();
    assert_eq!(view.rollout.state, RolloutState::Advancing);
    assert!(view.ended.0 >= 10 && view.ended.1 >= 10, "{:?}", view.ended);
    assert_eq!(view.judgements, [Judgement::Undecided]);
    assert_eq!(view.waiting, Some(Waiting::Guards));
}

#[test]
fn a_step_takes_its_time() {
    let mut env = two();
    let mut baked = wish(2, &[50, 100], "", 10);
    baked.plan.bake_ms = 60_000;
    env.start_rollout(baked);
    let job = env.submit_to("f", 100);
    env.run_while("a", &nothing, &is_running(job));
    let waiting = env.rollout().waiting;
    assert!(matches!(waiting, Some(Waiting::Bake { .. })), "{waiting:?}");
    env.restart();
    assert_eq!(env.rollout().waiting, waiting);
    env.advance(61_000);
    assert_eq!(env.rollout().rollout.state, RolloutState::Promoted);
}

#[test]
fn somebody_may_pause_resume_promote_and_roll_back() {
    let mut env = two();
    assert!(matches!(
        env.move_rollout(RolloutMove::Pause),
        Err(Refusal::NoRollout { .. })
    ));
    env.start_rollout(wish(2, &[50, 100], "", 10));
    env.move_rollout(RolloutMove::Pause).unwrap();
    let job = env.submit_to("f", 1_000);
    env.run_while("a", &nothing, &is_running(job));
    env.restart();
    let view = env.rollout();
    assert_eq!(view.rollout.state, RolloutState::Paused);
    assert_eq!(view.waiting, Some(Waiting::Resumed));
    env.move_rollout(RolloutMove::Resume).unwrap();
    assert_eq!(
        env.rollout().rollout.state,
        RolloutState::Promoted,
        "it waited for no more"
    );
    let over = env.move_rollout(RolloutMove::RollBack).unwrap_err();
    assert!(matches!(over, Refusal::RolloutOver { .. }), "{over}");
    env.point("f", "live", 1);
    env.start_rollout(wish(2, &[50, 100], RATE, 10));
    env.move_rollout(RolloutMove::Promote).unwrap();
    env.move_rollout(RolloutMove::Promote).unwrap();
    assert_eq!(env.live("f"), 2);
    env.point("f", "live", 1);
    env.start_rollout(wish(2, &[50, 100], RATE, 10));
    assert_eq!(
        env.roll_back("f", "live"),
        Ok(1),
        "the alias's own rollback takes it back"
    );
    assert_eq!(env.rollout().rollout.state, RolloutState::RolledBack);
}

#[test]
fn a_paused_rollout_is_guarded_still() {
    let mut env = two();
    env.start_rollout(wish(2, &[50, 100], RATE, 10));
    env.move_rollout(RolloutMove::Pause).unwrap();
    let job = env.submit_to("f", 1_000);
    env.run_while("a", &|version, _| version == 2, &is_running(job));
    assert_eq!(env.rollout().rollout.state, RolloutState::RolledBack);
    assert_eq!(env.state(job), JobState::Succeeded);
}

#[test]
fn nothing_else_moves_an_alias_meanwhile() {
    let mut env = two();
    env.start_rollout(wish(2, &[50, 100], RATE, 10));
    let route = env.alias("f", "live").route;
    let under_way = |refusal: Refusal| matches!(refusal, Refusal::RolloutUnderWay { .. });
    assert!(under_way(env.try_point("f", "live", 2).unwrap_err()));
    let wish_2 = route_wish(("f", "live"), &[], &[]);
    assert!(under_way(env.try_set_route(wish_2).unwrap_err()));
    assert!(under_way(
        env.try_start_rollout(wish(2, &[100], "", 1)).unwrap_err()
    ));
    env.publish("f", "three", Runtime::Python);
    assert_eq!(
        env.alias("f", "live").route,
        route,
        "a new version does not come in"
    );
    for number in [1, 2] {
        assert!(
            env.try_delete("f", Some(number)).is_err(),
            "both are needed"
        );
    }
    env.delete("f", None);
    env.settle();
    assert!(env.disk.rollouts.is_empty(), "it goes with its function");
    env.restart();
}

#[test]
fn only_what_the_old_version_has_is_shared_and_rules_and_other_arms_stay() {
    let mut env = two();
    env.publish("f", "three", Runtime::Python);
    let version = |number| Target::Version("f".to_owned(), Qualifier::Version(number));
    let rules = [("index < 10", version(2))];
    let split = [(version(1), 9_000), (version(2), 1_000)];
    env.set_route(route_wish(("f", "live"), &rules, &split));
    let before = env.alias("f", "live").route;
    env.start_rollout(wish(3, &[10, 100], RATE, 10));
    let named = |arms: &[(&str, u16)]| -> Vec<(String, u16)> {
        arms.iter()
            .map(|(name, weight)| ((*name).to_owned(), *weight))
            .collect()
    };
    let during = named(&[("2", 1_000), ("3", 900), ("baseline", 900), ("1", 7_200)]);
    assert_eq!(weights(&env), during);
    env.move_rollout(RolloutMove::RollBack).unwrap();
    assert_eq!(env.alias("f", "live").route, before);
    env.start_rollout(wish(3, &[10, 100], RATE, 10));
    env.move_rollout(RolloutMove::Promote).unwrap();
    assert_eq!(weights(&env), named(&[("2", 1_000), ("3", 9_000)]));
    let route = env.alias("f", "live").route;
    assert_eq!((route.to, route.plan.unwrap().rules.len()), (3, 1));
}

#[test]
fn a_version_that_live_went_along_with_is_rolled_out_from_the_one_before() {
    let mut env = two();
    env.point("f", "live", 2);
    env.publish("f", "three", Runtime::Python);
    assert_eq!(env.live("f"), 3);
    let mut from = wish(3, &[50, 100], RATE, 10);
    from.from = Some(2);
    env.start_rollout(from.clone());
    assert_eq!(env.live("f"), 2);
    env.move_rollout(RolloutMove::RollBack).unwrap();
    assert_eq!((env.live("f"), weights(&env)), (2, Vec::new()));
    from.from = None;
    env.start_rollout(from);
    env.move_rollout(RolloutMove::Promote).unwrap();
    env.publish("f", "four", Runtime::Python);
    assert_eq!(env.live("f"), 3, "the next one is rolled out too");
}

#[test]
fn what_cannot_be_rolled_out_is_refused_with_the_way_out() {
    let mut env = two();
    let version = |number| Target::Version("f".to_owned(), Qualifier::Version(number));
    let why =
        |env: &mut Env, wish: RolloutWish| env.try_start_rollout(wish).unwrap_err().to_string();
    let plain = |to| wish(to, &[50, 100], RATE, 10);
    assert!(why(&mut env, plain(9)).contains("has no version 9"));
    assert!(why(&mut env, plain(1)).contains("leads to that version already"));
    let mut other = plain(2);
    other.alias = "canary".to_owned();
    assert!(why(&mut env, other).contains("canary"));
    env.publish("f", "three", Runtime::Python);
    let mut from = plain(3);
    from.from = Some(2);
    assert!(why(&mut env, from).contains("leads to version 1"));
    let split = [(version(1), 9_000), (version(2), 1_000)];
    env.set_route(route_wish(("f", "live"), &[], &split));
    assert!(why(&mut env, plain(2)).contains("has an arm \"2\""));
    let mut key = plain(3);
    key.key = Some(crate::route::Key::Label("user".to_owned()));
    assert!(why(&mut env, key).contains("another routing key"));
    env.publish("f", "four", Runtime::Python);
    let mut from = plain(3);
    from.from = Some(4);
    assert!(why(&mut env, from).contains("sends nothing to version 4"));
}

#[test]
fn a_job_that_tolerates_no_failure_outlives_a_bad_version() {
    let mut env = two();
    env.start_rollout(wish(2, &[20, 100], RATE, 50));
    let job = env.submit(5_000, |proposal| {
        proposal.spec.target = Target::Function("f".to_owned());
        proposal.spec.policy.tolerate = Some(crate::policy::Tolerance::Count(0));
        proposal.spec.policy.max_attempts = 1;
    });
    env.run_while("a", &|version, _| version == 2, &is_running(job));
    assert_eq!(env.state(job), JobState::Succeeded);
    assert_eq!(env.rollout().rollout.state, RolloutState::RolledBack);
}

#[test]
fn the_decision_is_the_same_after_a_crash() {
    let stories = [false, true].map(|crashes| {
        let mut env = two();
        env.start_rollout(wish(2, &[10, 100], RATE, 50));
        env.submit_to("f", 20_000);
        let bad = |version, index: Index| version == 2 && index.is_multiple_of(20);
        let mut story = Vec::new();
        for _ in 0..200 {
            env.run_once("a", &bad, &|env| !env.rollout().rollout.state.is_over());
            if crashes {
                env.restart();
                env.connect("a");
            }
            let view = env.rollout();
            story.push((view.rollout.state, view.compared.candidate.finished() > 0));
            if view.rollout.state.is_over() {
                break;
            }
            env.advance(500);
        }
        let view = env.rollout();
        assert_eq!(view.rollout.state, RolloutState::RolledBack);
        let before = env.rollout();
        env.restart();
        assert_eq!(env.rollout(), before, "all that it was judged by is there");
        view.rollout.state
    });
    assert_eq!(stories[0], stories[1]);
}

#[test]
fn an_invoke_that_fails_on_a_new_version_is_answered_by_the_old_one() {
    let mut env = two();
    env.start_rollout(wish(2, &[50, 100], RATE, 1_000_000));
    let rollout = env.rollout().rollout;
    let routing = env
        .machine
        .routing(&Target::Function("f".to_owned()))
        .unwrap()
        .unwrap();
    let new = env.machine.function("f", None, 9).unwrap().versions;
    let new = new
        .iter()
        .find(|view| view.version.number == 2)
        .unwrap()
        .version
        .id;
    let decision = crate::route::Decision {
        arm: Some(rollout.candidate),
        version: new,
    };
    let (to, id) = (ReplyId(env.next()), crate::id::InvokeId(9));
    env.turn([crate::event::Event::Invoke {
        reply: to,
        id,
        target: Target::Function("f".to_owned()),
        input: bytes::Bytes::new(),
        timeout_ms: 10_000,
        decided: Some((routing.revision, decision)),
    }]);
    let done = |outcome| {
        crate::message::FromWorker::InvokeDone(crate::message::InvokeDone {
            id,
            outcome,
            duration_us: 40,
            cpu_us: None,
            cold_start: None,
        })
    };
    let ran = |env: &Env| env.workers["a"].invokes.last().unwrap().version;
    assert_eq!(ran(&env), Some(new));
    env.say("a", done(Err(failed(0, FailureKind::Function).failure)));
    assert_eq!(env.answer(to), None, "it is not answered yet");
    assert_eq!(ran(&env), Some(rollout.stable_version));
    env.say("a", done(Ok(bytes::Bytes::from_static(b"old"))));
    let Some(Reply::Invoked {
        outcome,
        version,
        arm,
        ..
    }) = env.answer(to)
    else {
        panic!("it is answered");
    };
    assert_eq!(
        (outcome.unwrap().as_ref(), version, arm.as_deref()),
        (&b"old"[..], Some(1), Some("1"))
    );
    assert_eq!(env.rollout().compared.candidate.failures(), 1);
}
