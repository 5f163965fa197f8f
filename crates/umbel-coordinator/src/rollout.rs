//! A rollout as it is shown: what its guards saw, with intervals.

use umbel_core::arm::ArmFigures;
use umbel_core::guard::{Guard, Measure, times};
use umbel_core::rollout::{RolloutState, RolloutView, Waiting};
use umbel_proto::convert::timestamp;
use umbel_proto::v1;
use umbel_stats::quantile;
use umbel_stats::rate::{self, Count};
use umbel_stats::{Alpha, Interval, Judgement};

/// A rollout as it is shown. Computes intervals, which takes some time: not for the engine.
pub(crate) fn shown(view: &RolloutView) -> v1::Rollout {
    let rollout = &view.rollout;
    let plan = &rollout.plan;
    let (waits_for, bake_until_ms) = waiting(view.waiting);
    let guards = plan.guards.iter().zip(&view.judgements);
    v1::Rollout {
        function: rollout.function.clone(),
        alias: rollout.alias.clone(),
        to_version: rollout.to,
        from_version: rollout.from,
        plan: Some(v1::RolloutPlan {
            steps: plan.steps.iter().map(|step| u32::from(*step)).collect(),
            guards: plan.guards.iter().map(Guard::to_string).collect(),
            min_invocations: plan.least,
            bake_ms: plan.bake_ms,
        }),
        state: state(rollout.state).into(),
        step: u32::try_from(rollout.step).unwrap_or(u32::MAX),
        share: rollout.share().into(),
        started_at: Some(timestamp(rollout.started_ms)),
        step_at: Some(timestamp(rollout.step_ms)),
        ended_at: rollout.ended_ms.map(timestamp),
        by: rollout.by.clone(),
        why: rollout.why.clone(),
        waits_for: waits_for.into(),
        bake_until: bake_until_ms.map(timestamp),
        candidate: Some(arm(
            rollout.to.to_string(),
            &view.compared.candidate,
            (view.ended.0, view.failing),
        )),
        baseline: Some(arm(
            "baseline".to_owned(),
            &view.compared.baseline,
            (view.ended.1, 0),
        )),
        guards: guards
            .map(|(guard, judgement)| finding(guard, *judgement, view))
            .collect(),
        last_failure: rollout.last_failure.clone(),
    }
}

fn state(state: RolloutState) -> v1::RolloutState {
    match state {
        RolloutState::Advancing => v1::RolloutState::Advancing,
        RolloutState::Paused => v1::RolloutState::Paused,
        RolloutState::Promoted => v1::RolloutState::Promoted,
        RolloutState::RolledBack => v1::RolloutState::RolledBack,
    }
}

fn waiting(waiting: Option<Waiting>) -> (v1::RolloutWait, Option<u64>) {
    match waiting {
        None => (v1::RolloutWait::Unspecified, None),
        Some(Waiting::Resumed) => (v1::RolloutWait::Resumed, None),
        Some(Waiting::Invocations) => (v1::RolloutWait::Invocations, None),
        Some(Waiting::Bake { until_ms }) => (v1::RolloutWait::Bake, Some(until_ms)),
        Some(Waiting::Guards) => (v1::RolloutWait::Guards, None),
    }
}

fn arm(name: String, figures: &ArmFigures, (step, failing): (u64, u64)) -> v1::RolloutArm {
    v1::RolloutArm {
        name,
        ended_in_step: step,
        ended: figures.finished(),
        failed: figures.failures(),
        failing,
    }
}

fn finding(guard: &Guard, judgement: Judgement, view: &RolloutView) -> v1::GuardFinding {
    let (new, old) = (&view.compared.candidate, &view.compared.baseline);
    let alpha = Alpha::one_in_twenty();
    let (value, baseline_value, difference) = match guard.measure {
        Measure::FailureRate => {
            let count = |arm: &ArmFigures| Count::new(arm.failures(), arm.finished());
            let (new, old) = (count(new), count(old));
            (new.rate(), old.rate(), rate::difference(new, old, alpha))
        }
        Measure::Time { percent, cold } => {
            let of = |arm: &ArmFigures| times(if cold { &arm.cold } else { &arm.warm });
            let (new, old, p) = (of(new), of(old), f64::from(percent) / 100.0);
            let ratio = quantile::ratio(&new, &old, p, alpha);
            let difference = Interval {
                low: ratio.low - 1.0,
                high: ratio.high - 1.0,
            };
            (new.quantile(p), old.quantile(p), difference)
        }
    };
    v1::GuardFinding {
        guard: guard.to_string(),
        state: match judgement {
            Judgement::Holds => v1::GuardState::Holds,
            Judgement::Worse => v1::GuardState::Worse,
            Judgement::Undecided => v1::GuardState::Undecided,
        }
        .into(),
        value,
        baseline_value,
        difference: Some(v1::Bounds {
            low: difference.low,
            high: difference.high,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use umbel_core::function::VersionId;
    use umbel_core::outcome::FailureKind;
    use umbel_core::rollout::{Compared, Rollout, RolloutPlan};
    use umbel_core::route::{ArmId, Route};

    use super::*;

    fn arm_of(succeeded: u64, failed: u64, run_us: u64) -> ArmFigures {
        let mut arm = ArmFigures {
            succeeded,
            ..ArmFigures::default()
        };
        arm.fail(FailureKind::Function, failed);
        (0..succeeded + failed).for_each(|_| arm.warm.add(run_us));
        arm
    }

    #[test]
    fn intervals_say_what_the_guards_say() {
        let guards = ["failure_rate<=+1%", "p95<=+20%", "cold_p95<=+50%"];
        let rollout = Rollout {
            function: "f".to_owned(),
            alias: "live".to_owned(),
            to: 8,
            from: 7,
            stable_version: VersionId(1),
            plan: RolloutPlan {
                steps: vec![100, 10_000],
                guards: guards.map(|guard| guard.parse().unwrap()).to_vec(),
                least: 10,
                bake_ms: 0,
            },
            state: RolloutState::Advancing,
            step: 0,
            step_ms: 1,
            started_ms: 1,
            ended_ms: None,
            by: String::new(),
            why: String::new(),
            before: Route::plain(7),
            candidate: ArmId(1),
            baseline: ArmId(2),
            stable: ArmId(3),
            began: Arc::default(),
            ended: None,
            last_failure: String::new(),
        };
        let compared = Compared {
            candidate: arm_of(1_900, 100, 1_000),
            baseline: arm_of(2_000, 0, 1_000),
        };
        let judged = rollout.plan.guards.iter();
        let judgements =
            judged.map(|guard| guard.judge(&compared.candidate, &compared.baseline, (3, 0)));
        let judgements = judgements.collect();
        let view = RolloutView {
            rollout,
            compared,
            ended: (2_000, 2_000),
            failing: 1,
            judgements,
            waiting: Some(Waiting::Guards),
        };
        let shown = shown(&view);
        assert_eq!(
            (shown.share, shown.waits_for()),
            (100, v1::RolloutWait::Guards)
        );
        let states: Vec<_> = shown.guards.iter().map(v1::GuardFinding::state).collect();
        let expected = [
            v1::GuardState::Worse,
            v1::GuardState::Holds,
            v1::GuardState::Undecided,
        ];
        assert_eq!(states, expected);
        let difference = shown.guards[0].difference.unwrap();
        assert!(
            difference.low > 0.01 && difference.high < 0.1,
            "{difference:?}"
        );
        assert_eq!(shown.guards[2].value, None);
        assert!(shown.guards[2].difference.unwrap().high.is_infinite());
    }
}
