//! Rollouts.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use umbel_core::function::VersionId;
use umbel_core::guard::Guard;
use umbel_core::rollout::{Compared, Rollout, RolloutPlan, RolloutState};
use umbel_core::route::{ArmId, Route};

use super::arm::{figures, wire_figures};
use super::route::{decode_plan, encode_plan};
use super::{Error, parse, wire};

const KIND: &str = "RolloutRecord";

/// Encodes a rollout; function and alias are its key.
#[must_use]
pub fn encode_rollout(rollout: &Rollout) -> Bytes {
    let plan = &rollout.plan;
    let record = wire::RolloutRecord {
        to: rollout.to,
        from: rollout.from,
        stable_version_id: rollout.stable_version.0,
        steps: plan.steps.iter().map(|step| u32::from(*step)).collect(),
        guards: plan.guards.iter().map(Guard::to_string).collect(),
        least: plan.least,
        bake_ms: plan.bake_ms,
        state: encode_state(rollout.state),
        // There are few of them.
        step: u32::try_from(rollout.step).unwrap_or(u32::MAX),
        step_ms: rollout.step_ms,
        started_ms: rollout.started_ms,
        ended_ms: rollout.ended_ms,
        by: rollout.by.clone(),
        why: rollout.why.clone(),
        before_to: rollout.before.to,
        before_plan: rollout.before.plan.as_deref().map(encode_plan),
        candidate_arm_id: rollout.candidate.0,
        baseline_arm_id: rollout.baseline.0,
        stable_arm_id: rollout.stable.0,
        began: Some(encode_compared(&rollout.began)),
        ended: rollout.ended.as_deref().map(encode_compared),
        last_failure: rollout.last_failure.clone(),
    };
    record.encode_to_vec().into()
}

fn encode_compared(compared: &Compared) -> wire::ComparedRecord {
    wire::ComparedRecord {
        candidate: Some(wire_figures(0, &compared.candidate)),
        baseline: Some(wire_figures(0, &compared.baseline)),
    }
}

/// Decodes the rollout of an alias.
///
/// # Errors
///
/// When the bytes are no such record.
pub fn decode_rollout(function: String, alias: String, bytes: Bytes) -> Result<Rollout, Error> {
    let record: wire::RolloutRecord = parse(KIND, bytes)?;
    let steps = record.steps.iter().map(|step| u16::try_from(*step));
    let steps = steps.collect::<Result<Vec<u16>, _>>();
    let guards = record.guards.iter().map(|guard| guard.parse());
    let guards = guards.collect::<Result<Vec<Guard>, _>>();
    let plan = RolloutPlan {
        steps: steps.map_err(|_| Error::new(KIND, "a step is more than the whole"))?,
        guards: guards.map_err(|error| Error::new(KIND, error.to_string()))?,
        least: record.least,
        bake_ms: record.bake_ms,
    };
    if let Some(complaint) = plan.complaint() {
        return Err(Error::new(KIND, complaint));
    }
    let state = decode_state(record.state)
        .ok_or_else(|| Error::new(KIND, format!("its state {} is not known", record.state)))?;
    let step = record.step as usize;
    if step >= plan.steps.len() || state.is_over() != record.ended_ms.is_some() {
        return Err(Error::new(
            KIND,
            "its state does not go with its step or its end",
        ));
    }
    let before_plan = record.before_plan.map(|plan| decode_plan(KIND, plan));
    let ended = record.ended.map(decode_compared).transpose()?;
    Ok(Rollout {
        function,
        alias,
        to: record.to,
        from: record.from,
        stable_version: VersionId(record.stable_version_id),
        plan,
        state,
        step,
        step_ms: record.step_ms,
        started_ms: record.started_ms,
        ended_ms: record.ended_ms,
        by: record.by,
        why: record.why,
        before: Route {
            to: record.before_to,
            plan: before_plan.transpose()?.map(Arc::new),
        },
        candidate: ArmId(record.candidate_arm_id),
        baseline: ArmId(record.baseline_arm_id),
        stable: ArmId(record.stable_arm_id),
        began: Arc::new(decode_compared(record.began.unwrap_or_default())?),
        ended: ended.map(Arc::new),
        last_failure: record.last_failure,
    })
}

fn decode_compared(record: wire::ComparedRecord) -> Result<Compared, Error> {
    Ok(Compared {
        candidate: figures(&record.candidate.unwrap_or_default())?,
        baseline: figures(&record.baseline.unwrap_or_default())?,
    })
}

