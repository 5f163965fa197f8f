//! Where an alias sends invocations: rules are asked first, then a split, and what neither
//! decides goes to the version that the alias points at.
//!
//! Rules and keys look into inputs, which the machine never does: a shell evaluates a
//! [`Routing`] over a few inputs ahead of what is cut and hands in a [`Column`]. What is here
//! is what both agree on, and the arithmetic of buckets.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::function::VersionId;
use super::id::JobId;
use super::job::Target;
use super::message::GrantInputs;
use super::policy::Labels;
use super::ranges::Ranges;

/// Buckets that the arms of a split share out among themselves: a weight is a number of them.
pub const BUCKETS: u16 = 10_000;

/// An arm of any alias, numbered by the coordinator from 1 and never used again. The same
/// name at the same alias is the same arm, whatever the route was in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArmId(pub u32);

/// Where an alias sends invocations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The number of the version that runs what the plan leaves open.
    pub to: u32,
    /// Rules and split; none: everything goes to `to`.
    pub plan: Option<Arc<Plan>>,
}

impl Route {
    /// Everything goes to one version.
    #[must_use]
    pub fn plain(to: u32) -> Self {
        Self { to, plan: None }
    }

    /// How many bytes it takes at most to remember it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        24 + self.plan.as_deref().map_or(0, Plan::bytes)
    }
}

/// The rules and the split of a route. Never changes: a new route has another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The first that matches decides.
    pub rules: Vec<Rule>,
    /// What decides where no rule matches.
    pub split: Option<Split>,
}

impl Plan {
    /// All that it can decide for: its rules in order, then the arms of its split.
    pub fn targets(&self) -> impl Iterator<Item = (ArmId, &str, &Target)> {
        let rules = self.rules.iter();
        let rules = rules.map(|rule| (rule.arm, &*rule.name, &rule.target));
        let arms = self.split.iter().flat_map(|split| &split.arms);
        rules.chain(arms.map(|arm| (arm.id, &*arm.name, &arm.target)))
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.split.is_none()
    }

    /// How many bytes it takes at most to remember it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let targets = self.targets();
        let names = targets.map(|(_, name, target)| name.len() + target.display().len() + 24);
        let rules = self.rules.iter().map(|rule| rule.when.len());
        let arms = self.split.iter().flat_map(|split| &split.arms);
        let buckets = arms.map(|arm| 8 * arm.buckets.len());
        let keys = self.split.iter().map(|split| split.key_bytes() + 32);
        names.chain(rules).chain(buckets).chain(keys).sum()
    }
}

/// An input for which an expression is true goes to a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The arm that is recorded with what it matches.
    pub arm: ArmId,
    /// The arm's name.
    pub name: String,
    /// An expression in CEL over `input`, `labels` and `size`.
    pub when: String,
    /// Where a match goes.
    pub target: Target,
}

/// Weights of arms, and what keeps an owner of inputs on one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The routing key; none: an input goes by its index.
    pub key: Option<Key>,
    /// What makes the buckets of this split its own.
    pub salt: u64,
    /// The arms. Each bucket is in exactly one of them.
    pub arms: Vec<Arm>,
}

/// One side of a split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arm {
    /// Its number.
    pub id: ArmId,
    /// Its name.
    pub name: String,
    /// Where its inputs go.
    pub target: Target,
    /// Its buckets, in the order in which it got them: the last ones are given up first, so
    /// that who was moved by a step forward is moved back by a step back, and nobody else.
    pub buckets: Vec<Range<u16>>,
}

impl Arm {
    /// How many buckets it has.
    #[must_use]
    pub fn weight(&self) -> u16 {
        weight(&self.buckets)
    }
}

/// What keeps an owner of inputs on one arm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// A JSON pointer (RFC 6901) into the input.
    Pointer(String),
    /// A label of the job.
    Label(String),
}

impl Split {
    fn key_bytes(&self) -> usize {
        match &self.key {
            Some(Key::Pointer(key) | Key::Label(key)) => key.len(),
            None => 0,
        }
    }

