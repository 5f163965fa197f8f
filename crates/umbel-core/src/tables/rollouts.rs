//! Rollouts, one for each alias: the one that is under way, or the last that was.

use std::collections::{BTreeMap, BTreeSet};

use crate::rollout::{Rollout, RolloutState};
use crate::route::ArmId;

/// A function and an alias.
type Key = (String, String);

/// All rollouts.
#[derive(Debug, Default)]
pub(crate) struct Rollouts {
    by_alias: BTreeMap<Key, Kept>,
    by_candidate: BTreeMap<ArmId, Key>,
    /// The candidates of those that have not ended.
    open: BTreeSet<ArmId>,
}

#[derive(Debug)]
struct Kept {
    rollout: Rollout,
    look: Look,
}

/// When the guards of a rollout were looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Look {
    /// How many invocations had ended on its arms then.
    pub(crate) ended: u64,
    /// When what has ended since is to be looked at at the latest, by the wall clock.
    pub(crate) by_ms: Option<u64>,
}

impl Rollouts {
    /// A rollout of an alias is now this.
    pub(crate) fn put(&mut self, rollout: Rollout) {
        let key = (rollout.function.clone(), rollout.alias.clone());
        let candidate = rollout.candidate;
        let look = self.by_alias.get(&key);
        let look = look.filter(|kept| kept.rollout.started_ms == rollout.started_ms);
        let look = look.map_or_else(Look::default, |kept| kept.look);
        self.forget(&key);
        if !rollout.state.is_over() {
            self.open.insert(candidate);
        }
        self.by_candidate.insert(candidate, key.clone());
        self.by_alias.insert(key, Kept { rollout, look });
    }

    /// Forgets the rollout of an alias; tells whether there was one.
    pub(crate) fn remove(&mut self, function: &str, alias: &str) -> bool {
        self.forget(&(function.to_owned(), alias.to_owned()))
    }

    fn forget(&mut self, key: &Key) -> bool {
        let Some(kept) = self.by_alias.remove(key) else {
            return false;
        };
        self.by_candidate.remove(&kept.rollout.candidate);
        self.open.remove(&kept.rollout.candidate);
        true
    }

    /// Whether there never was one, as is usual.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_alias.is_empty()
    }

    /// The rollout of an alias.
    pub(crate) fn find(&self, function: &str, alias: &str) -> Option<&Rollout> {
        if self.is_empty() {
            return None;
        }
        let kept = self.by_alias.get(&(function.to_owned(), alias.to_owned()));
        kept.map(|kept| &kept.rollout)
    }

    /// The rollout of an alias that has not ended.
    pub(crate) fn open(&self, function: &str, alias: &str) -> Option<&Rollout> {
        self.find(function, alias)
            .filter(|rollout| !rollout.state.is_over())
    }

    /// The rollout whose new version has this arm.
    pub(crate) fn of_candidate(&self, arm: ArmId) -> Option<&Rollout> {
        let key = self.by_candidate.get(&arm)?;
        self.by_alias.get(key).map(|kept| &kept.rollout)
    }

    /// The candidates of those that have not ended.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = ArmId> + '_ {
        self.open.iter().copied()
    }

    /// The candidates of those that were taken back.
    pub(crate) fn rolled_back(&self) -> Vec<ArmId> {
        let all = self.by_alias.values().map(|kept| &kept.rollout);
        let back = all.filter(|rollout| rollout.state == RolloutState::RolledBack);
        back.map(|rollout| rollout.candidate).collect()
    }

    /// When the guards of a candidate were looked at.
    pub(crate) fn look(&self, candidate: ArmId) -> Look {
        let key = self.by_candidate.get(&candidate);
        let kept = key.and_then(|key| self.by_alias.get(key));
        kept.map_or_else(Look::default, |kept| kept.look)
    }

    /// They are looked at, or are to be.
    pub(crate) fn looked(&mut self, candidate: ArmId, look: Look) {
        let key = self.by_candidate.get(&candidate);
        if let Some(kept) = key.and_then(|key| self.by_alias.get_mut(key)) {
            kept.look = look;
        }
    }

    /// The latest failure of a candidate.
    pub(crate) fn failed(&mut self, candidate: ArmId, failure: String) {
        let key = self.by_candidate.get(&candidate);
        if let Some(kept) = key.and_then(|key| self.by_alias.get_mut(key)) {
            kept.rollout.last_failure = failure;
        }
    }

    /// Walks the invariants.
    pub(crate) fn check(&self) {
        assert_eq!(self.by_alias.len(), self.by_candidate.len());
        for (key, kept) in &self.by_alias {
            let rollout = &kept.rollout;
            assert_eq!((&rollout.function, &rollout.alias), (&key.0, &key.1));
            assert_eq!(self.by_candidate.get(&rollout.candidate), Some(key));
            let open = self.open.contains(&rollout.candidate);
            assert_eq!(open, !rollout.state.is_over());
            assert_eq!(rollout.ended_ms.is_some(), rollout.state.is_over());
            assert!(rollout.step < rollout.plan.steps.len());
        }
    }
}