/// The numbers of umbel.v1.RolloutState.
fn encode_state(state: RolloutState) -> u32 {
    match state {
        RolloutState::Advancing => 1,
        RolloutState::Paused => 2,
        RolloutState::Promoted => 3,
        RolloutState::RolledBack => 4,
    }
}

fn decode_state(number: u32) -> Option<RolloutState> {
    let mut all = RolloutState::ALL.into_iter();
    all.find(|state| encode_state(*state) == number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use umbel_core::arm::ArmFigures;
    use umbel_core::guard::Measure;
    use umbel_core::outcome::FailureKind;

    use super::*;
    use crate::disk::testing::plan;

    fn compared() -> impl Strategy<Value = Compared> {
        let arm = |succeeded: u64, run_us: u64| {
            let mut arm = ArmFigures {
                succeeded,
                ..ArmFigures::default()
            };
            arm.fail(FailureKind::Timeout, succeeded / 9);
            arm.warm.add(run_us);
            arm
        };
        any::<[u64; 4]>().prop_map(move |[one, two, three, four]| Compared {
            candidate: arm(one, two),
            baseline: arm(three, four),
        })
    }

    fn rollout() -> impl Strategy<Value = Rollout> {
        let plan_of = (1..10_000_u16, any::<(i16, u64, u64)>()).prop_map(|(step, rest)| {
            let (margin, least, bake_ms) = rest;
            RolloutPlan {
                steps: vec![step, 10_000],
                guards: vec![
                    Guard {
                        measure: Measure::FailureRate,
                        margin: i32::from(margin) % 10_000,
                    },
                    Guard {
                        measure: Measure::Time {
                            percent: 95,
                            cold: margin % 2 == 0,
                        },
                        margin: i32::from(margin) % 10_000,
                    },
                ],
                least,
                bake_ms,
            }
        });
        let texts = (
            "[a-z]{1,8}",
            "[a-z]{1,8}",
            "[a-z@]{0,8}",
            ".{0,16}",
            ".{0,16}",
        );
        let numbers = (any::<[u32; 7]>(), any::<[u64; 3]>(), 0..2_usize);
        let state = (0..4_usize).prop_map(|at| RolloutState::ALL[at]);
        (
            plan_of,
            texts,
            numbers,
            state,
            plan(),
            compared(),
            compared(),
        )
            .prop_map(|(plan, texts, numbers, state, before, began, ended)| {
                let (function, alias, by, why, last_failure) = texts;
                let ([to, from, id, before_to, arms @ ..], [step_ms, started_ms, end], step) =
                    numbers;
                let [candidate, baseline, stable] = arms.map(ArmId);
                Rollout {
                    function,
                    alias,
                    to,
                    from,
                    stable_version: VersionId(id),
                    plan,
                    state,
                    step,
                    step_ms,
                    started_ms,
                    ended_ms: state.is_over().then_some(end),
                    by,
                    why,
                    before: Route {
                        to: before_to,
                        plan: before,
                    },
                    candidate,
                    baseline,
                    stable,
                    began: Arc::new(began),
                    ended: state.is_over().then(|| Arc::new(ended)),
                    last_failure,
                }
            })
    }

    proptest! {
        #[test]
        fn rollouts_come_back(rollout in rollout()) {
            let (function, alias) = (rollout.function.clone(), rollout.alias.clone());
            let back = decode_rollout(function, alias, encode_rollout(&rollout)).unwrap();
            prop_assert_eq!(back, rollout);
        }

        #[test]
        fn garbage_is_an_error_and_no_panic(bytes: Vec<u8>) {
            let _ = decode_rollout(String::new(), String::new(), Bytes::from(bytes));
        }
    }

    #[test]
    fn what_does_not_make_sense_is_named() {
        let whole = || wire::RolloutRecord {
            steps: vec![10_000],
            state: 1,
            ..wire::RolloutRecord::default()
        };
        let decode = |record: wire::RolloutRecord| {
            let bytes = record.encode_to_vec().into();
            decode_rollout("f".to_owned(), "live".to_owned(), bytes).map_err(|e| e.to_string())
        };
        assert!(decode(whole()).is_ok());
        type Spoil = fn(&mut wire::RolloutRecord);
        let wrong: [(&str, Spoil); 5] = [
            ("its state 9", |record| record.state = 9),
            ("its step", |record| record.step = 1),
            ("its end", |record| record.ended_ms = Some(1)),
            ("last step", |record| record.steps = vec![100]),
            ("no guard", |record| record.guards = vec!["x".to_owned()]),
        ];
        for (words, spoil) in wrong {
            let mut record = whole();
            spoil(&mut record);
            let error = decode(record).unwrap_err();
            assert!(error.contains(words), "{words}: {error}");
        }
    }
}