    /// A split over these arms: the successor of `old`, if there is one and its key and salt
    /// stay. Then arms keep their buckets, and only what those that shrink give up moves.
    #[must_use]
    pub fn succeed(
        old: Option<&Self>,
        key: Option<Key>,
        salt: u64,
        arms: Vec<(ArmId, String, Target, u16)>,
    ) -> Self {
        let old = old.filter(|old| old.salt == salt && old.key == key);
        let had = old.map_or(&[][..], |old| &old.arms).iter();
        let had: Vec<_> = had.map(|arm| (arm.id, arm.buckets.clone())).collect();
        let wanted: Vec<_> = arms.iter().map(|(id, .., weight)| (*id, *weight)).collect();
        let mut shares = share_out(had, &wanted);
        let arms = arms.into_iter().map(|(id, name, target, _)| Arm {
            id,
            name,
            target,
            buckets: shares.remove(&id).unwrap_or_default(),
        });
        Self {
            key,
            salt,
            arms: arms.collect(),
        }
    }

    /// The same split with other weights; an arm that is not named has none. They must add up
    /// to [`BUCKETS`], else what they leave is no arm's and what is over is left out.
    #[must_use]
    pub fn reweighed(&self, weights: &BTreeMap<ArmId, u16>) -> Self {
        let arms = self.arms.iter().map(|arm| {
            let weight = weights.get(&arm.id).copied().unwrap_or(0);
            (arm.id, arm.name.clone(), arm.target.clone(), weight)
        });
        Self::succeed(Some(self), self.key.clone(), self.salt, arms.collect())
    }

    /// Which arm has a bucket, by its place in `arms`.
    #[must_use]
    pub fn arm_of(&self, bucket: u16) -> Option<usize> {
        let has = |arm: &Arm| arm.buckets.iter().any(|run| run.contains(&bucket));
        self.arms.iter().position(has)
    }

    /// Whether each bucket is in exactly one arm.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let mut runs: Vec<&Range<u16>> = self.arms.iter().flat_map(|arm| &arm.buckets).collect();
        runs.sort_by_key(|run| run.start);
        let mut next = 0;
        let in_order = runs.iter().all(|run| {
            let follows = run.start == next && run.end > run.start;
            next = run.end;
            follows
        });
        in_order && next == BUCKETS
    }
}

fn weight(buckets: &[Range<u16>]) -> u16 {
    buckets.iter().map(|run| run.end - run.start).sum()
}

/// Gives each arm as many buckets as it wants. Who wants less than it had gives up what it got
/// last; only that, and what is nobody's, goes to those that want more.
fn share_out(
    had: Vec<(ArmId, Vec<Range<u16>>)>,
    wanted: &[(ArmId, u16)],
) -> BTreeMap<ArmId, Vec<Range<u16>>> {
    let mut shares: BTreeMap<ArmId, Vec<Range<u16>>> = had.into_iter().collect();
    let mut free = Vec::new();
    if shares.is_empty() {
        free.push(0..BUCKETS);
    }
    for (arm, share) in &mut shares {
        let wanted = wanted.iter().find(|(id, _)| id == arm);
        let most = wanted.map_or(0, |(_, weight)| *weight);
        let mut over = weight(share).saturating_sub(most);
        while over > 0 {
            let Some(last) = share.last_mut() else { break };
            let cut = over.min(last.end - last.start);
            free.push(last.end - cut..last.end);
            last.end -= cut;
            over -= cut;
            if last.start == last.end {
                share.pop();
            }
        }
    }
    // What was given up last is taken first, so that a step back undoes the step before it.
    for (arm, weight_wanted) in wanted {
        let share = shares.entry(*arm).or_default();
        let mut lacks = weight_wanted.saturating_sub(weight(share));
        while lacks > 0 {
            let Some(run) = free.last_mut() else { break };
            let cut = lacks.min(run.end - run.start);
            let got = run.start..run.start + cut;
            run.start += cut;
            lacks -= cut;
            if run.start == run.end {
                free.pop();
            }
            match share.last_mut() {
                Some(last) if last.end == got.start => last.end = got.end,
                _ => share.push(got),
            }
        }
    }
    shares.retain(|arm, _| wanted.iter().any(|(id, _)| id == arm));
    shares
}

