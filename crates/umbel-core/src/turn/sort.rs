//! Routes look into inputs, which the machine does not: a shell is asked to sort some of them,
//! ahead of what is cut, and hands in what it found.

use super::step::{self, Out, arm, route};
use crate::command::{Command, Ignored, Note};
use crate::function::{LIVE, Qualifier};
use crate::id::JobId;
use crate::job::{Source, Target};
use crate::limit;
use crate::message::GrantInputs;
use crate::route::{Column, Sorting};
use crate::tables::Tables;

/// Asks for what the jobs lack that were looked at in this turn.
pub(crate) fn ask(t: &mut Tables, out: &mut Out) {
    for id in std::mem::take(&mut t.marks.unsorted) {
        if let Some(sorting) = next(t, id) {
            out.push(Command::Sort(Box::new(sorting)));
        }
    }
}

/// The next inputs of a job that are to be sorted, if it wants any.
fn next(t: &mut Tables, id: JobId) -> Option<Sorting> {
    let routing = route::routing(t, t.jobs.find(id)?)?.clone();
    let job = t.jobs.find_mut(id)?;
    let source = job.record.source;
    let running = job.running.as_mut()?;
    let mut indices = running.backlog.unsorted()?;
    if source == Source::Blocks {
        let fits = running.fit_bytes(&indices, limit::SORT_BYTES_MAX);
        let _later = indices.split_off(fits);
    }
    running.backlog.ask_sorted(indices.clone());
    let inputs = match source {
        Source::Range { begin, .. } => GrantInputs::Range { begin },
        Source::Blocks => GrantInputs::Blocks(running.blocks_of(&indices)),
    };
    let labels = job.record.spec.labels.clone();
    t.jobs.route(id);
    Some(Sorting {
        job: id,
        routing,
        indices,
        inputs,
        labels,
    })
}

/// What a routing says of some inputs arrives.
pub(crate) fn sorted(t: &mut Tables, out: &mut Out, column: &Column) {
    let job = t.jobs.find_mut(column.job);
    let Some(running) = job.and_then(|job| job.running.as_mut()) else {
        return step::ignore(out, Ignored::OutdatedColumn);
    };
    let counts = running.backlog.sort(column);
    t.touch(column.job);
    if !counts {
        return step::ignore(out, Ignored::OutdatedColumn);
    }
    arm::routed(t, column);
    tally(t, out, column);
}

fn tally(t: &mut Tables, out: &mut Out, column: &Column) {
    let target = t.jobs.find(column.job).map(|job| job.target().clone());
    match &target {
        Some(Target::Function(name)) => t.functions.tally(name, LIVE, &column.tally),
        Some(Target::Version(name, Qualifier::Alias(alias))) => {
            t.functions.tally(name, alias, &column.tally);
        }
        _ => {}
    }
    out.push(Command::Note(Note::Routed(column.tally.clone())));
}

#[cfg(test)]
mod tests {
    use super::super::testing::route::{bucket, wish};
    use super::super::testing::{Env, failed, run};
    use super::*;
    use crate::function::Runtime;
    use crate::job::JobState;
    use crate::outcome::FailureKind;
    use crate::policy::Tolerance;

    fn version(function: &str, number: u32) -> Target {
        Target::Version(function.to_owned(), Qualifier::Version(number))
    }

    /// `f` has three versions and `g`, in another language, one; who runs both is there.
    fn two_functions() -> Env {
        let mut env = Env::with_three_versions();
        env.publish("g", "rust", Runtime::Wasm);
        env.worker_with("a", 4, |worker| {
            worker.can([Runtime::Python, Runtime::Wasm]);
        });
        env
    }

