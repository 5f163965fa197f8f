//! Sorts inputs as a shell would, by rules that only a test knows: `index < 5`.

use super::Env;
use crate::command::{Refusal, Reply};
use crate::event::Event;
use crate::id::Index;
use crate::job::Target;
use crate::ranges::Ranges;
use crate::route::{
    BUCKETS, Column, Decision, Lead, RouteTally, RouteWish, Routing, RuleWish, Sorting, SplitWish,
};

/// A wish for a route of `function`'s alias: rules (`index < 5`, target), then weights by target.
pub(crate) fn wish(
    (function, alias): (&str, &str),
    rules: &[(&str, Target)],
    split: &[(Target, u16)],
) -> RouteWish {
    let name = |target: &Target| match target {
        Target::Version(_, number) => number.to_string(),
        other => other.display(),
    };
    let rules = rules.iter().map(|(when, target)| RuleWish {
        name: format!("rule:{}", name(target)),
        when: (*when).to_owned(),
        target: target.clone(),
    });
    let arms = split.iter();
    let arms = arms.map(|(target, weight)| (name(target), target.clone(), *weight));
    let arms: Vec<_> = arms.collect();
    RouteWish {
        function: function.to_owned(),
        alias: alias.to_owned(),
        rules: rules.collect(),
        split: (!arms.is_empty()).then_some(SplitWish {
            key: None,
            salt: 7,
            reshuffle: false,
            arms,
        }),
        to: None,
        by: "me@desk".to_owned(),
    }
}

/// The bucket of an index, as these tests have it.
pub(crate) fn bucket(index: Index) -> u16 {
    u16::try_from(u64::from(index) * 7_919 % u64::from(BUCKETS)).unwrap()
}

pub(crate) fn decide(routing: &Routing, index: Index) -> Decision {
    let (mut at, mut arm, mut first) = (0, None, true);
    loop {
        let node = &routing.nodes[at];
        let matches = |when: &str| index < when.strip_prefix("index < ").unwrap().parse().unwrap();
        let rule = node.plan.rules.iter().position(|rule| matches(&rule.when));
        let place = rule.or_else(|| {
            let split = node.plan.split.as_ref()?;
            Some(node.plan.rules.len() + split.arm_of(bucket(index)).unwrap())
        });
        if first {
            arm = place.and_then(|place| Some(node.plan.targets().nth(place)?.0));
        }
        first = false;
        let version = match place.map(|place| node.leads[place]) {
            Some(Lead::Node(next)) => {
                at = next;
                continue;
            }
            Some(Lead::Version(version)) => version,
            None => node.otherwise,
        };
        return Decision { arm, version };
    }
}

pub(crate) fn column(sorting: &Sorting) -> Column {
    let mut sorted: Vec<(Decision, Ranges)> = Vec::new();
    for index in sorting.indices.indices() {
        let decision = decide(&sorting.routing, index);
        match sorted.iter_mut().find(|(known, _)| *known == decision) {
            Some((_, indices)) => indices.insert(index),
            None => sorted.push((decision, Ranges::one(index..index + 1))),
        }
    }
    Column {
        job: sorting.job,
        revision: sorting.routing.revision,
        indices: sorting.indices.clone(),
        sorted,
        tally: RouteTally {
            inputs: sorting.indices.len(),
            ..RouteTally::default()
        },
    }
}

impl Env {
    /// Answers what shells were asked to sort.
    pub(crate) fn sort(&mut self) {
        while !self.sortings.is_empty() {
            let sortings = std::mem::take(&mut self.sortings);
            let columns = sortings.iter().map(column);
            let sorted = columns.map(|column| Event::Sorted(Box::new(column)));
            let sorted: Vec<Event> = sorted.collect();
            self.one_turn(sorted);
        }
    }

    pub(crate) fn set_route(&mut self, wish: RouteWish) {
        self.try_set_route(wish).unwrap();
    }

    pub(crate) fn try_set_route(&mut self, wish: RouteWish) -> Result<(), Refusal> {
        let wish = Box::new(wish);
        match self.ask(|reply| Event::SetRoute { reply, wish }) {
            Reply::Refused(refusal) => Err(refusal),
            _ => Ok(()),
        }
    }
}