/// An arm as results bear it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RanArm {
    /// Its number.
    pub id: ArmId,
    /// Its name.
    pub name: Arc<str>,
}

/// A route that a client sets, with what only the shell can make. Its expressions were checked.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteWish {
    /// The function.
    pub function: String,
    /// The alias; it is made if it is new.
    pub alias: String,
    /// The rules in order.
    pub rules: Vec<RuleWish>,
    /// The split, if there is one.
    pub split: Option<SplitWish>,
    /// The version that runs what they leave open; none: what ran it before.
    pub to: Option<u32>,
    /// Who asks, as they say.
    pub by: String,
}

/// A rule that a client sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleWish {
    /// The arm's name.
    pub name: String,
    /// The expression.
    pub when: String,
    /// Where a match goes.
    pub target: Target,
}

/// A split that a client sets. Its weights add up to [`BUCKETS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitWish {
    /// The routing key.
    pub key: Option<Key>,
    /// The salt, should the split not succeed one with the same key.
    pub salt: u64,
    /// Whether everybody is to be dealt out anew, whatever was there.
    pub reshuffle: bool,
    /// The arms: name, target and weight.
    pub arms: Vec<(String, Target, u16)>,
}

/// All that an alias leads to at one moment: its own plan, and those of aliases which that
/// names. A shell evaluates it; see [`Column`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routing {
    /// Changes with whatever it is made of.
    pub revision: u64,
    /// The alias itself, then those that are reached through it. Never empty.
    pub nodes: Vec<Node>,
}

/// One alias of a [`Routing`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The function.
    pub function: String,
    /// The alias.
    pub alias: String,
    /// Its rules and split.
    pub plan: Arc<Plan>,
    /// Where each of [`Plan::targets`] leads.
    pub leads: Vec<Lead>,
    /// What runs that which the plan leaves open.
    pub otherwise: VersionId,
}

/// Where a decision leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lead {
    /// To a version.
    Version(VersionId),
    /// To another alias with a plan, by its place in [`Routing::nodes`].
    Node(usize),
}

impl Node {
    /// How many bytes it takes at most to remember it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let names = self.function.len() + self.alias.len() + 32;
        names + self.plan.bytes() + 12 * self.leads.len()
    }
}

impl Routing {
    /// Every version that it may decide for.
    pub fn versions(&self) -> impl Iterator<Item = VersionId> + '_ {
        self.nodes.iter().flat_map(|node| {
            let leads = node.leads.iter().filter_map(|lead| match lead {
                Lead::Version(id) => Some(*id),
                Lead::Node(_) => None,
            });
            leads.chain([node.otherwise])
        })
    }
}

/// What a routing says of an input: the arm of the alias that was asked, if one of its rules or
/// its split decided, and the version at the end of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decision {
    /// The arm.
    pub arm: Option<ArmId>,
    /// What runs.
    pub version: VersionId,
}

/// Inputs that a shell is to sort by what a routing says of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Sorting {
    /// Their job.
    pub job: JobId,
    /// What is asked.
    pub routing: Arc<Routing>,
    /// Which inputs.
    pub indices: Ranges,
    /// Where they lie.
    pub inputs: GrantInputs,
    /// The labels of the job.
    pub labels: Labels,
}

/// What a routing says of some inputs of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Their job.
    pub job: JobId,
    /// The revision of the routing that was asked.
    pub revision: u64,
    /// Which inputs were to be sorted.
    pub indices: Ranges,
    /// What was decided; together all of `indices`.
    pub sorted: Vec<(Decision, Ranges)>,
    /// What happened on the way.
    pub tally: RouteTally,
}

/// What happened when inputs were routed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteTally {
    /// Inputs.
    pub inputs: u64,
    /// Rules that could not be evaluated on an input, and so did not match it.
    pub rule_failures: u64,
    /// Inputs without the routing key, which went by their index.
    pub not_sticky: u64,
    /// The latest of the failures in words; empty: there was none.
    pub last_failure: String,
}

