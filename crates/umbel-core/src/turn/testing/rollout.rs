//! Rollouts in the small cluster.

use super::{Env, failed};
use crate::command::{Refusal, Reply};
use crate::event::Event;
use crate::id::Index;
use crate::outcome::FailureKind;
use crate::ranges::Ranges;
use crate::rollout::{RolloutMove, RolloutPlan, RolloutView, RolloutWish};

/// A wish to roll out a version of `f@live` in steps of percents.
pub(crate) fn wish(to: u32, steps: &[u16], guards: &str, least: u64) -> RolloutWish {
    let guards = guards.split(',').filter(|guard| !guard.is_empty());
    RolloutWish {
        function: "f".to_owned(),
        alias: "live".to_owned(),
        to,
        from: None,
        plan: RolloutPlan {
            steps: steps.iter().map(|step| step * 100).collect(),
            guards: guards.map(|guard| guard.parse().unwrap()).collect(),
            least,
            bake_ms: 0,
        },
        key: None,
        salt: 7,
        by: "me@desk".to_owned(),
    }
}

impl Env {
    pub(crate) fn start_rollout(&mut self, wish: RolloutWish) -> RolloutView {
        self.try_start_rollout(wish).unwrap()
    }

    pub(crate) fn try_start_rollout(&mut self, wish: RolloutWish) -> Result<RolloutView, Refusal> {
        let wish = Box::new(wish);
        match self.ask(|reply| Event::StartRollout { reply, wish }) {
            Reply::Rollout(view) => Ok(*view),
            Reply::Refused(refusal) => Err(refusal),
            other => panic!("no rollout: {other:?}"),
        }
    }

    pub(crate) fn move_rollout(&mut self, to: RolloutMove) -> Result<RolloutView, Refusal> {
        let (function, alias, by) = ("f".to_owned(), "live".to_owned(), "me@desk".to_owned());
        match self.ask(|reply| Event::MoveRollout {
            reply,
            function,
            alias,
            to,
            by,
        }) {
            Reply::Rollout(view) => Ok(*view),
            Reply::Refused(refusal) => Err(refusal),
            other => panic!("no rollout: {other:?}"),
        }
    }

    pub(crate) fn rollout(&self) -> RolloutView {
        self.machine.rollout("f", "live").unwrap()
    }

    /// A worker runs all that it holds once, a chunk a report, as long as `goes` says so; `fails`
    /// tells by version and index.
    pub(crate) fn run_once(
        &mut self,
        name: &str,
        fails: &dyn Fn(u32, Index) -> bool,
        goes: &dyn Fn(&Self) -> bool,
    ) {
        self.give_back(name);
        for (lease, _) in self.open(name) {
            if !goes(self) {
                return;
            }
            let worker = &self.workers[name];
            let Some(indices) = worker.open.get(&lease).cloned() else {
                continue;
            };
            let version = worker.held[&lease].head.version;
            let version = version.and_then(|id| self.machine.version(id)).unwrap();
            let number = version.number;
            let bad = indices.indices().filter(|index| fails(number, *index));
            let bad: Ranges = bad.map(|index| index..index + 1).collect();
            let attempts = bad
                .indices()
                .map(|index| failed(index, FailureKind::Function));
            let attempts: Vec<_> = attempts.collect();
            self.report(name, lease, (indices.minus(&bad), attempts), 1_000);
            self.give_back(name);
        }
    }

    /// Runs all that there is to run while `goes` says so.
    pub(crate) fn run_while(
        &mut self,
        name: &str,
        fails: &dyn Fn(u32, Index) -> bool,
        goes: &dyn Fn(&Self) -> bool,
    ) {
        let mut idle = 0;
        while goes(self) && idle < 100 {
            idle = if self.open(name).is_empty() {
                idle + 1
            } else {
                0
            };
            self.run_once(name, fails, goes);
            if self.open(name).is_empty() {
                // Something may wait out a backoff.
                self.advance(1_000);
            }
        }
    }
}
