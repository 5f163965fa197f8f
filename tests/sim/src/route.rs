//! Aliases share out what they get, and versions are rolled out in steps; the shell sorts inputs as
//! the real one does, with the real router over the real blocks.

use std::collections::VecDeque;
use std::sync::Arc;

use umbel_core::command::{Refusal, Reply};
use umbel_core::event::Event;
use umbel_core::function::Qualifier;
use umbel_core::guard::Guard;
use umbel_core::id::Index;
use umbel_core::job::Target;
use umbel_core::message::GrantInputs;
use umbel_core::policy::Labels;
use umbel_core::ranges::Ranges;
use umbel_core::rollout::{RolloutPlan, RolloutWish};
use umbel_core::route::{
    BUCKETS, Column, Decision, RouteTally, RouteWish, Routing, RuleWish, Sorting, SplitWish,
};
use umbel_route::{Input, Router};

use crate::agenda::What;
use crate::bug::Bug;
use crate::client::Ask;
use crate::moves::{MoveKind, RollOutPlan, SplitPlan};
use crate::shell::{Mail, Shell};
use crate::wire;
use crate::world::World;

/// A rule that some inputs match, whatever they hold.
const RULE: &str = "size % 2 == 0";
/// The shares of a rollout's steps, in hundredths of a percent.
const STEPS: [u16; 4] = [1_000, 3_000, 5_000, 10_000];
const GUARD: &str = "failure_rate<=+10%";
/// Who asks.
const BY: &str = "the plan";
/// How long the thread that evaluates takes at most.
const SORT_MS_MAX: u64 = 30;

/// What the machine wants sorted.
pub(crate) type Sortings = VecDeque<Box<Sorting>>;

impl World {
    /// Somebody sets a route, or begins or changes a rollout.
    pub(crate) fn routes(&mut self, number: usize, function: &str, kind: MoveKind) {
        let ask = Ask::Move(number);
        match kind {
            MoveKind::Split(plan) => {
                let wish = Box::new(self.split(number, function, plan));
                self.ask_by(None, ask, |reply| Event::SetRoute { reply, wish });
            }
            MoveKind::RollOut(plan) => {
                let wish = Box::new(self.roll_out(number, function, plan));
                self.ask_by(None, ask, |reply| Event::StartRollout { reply, wish });
            }
            MoveKind::Change { alias, to } => {
                let (function, alias) = (function.to_owned(), alias.to_owned());
                self.ask_by(None, ask, |reply| Event::MoveRollout {
                    reply,
                    function,
                    alias,
                    to,
                    by: BY.to_owned(),
                });
            }
            other => panic!("not about routes: {other:?}"),
        }
    }

    fn split(&self, number: usize, function: &str, plan: SplitPlan) -> RouteWish {
        let version = |number| Target::Version(function.to_owned(), Qualifier::Version(number));
        let [one, two, old] = [0, 1, 2].map(|back| self.number_of(function, back));
        let rest = BUCKETS - plan.weight;
        let mut arms = vec![(one, plan.weight), (two, rest)];
        if plan.three && old != two && rest > 1 {
            arms = vec![(one, plan.weight), (two, rest / 2), (old, rest - rest / 2)];
        }
        // A door lets no name in twice.
        if one == two {
            arms = vec![(one, BUCKETS)];
        }
        let arms = arms.into_iter();
        let arms = arms.map(|(number, weight)| (number.to_string(), version(number), weight));
        let rule = plan.rule.then(|| RuleWish {
            name: "even".to_owned(),
            when: RULE.to_owned(),
            target: version(old),
        });
        RouteWish {
            function: function.to_owned(),
            alias: plan.alias.to_owned(),
            rules: rule.into_iter().collect(),
            split: Some(SplitWish {
                key: None,
                salt: number as u64,
                reshuffle: plan.weight.is_multiple_of(7),
                arms: arms.collect(),
            }),
            to: None,
            by: BY.to_owned(),
        }
    }

