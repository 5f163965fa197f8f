//! Rollouts, as they are printed.

use serde::Serialize;
use umbel_client::v1;

use super::shown;

/// A rollout.
#[derive(Debug, Serialize)]
pub(crate) struct Rollout<'a> {
    function: &'a str,
    alias: &'a str,
    to: u32,
    from: u32,
    state: &'static str,
    step: u32,
    percent: f64,
    steps_percent: Vec<f64>,
    min_invocations: u64,
    bake_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    by: &'a str,
    why: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bake_until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidate: Option<Arm<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline: Option<Arm<'a>>,
    guards: Vec<Guard<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    last_failure: &'a str,
}

#[derive(Debug, Serialize)]
struct Arm<'a> {
    arm: &'a str,
    ended_in_step: u64,
    ended: u64,
    failed: u64,
    failing: u64,
}

#[derive(Debug, Serialize)]
struct Guard<'a> {
    guard: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline_value: Option<f64>,
    /// Absent where it may be anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    difference_low: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference_high: Option<f64>,
}

impl<'a> From<&'a v1::Rollout> for Rollout<'a> {
    fn from(rollout: &'a v1::Rollout) -> Self {
        let percent = |points: u32| f64::from(points) / 100.0;
        let plan = rollout.plan.as_ref();
        let steps = plan.map_or(&[][..], |plan| &plan.steps).iter();
        Self {
            function: &rollout.function,
            alias: &rollout.alias,
            to: rollout.to_version,
            from: rollout.from_version,
            state: match rollout.state() {
                v1::RolloutState::Advancing => "advancing",
                v1::RolloutState::Paused => "paused",
                v1::RolloutState::Promoted => "promoted",
                v1::RolloutState::RolledBack => "rolled_back",
                v1::RolloutState::Unspecified => "unknown",
            },
            step: rollout.step,
            percent: percent(rollout.share),
            steps_percent: steps.map(|step| percent(*step)).collect(),
            min_invocations: plan.map_or(0, |plan| plan.min_invocations),
            bake_ms: plan.map_or(0, |plan| plan.bake_ms),
            started_at: shown(rollout.started_at.as_ref()),
            step_at: shown(rollout.step_at.as_ref()),
            ended_at: shown(rollout.ended_at.as_ref()),
            by: &rollout.by,
            why: &rollout.why,
            waits_for: match rollout.waits_for() {
                v1::RolloutWait::Resumed => Some("resumed"),
                v1::RolloutWait::Invocations => Some("invocations"),
                v1::RolloutWait::Bake => Some("bake"),
                v1::RolloutWait::Guards => Some("guards"),
                v1::RolloutWait::Unspecified => None,
            },
            bake_until: shown(rollout.bake_until.as_ref()),
            candidate: rollout.candidate.as_ref().map(Arm::from),
            baseline: rollout.baseline.as_ref().map(Arm::from),
            guards: rollout.guards.iter().map(Guard::from).collect(),
            last_failure: &rollout.last_failure,
        }
    }
}

impl<'a> From<&'a v1::RolloutArm> for Arm<'a> {
    fn from(arm: &'a v1::RolloutArm) -> Self {
        Self {
            arm: &arm.name,
            ended_in_step: arm.ended_in_step,
            ended: arm.ended,
            failed: arm.failed,
            failing: arm.failing,
        }
    }
}

impl<'a> From<&'a v1::GuardFinding> for Guard<'a> {
    fn from(finding: &'a v1::GuardFinding) -> Self {
        let difference = finding.difference.as_ref();
        let finite = |end: f64| Some(end).filter(|end| end.is_finite());
        Self {
            guard: &finding.guard,
            state: match finding.state() {
                v1::GuardState::Holds => "holds",
                v1::GuardState::Worse => "worse",
                v1::GuardState::Undecided => "undecided",
                v1::GuardState::Unspecified => "unknown",
            },
            value: finding.value,
            baseline_value: finding.baseline_value,
            difference_low: difference.and_then(|bounds| finite(bounds.low)),
            difference_high: difference.and_then(|bounds| finite(bounds.high)),
        }
    }
}
