//! Rollouts by the hundred, from fixed seeds: what their guards decide.

use super::super::testing::Env;
use super::super::testing::rollout::wish;
use super::*;
use crate::function::Runtime;
use crate::outcome::FailureKind;

/// SplitMix64, for simulations.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// How rollouts end whose versions fail so often; each is looked at whenever fifty more have
/// ended on each arm, up to so many. Gives how often each was rolled back, and at which step.
fn simulate(
    (seed, guards, steps): (u64, &str, &[u16]),
    (new, old): (f64, f64),
    most: u64,
) -> Vec<(RolloutState, usize)> {
    let mut random = Random(seed);
    let wish = wish(2, steps, guards, 500);
    let ended = (0..100).map(|_| {
        let mut env = Env::new();
        for content in ["one", "two"] {
            env.publish("f", content, Runtime::Python);
        }
        env.point("f", "live", 1);
        let mut rollout = env.start_rollout(wish.clone()).rollout;
        let mut compared = Compared::default();
        let mut in_step = 0;
        while compared.candidate.finished() < most {
            for (arm, rate) in [
                (&mut compared.candidate, new),
                (&mut compared.baseline, old),
            ] {
                for _ in 0..50 {
                    let fails = random.unit() < rate;
                    arm.succeeded += u64::from(!fails);
                    arm.fail(FailureKind::Function, u64::from(fails));
                    // A few in a hundred take several times as long.
                    let slow = if random.unit() < 0.1 { 4.0 } else { 1.0 };
                    arm.warm
                        .add((slow * (800.0 + 400.0 * random.unit())) as u64);
                }
            }
            in_step += 50;
            let judgements = judgements(&rollout.plan.guards, &compared, 0);
            match verdict(&rollout, &judgements, (in_step, in_step), u64::MAX) {
                Verdict::RollBack(_) => return (RolloutState::RolledBack, rollout.step),
                Verdict::Advance => {
                    rollout.step += 1;
                    in_step = 0;
                }
                Verdict::Wait(_) => {}
            }
            if rollout.plan.steps.get(rollout.step) == Some(&WHOLE) {
                return (RolloutState::Promoted, rollout.step);
            }
        }
        (RolloutState::Advancing, rollout.step)
    });
    ended.collect()
}

const STEPS: &[u16] = &[1, 5, 25, 100];
const GUARDS: &str = "failure_rate<=+0.5%,p95<=+20%,cold_p95<=+50%";

#[test]
fn of_a_hundred_rollouts_of_an_equal_version_at_most_five_are_taken_back() {
    let states = |guards, rate| {
        let ended = simulate((1, guards, STEPS), (rate, rate), 20_000);
        let count = |state| ended.iter().filter(|(is, _)| *is == state).count();
        (
            count(RolloutState::RolledBack),
            count(RolloutState::Promoted),
        )
    };
    for rate in [0.0, 0.01, 0.05] {
        let (back, _) = states(GUARDS, rate);
        assert!(back <= 5, "{back} at {rate}");
        // Where the margin is nothing, chance alone is at the margin.
        let (back, _) = states("failure_rate<=+0%,p95<=+0%", rate);
        assert!(back <= 5, "{back} at {rate} without a margin");
    }
    let (_, promoted) = states(GUARDS, 0.0);
    assert!(
        promoted >= 95,
        "{promoted} of those that never fail get through"
    );
}

#[test]
fn three_percent_more_failures_are_caught_before_a_quarter_runs_on_them() {
    for rate in [0.0, 0.01, 0.02] {
        let ended = simulate((2, GUARDS, STEPS), (rate + 0.03, rate), 20_000);
        let caught = ended
            .iter()
            .filter(|(state, step)| *state == RolloutState::RolledBack && *step < 2)
            .count();
        assert!(caught >= 95, "{caught} of 100 at {rate}");
    }
}