    /// What an index gets of 7 to 3 between versions 1 and 2.
    fn arm_of(index: u32) -> &'static str {
        if bucket(index) < 7_000 { "1" } else { "2" }
    }

    fn seven_to_three() -> Vec<(Target, u16)> {
        vec![(version("f", 1), 7_000), (version("f", 2), 3_000)]
    }

    #[test]
    fn the_first_rule_that_matches_decides_else_the_split() {
        let mut env = two_functions();
        let rules = [
            ("index < 5", Target::Function("g".to_owned())),
            ("index < 9", version("f", 3)),
        ];
        env.set_route(wish(("f", "live"), &rules, &seven_to_three()));
        let job = env.submit_to("f", 1_000);
        env.work_off();
        assert_eq!(env.state(job), JobState::Succeeded);
        let expected = (0..1_000).map(|index| match index {
            0..5 => "rule:g",
            5..9 => "rule:3",
            _ => arm_of(index),
        });
        assert_eq!(env.disk.arms_of(job), expected.collect::<Vec<_>>());
        let versions = env.disk.versions_of(job);
        assert_eq!(versions[..10], [1, 1, 1, 1, 1, 3, 3, 3, 3, 1].map(Some));
    }

    #[test]
    fn nothing_is_cut_before_it_is_sorted_and_only_as_much_is_as_is_cut_soon() {
        let mut env = two_functions();
        env.sorts_late = true;
        env.set_route(wish(("f", "live"), &[], &seven_to_three()));
        let job = env.submit_to("f", 100_000);
        assert_eq!(env.open_len("a"), 0);
        let asked = env.sortings[0].indices.clone();
        assert_eq!(asked, run(0..limit::SORT_AHEAD_LEAST));
        assert_eq!(env.reasons(job), ["routing"]);
        env.sort();
        assert_eq!(env.open_len("a"), 4);
        env.turn([]);
        assert!(env.sortings.is_empty(), "what is there is enough");
    }

    #[test]
    fn a_job_that_comes_before_its_workers_is_sorted_once_one_is_there() {
        let mut env = Env::with_three_versions();
        env.set_route(wish(("f", "live"), &[], &seven_to_three()));
        let job = env.submit_to("f", 100);
        env.worker_with("a", 4, |worker| worker.can([Runtime::Python]));
        env.work_off();
        assert_eq!(env.state(job), JobState::Succeeded);
    }

    #[test]
    fn what_no_worker_can_run_is_told_keeps_nothing_up_and_is_rejected_in_time() {
        let mut env = Env::with_three_versions();
        env.publish("g", "rust", Runtime::Wasm);
        let split = vec![
            (version("f", 1), 7_000),
            (Target::Function("g".to_owned()), 3_000),
        ];
        env.set_route(wish(("f", "live"), &[], &split));
        let submit = |env: &mut Env, count| {
            env.submit(count, |proposal| {
                proposal.spec.target = Target::Function("f".to_owned());
                let policy = &mut proposal.spec.policy;
                policy.place_timeout_ms = Some(3_000);
                policy.tolerate = Some(Tolerance::BasisPoints(10_000));
            })
        };
        let early = submit(&mut env, 100);
        env.advance(3_000);
        assert_eq!(env.counts(early).failed, 100, "nobody could run any");

        env.worker_with("a", 4, |worker| worker.can([Runtime::Python]));
        let job = submit(&mut env, 60_000);
        let lost = (0..60_000).filter(|index| arm_of(*index) == "2").count() as u64;
        while env.open_len("a") > 0 {
            env.report_all("a");
        }
        let counts = env.counts(job);
        assert_eq!((counts.succeeded, counts.waiting), (60_000 - lost, lost));
        let reasons = env.machine.explain(env.now, job).unwrap();
        assert_eq!(reasons[0].reason, "runtime_missing");
        assert_eq!(reasons[0].invocations, lost);
        assert!(reasons[0].message.contains("runtime wasm"), "{reasons:?}");
        env.advance(2_900);
        assert_eq!(env.state(job), JobState::Running);
        env.advance(100);
        assert_eq!(env.counts(job).failed, lost);
    }

    #[test]
    fn what_was_decided_under_another_route_does_not_count() {
        let mut env = two_functions();
        env.sorts_late = true;
        env.set_route(wish(("f", "live"), &[], &seven_to_three()));
        let job = env.submit_to("f", 40);
        let late = super::super::testing::route::column(&env.sortings[0]);
        env.set_route(wish(("f", "live"), &[], &[(version("f", 3), 10_000)]));
        env.turn([crate::event::Event::Sorted(Box::new(late))]);
        assert_eq!(env.ignored, [Ignored::OutdatedColumn]);
        env.sorts_late = false;
        env.sort();
        // What was sorted and not cut is sorted again.
        env.set_route(wish(("f", "live"), &[], &[(version("f", 2), 10_000)]));
        env.work_off();
        assert_eq!(env.state(job), JobState::Succeeded);
        let arms = env.disk.arms_of(job);
        let of = |name: &str| arms.iter().filter(|arm| *arm == name).count();
        assert_eq!((of("3"), of("2")), (4, 36), "four were granted before");
    }

    #[test]
    fn retries_restarts_and_redrives_keep_the_arm() {
        let mut env = two_functions();
        env.set_route(wish(("f", "live"), &[], &seven_to_three()));
        let job = env.submit(40, |proposal| {
            proposal.spec.target = Target::Function("f".to_owned());
            proposal.spec.policy.max_attempts = 2;
        });
        let fail = |env: &mut Env| {
            for (lease, indices) in env.open("a") {
                let wrong = indices.indices().map(|i| failed(i, FailureKind::Function));
                env.report("a", lease, (run(0..0), wrong.collect()), 10_000_000);
            }
        };
        let mut all = wish(("f", "live"), &[], &[(version("f", 3), 10_000)]);
        let granted: Vec<u32> = env
            .open("a")
            .iter()
            .flat_map(|(_, open)| open.indices())
            .collect();
        assert_eq!(granted.len(), 4);
        env.set_route(all.clone());
        fail(&mut env);
        env.restart();
        env.connect("a");
        env.advance(60_000);
        let until = |env: &Env| env.state(job) != JobState::Running;
        while !until(&env) {
            fail(&mut env);
            env.advance(60_000);
        }
        let arms = env.disk.arms_of(job);
        let expected = |i| if granted.contains(&i) { arm_of(i) } else { "3" };
        let expected: Vec<_> = (0..40).map(expected).collect();
        assert_eq!(arms, expected, "what was begun stayed on its arm");
        let again = crate::redrive::Filter {
            failed: true,
            ..crate::redrive::Filter::default()
        };
        all.split = seven_to_three_of_two(all.split);
        env.set_route(all);
        let wish = env.wish(job, again);
        env.redrive(job, wish);
        env.restart();
        env.connect("a");
        env.work_off();
        assert_eq!(env.state(job), JobState::Succeeded);
        assert_eq!(env.disk.arms_of(job), expected, "and so did the redrive");
    }

    fn seven_to_three_of_two(
        split: Option<crate::route::SplitWish>,
    ) -> Option<crate::route::SplitWish> {
        split.map(|split| crate::route::SplitWish {
            arms: vec![("2".to_owned(), version("f", 2), 10_000)],
            ..split
        })
    }

    #[test]
    fn a_pinned_job_keeps_the_route_that_it_began_with() {
        let mut env = two_functions();
        let rules = [("index < 5", Target::Function("g".to_owned()))];
        env.set_route(wish(("f", "live"), &rules, &seven_to_three()));
        let job = env.submit(40, |proposal| {
            proposal.spec.target = Target::Function("f".to_owned());
            proposal.spec.policy.pin = true;
        });
        env.point("f", "live", 3);
        env.set_route(wish(("f", "live"), &[], &[(version("f", 3), 10_000)]));
        env.delete("g", None);
        env.restart();
        env.connect("a");
        env.settle();
        env.work_off();
        assert_eq!(env.state(job), JobState::Succeeded);
        let expected = (0..40).map(|i| if i < 5 { "rule:g" } else { arm_of(i) });
        assert_eq!(
            env.disk.arms_of(job)[5..],
            expected.collect::<Vec<_>>()[5..]
        );
        assert_eq!(env.disk.versions_of(job)[..5], [Some(1); 5]);
        env.settle();
        assert!(
            !env.disk.artifacts.contains("rust"),
            "nobody needs it any more"
        );
    }

    #[test]
    fn a_job_keeps_the_route_that_it_had_when_its_function_was_deleted() {
        let mut env = two_functions();
        let rules = [("index < 9", Target::Function("g".to_owned()))];
        env.set_route(wish(("f", "live"), &rules, &seven_to_three()));
        let job = env.submit_to("f", 40);
        env.delete("f", None);
        env.delete("g", None);
        env.restart();
        env.connect("a");
        env.settle();
        env.work_off();
        assert_eq!(env.state(job), JobState::Succeeded);
        let versions = env.disk.versions_of(job);
        assert_eq!(versions[..9], [Some(1); 9]);
        for index in 9..40 {
            let expected = if arm_of(index) == "1" { 1 } else { 2 };
            assert_eq!(versions[index as usize], Some(expected));
        }
        env.settle();
        assert_eq!(env.disk.version_len(), 0, "nothing needs them any more");
    }

    #[test]
    fn a_route_leads_through_another_alias_and_bears_its_own_arm() {
        let mut env = two_functions();
        env.set_route(wish(("f", "inner"), &[], &seven_to_three()));
        let inner = Target::Version("f".to_owned(), Qualifier::Alias("inner".to_owned()));
        let split = [(inner, 5_000), (version("f", 3), 5_000)];
        env.set_route(wish(("f", "live"), &[], &split));
        let job = env.submit_to("f", 100);
        env.work_off();
        let arms = env.disk.arms_of(job);
        let versions = env.disk.versions_of(job);
        for index in 0..100 {
            let at = index as usize;
            let expected = match bucket(index) {
                0..5_000 => ("inner", Some(1)),
                _ => ("3", Some(3)),
            };
            assert_eq!((&*arms[at], versions[at]), expected);
        }
    }

    #[test]
    fn each_decision_goes_to_a_worker_that_has_its_runtime() {
        let mut env = Env::new();
        env.publish("f", "one", Runtime::Python);
        env.publish("g", "rust", Runtime::Wasm);
        env.worker_with("py", 2, |worker| worker.can([Runtime::Python]));
        env.worker_with("wa", 2, |worker| worker.can([Runtime::Wasm]));
        let rules = [("index < 50", Target::Function("g".to_owned()))];
        env.set_route(wish(("f", "live"), &rules, &[]));
        let job = env.submit_to("f", 100);
        assert_eq!(env.open("wa")[0].1, run(0..2));
        assert_eq!(env.open("py")[0].1, run(50..52));
        env.work_off();
        assert_eq!(env.state(job), JobState::Succeeded);
        assert_eq!(env.disk.arms_of(job)[49..51], ["rule:g", ""]);
    }
}