    fn roll_out(&self, number: usize, function: &str, plan: RollOutPlan) -> RolloutWish {
        let guards: &[&str] = if plan.guards { &[GUARD] } else { &[] };
        let guards = guards
            .iter()
            .filter_map(|guard| guard.parse::<Guard>().ok());
        RolloutWish {
            function: function.to_owned(),
            alias: plan.alias.to_owned(),
            to: self.number_of(function, 0),
            from: Some(self.number_of(function, 1)),
            plan: RolloutPlan {
                steps: STEPS[STEPS.len() - plan.steps..].to_vec(),
                guards: guards.collect(),
                least: plan.least,
                bake_ms: 20 * plan.least,
            },
            key: None,
            salt: number as u64,
            by: BY.to_owned(),
        }
    }

    /// Whether an answer is one that a route or a rollout may get.
    pub(crate) fn is_of_route(reply: &Reply) -> bool {
        match reply {
            Reply::Rollout(_) => true,
            Reply::Refused(refusal) => matches!(
                refusal,
                Refusal::RolloutUnderWay { .. }
                    | Refusal::RolloutImpossible { .. }
                    | Refusal::RolloutOver { .. }
                    | Refusal::NoRollout { .. }
                    | Refusal::RouteInUse { .. }
            ),
            _ => false,
        }
    }

    /// The machine wants inputs sorted.
    pub(crate) fn wants_sorted(&mut self, shell: &mut Shell, sorting: Box<Sorting>) {
        shell.sortings.push_back(sorting);
        let incarnation = shell.incarnation;
        let wait_ms = self.dice.below(SORT_MS_MAX);
        self.later(wait_ms, What::Sorts(incarnation));
    }

    /// What was wanted first is sorted.
    pub(crate) fn sorts(&mut self, incarnation: u32) {
        let bug = self.bug;
        let Some(shell) = self.awake(incarnation, What::Sorts(incarnation)) else {
            return;
        };
        let Some(sorting) = shell.sortings.pop_front() else {
            return;
        };
        let mut column = column(shell, &sorting);
        if bug == Some(Bug::SwapArms) {
            crate::mutate::swap_arms(&mut column);
        }
        self.post(Mail::Event(Event::Sorted(Box::new(column))));
    }
}

/// Asks a routing about the input of an invoke.
pub(crate) fn decide(routing: &Arc<Routing>, number: usize) -> (u64, Decision) {
    let router = Router::new(Arc::clone(routing));
    let (labels, bytes) = (Labels::new(), number.to_string());
    let input = Input {
        bytes: bytes.as_bytes(),
        index: number as u64,
    };
    let mut asker = router.asker(&labels);
    let decision = asker.decide(input, &mut RouteTally::default());
    (routing.revision, decision)
}

/// Asks about each input of a sorting.
fn column(shell: &Shell, sorting: &Sorting) -> Column {
    let router = Router::new(Arc::clone(&sorting.routing));
    let mut asker = router.asker(&sorting.labels);
    let mut tally = RouteTally::default();
    let mut sorted: Vec<(Decision, Ranges)> = Vec::new();
    let mut sort = |index: Index, bytes: &[u8]| {
        let index_of = Input {
            bytes,
            index: index.into(),
        };
        let decision = asker.decide(index_of, &mut tally);
        match sorted.iter_mut().find(|(known, _)| *known == decision) {
            Some((_, indices)) => indices.insert(index),
            None => sorted.push((decision, Ranges::one(index..index + 1))),
        }
    };
    let mut rest = sorting.indices.clone();
    match &sorting.inputs {
        GrantInputs::Range { begin } => {
            for index in rest.indices() {
                sort(index, (begin + u64::from(index)).to_string().as_bytes());
            }
            rest = Ranges::new();
        }
        GrantInputs::Blocks(refs) => {
            for at in refs {
                // What cannot be loaded is sorted by its index.
                let Ok(block) = wire::block(shell, sorting.job, at) else {
                    continue;
                };
                for (index, input) in (at.first..).zip(block.entries()) {
                    if rest.contains(index) {
                        sort(index, input);
                    }
                }
                rest = rest.minus(&Ranges::one(at.first..at.first + block.count()));
            }
        }
    }
    for index in rest.indices() {
        sort(index, &[]);
    }
    Column {
        job: sorting.job,
        revision: sorting.routing.revision,
        indices: sorting.indices.clone(),
        sorted,
        tally,
    }
}
