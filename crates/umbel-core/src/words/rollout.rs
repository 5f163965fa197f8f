//! A rollout: a plan that moves what an alias sends to one version to another, in steps, as long
//! as its guards hold.

use std::fmt;
use std::sync::Arc;

use umbel_stats::Judgement;

use super::arm::ArmFigures;
use super::function::VersionId;
use super::guard::Guard;
use super::route::{ArmId, Key, Route};

/// A whole, in the unit of steps: hundredths of a percent.
pub const WHOLE: u16 = 10_000;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutWish {
    /// The function.
    pub function: String,
    /// The alias.
    pub alias: String,
    /// The number of the version that is rolled out.
    pub to: u32,
    /// The number of the version that it replaces; none: what runs where no rule decides, or gets
    /// most of the split.
    pub from: Option<u32>,
    /// How it goes.
    pub plan: RolloutPlan,
    /// What keeps an owner of inputs on one version, where the alias has no split that says so.
    pub key: Option<Key>,
    /// The salt of its split, should the alias have none.
    pub salt: u64,
    /// Who asks, as they say.
    pub by: String,
}

/// How a rollout goes. Its steps ascend, and the last is the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RolloutPlan {
    /// How much of what the old version gets the new one has in each step, in hundredths of a
    /// percent.
    pub steps: Vec<u16>,
    /// What it must keep.
    pub guards: Vec<Guard>,
    /// How many invocations must have ended on each arm in each step.
    pub least: u64,
    /// How long each step takes at least, in milliseconds.
    pub bake_ms: u64,
}

impl RolloutPlan {
    /// What is wrong with its steps, if anything is.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        if self.steps.is_empty() || self.steps[0] == 0 {
            return Some("name at least one step, each above 0%".to_owned());
        }
        if !self.steps.is_sorted_by(|one, next| one < next) {
            return Some("each step must be larger than the one before".to_owned());
        }
        if self.steps.last() != Some(&WHOLE) {
            return Some(
                "the last step must be 100, which is the promotion; to stay before it, pause"
                    .to_owned(),
            );
        }
        None
    }
}

/// Where a rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolloutState {
    /// It goes from step to step as long as its guards hold.
    Advancing,
    /// It stays at its step; its guards stop it still.
    Paused,
    /// The new version has replaced the old one.
    Promoted,
    /// The old version has all that it had before.
    RolledBack,
}

impl RolloutState {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Advancing,
        Self::Paused,
        Self::Promoted,
        Self::RolledBack,
    ];

    /// The word that people see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Advancing => "advancing",
            Self::Paused => "paused",
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled_back",
        }
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Promoted | Self::RolledBack)
    }
}

impl fmt::Display for RolloutState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Figures of the two arms that a rollout compares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Of the new version.
    pub candidate: ArmFigures,
    /// Of the part of the old one that is as large.
    pub baseline: ArmFigures,
}

/// A rollout as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// The function.
    pub function: String,
    /// The alias.
    pub alias: String,
    /// The number of the version that is rolled out.
    pub to: u32,
    /// The number of the version that it replaces.
    pub from: u32,
    /// The id of that version.
    pub stable_version: VersionId,
    /// How it goes.
    pub plan: RolloutPlan,
    /// Where it stands.
    pub state: RolloutState,
    /// The place of its step among those of the plan.
    pub step: usize,
    /// When that began, milliseconds since 1970.
    pub step_ms: u64,
    /// When it began, milliseconds since 1970.
    pub started_ms: u64,
    /// When it ended, milliseconds since 1970.
    pub ended_ms: Option<u64>,
    /// Who changed its state last, as they said; empty: it did so by itself.
    pub by: String,
    /// Why it is in its state.
    pub why: String,
    /// What the alias was before, and is again once it is rolled back.
    pub before: Route,
    /// The arm of the new version.
    pub candidate: ArmId,
    /// The arm of the old version that it is compared with.
    pub baseline: ArmId,
    /// The arm of all the rest that the old version has.
    pub stable: ArmId,
    /// What its arms had when it began.
    pub began: Arc<Compared>,
    /// What its arms had since, when it ended.
    pub ended: Option<Arc<Compared>>,
    /// The latest failure of the new version, in words; empty: there was none.
    pub last_failure: String,
}

impl Rollout {
    /// How much of what the old version had the new one has now, in hundredths of a percent.
    #[must_use]
    pub fn share(&self) -> u16 {
        match self.state {
            RolloutState::Promoted => WHOLE,
            RolloutState::RolledBack => 0,
            RolloutState::Advancing | RolloutState::Paused => {
                self.plan.steps.get(self.step).copied().unwrap_or(0)
            }
        }
    }

    /// The alias as people write it.
    #[must_use]
    pub fn display(&self) -> String {
        format!("{}@{}", self.function, self.alias)
    }
}

/// What a client asks of a rollout that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolloutMove {
    /// Stay at the step.
    Pause,
    /// Go on.
    Resume,
    /// Replace the old version now.
    Promote,
    /// Give the old version back what it had.
    RollBack,
}

/// What a rollout waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Somebody paused it.
    Resumed,
    /// More invocations must have ended on both arms.
    Invocations,
    /// The step has not lasted long enough.
    Bake {
        /// Until when it does, milliseconds since 1970.
        until_ms: u64,
    },
    /// A guard neither holds nor does not.
    Guards,
}

/// A rollout as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutView {
    /// What is remembered of it.
    pub rollout: Rollout,
    /// The figures that its guards judge.
    pub compared: Compared,
    /// How many have ended on the candidate and on the baseline in this step.
    pub ended: (u64, u64),
    /// How many of the candidate's have failed an attempt and wait for the next.
    pub failing: u64,
    /// What each guard says, in the order of the plan.
    pub judgements: Vec<Judgement>,
    /// What it waits for; none: it has ended.
    pub waiting: Option<Waiting>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_ascend_to_the_whole() {
        let complaint = |steps: &[u16]| {
            let steps = steps.to_vec();
            let plan = RolloutPlan {
                steps,
                ..RolloutPlan::default()
            };
            plan.complaint().is_some()
        };
        assert!(!complaint(&[100, 500, 2_500, 10_000]) && !complaint(&[10_000]));
        for steps in [
            &[][..],
            &[0, 10_000],
            &[500, 100, 10_000],
            &[5, 5, 10_000],
            &[100],
        ] {
            assert!(complaint(steps), "{steps:?}");
        }
    }
}