impl RouteTally {
    /// Takes in what happened to others.
    pub fn add(&mut self, other: &Self) {
        self.inputs = self.inputs.saturating_add(other.inputs);
        self.rule_failures = self.rule_failures.saturating_add(other.rule_failures);
        self.not_sticky = self.not_sticky.saturating_add(other.not_sticky);
        if !other.last_failure.is_empty() {
            self.last_failure.clone_from(&other.last_failure);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(old: Option<&Split>, weights: &[(u32, u16)]) -> Split {
        let arms = weights.iter().map(|(id, weight)| {
            let target = Target::Function("f".to_owned());
            (ArmId(*id), id.to_string(), target, *weight)
        });
        Split::succeed(old, None, 7, arms.collect())
    }

    fn owners(split: &Split) -> Vec<ArmId> {
        let of = |bucket| split.arms[split.arm_of(bucket).unwrap()].id;
        (0..BUCKETS).map(of).collect()
    }

    #[test]
    fn raising_a_weight_moves_nobody_out_and_takes_only_from_who_shrinks() {
        let ten = split(None, &[(7, 6_000), (9, 3_000), (8, 1_000)]);
        let twenty = split(Some(&ten), &[(7, 5_000), (9, 3_000), (8, 2_000)]);
        assert!(twenty.is_whole());
        for (was, is) in owners(&ten).into_iter().zip(owners(&twenty)) {
            assert!(
                was == is || (was, is) == (ArmId(7), ArmId(8)),
                "{was:?} to {is:?}"
            );
        }
        let back = split(Some(&twenty), &[(7, 6_000), (9, 3_000), (8, 1_000)]);
        assert_eq!(owners(&back), owners(&ten), "a step back undoes a step");
    }

    #[test]
    fn another_salt_or_key_deals_out_anew() {
        let old = split(None, &[(7, 9_000), (8, 1_000)]);
        let arms = |id: u32, weight| (ArmId(id), String::new(), old.arms[0].target.clone(), weight);
        let wanted = vec![arms(8, 1_000), arms(7, 9_000)];
        let new = Split::succeed(Some(&old), None, 8, wanted.clone());
        assert_eq!(new.arms[0].buckets.first(), Some(&(0..1_000)));
        let kept = Split::succeed(Some(&old), None, 7, wanted);
        assert_eq!(kept.arms[0].buckets.first(), Some(&(9_000..10_000)));
    }

    proptest! {
        #[test]
        fn any_walk_of_weights_moves_as_few_as_can_be(
            steps in proptest::collection::vec(
                proptest::collection::btree_map(1u32..6, 1u32..100, 1..5), 1..8,
            ),
        ) {
            let mut last: Option<Split> = None;
            for step in steps {
                let total: u32 = step.values().sum();
                let mut weights: Vec<(u32, u16)> = step
                    .iter()
                    .map(|(id, part)| (*id, u16::try_from(part * 10_000 / total).unwrap()))
                    .collect();
                let sum: u16 = weights.iter().map(|(_, weight)| weight).sum();
                weights[0].1 += BUCKETS - sum;
                let next = split(last.as_ref(), &weights);
                prop_assert!(next.is_whole());
                for (arm, (id, weight)) in next.arms.iter().zip(&weights) {
                    prop_assert_eq!((arm.id, arm.weight()), (ArmId(*id), *weight));
                }
                if let Some(last) = &last {
                    let had = |id: ArmId| {
                        let arm = last.arms.iter().find(|arm| arm.id == id);
                        arm.map_or(0, Arm::weight)
                    };
                    let grown = next.arms.iter().map(|arm| {
                        u64::from(arm.weight().saturating_sub(had(arm.id)))
                    });
                    let pairs = owners(last).into_iter().zip(owners(&next));
                    let moved = pairs.filter(|(was, is)| was != is).count() as u64;
                    prop_assert_eq!(moved, grown.sum::<u64>());
                }
                last = Some(next);
            }
        }
    }
}
