//! A routing that was made ready to be asked, about very many inputs.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use cel::Value;
use umbel_core::function::VersionId;
use umbel_core::policy::Labels;
use umbel_core::route::{self, ArmId, Decision, Lead, Node, RouteTally, Routing, Split};

use crate::expression::{self, Expression, Scope};
use crate::hash;
use crate::json::{self, Wanted};
use crate::key::{NoKey, Pointer};
use crate::step::{Chosen, Key, Step, Told};

/// A routing whose expressions are parsed.
pub struct Router {
    routing: Arc<Routing>,
    nodes: Vec<Ready>,
    /// What of an input anybody looks at; none: all of it.
    wanted: Wanted,
}

/// One node, made ready.
struct Ready {
    /// The rules; what does not parse fails on each input.
    rules: Vec<Result<Expression, String>>,
    key: Option<By>,
    /// The ends of runs of buckets, ascending, and whose each run is.
    buckets: Vec<(u16, usize)>,
    arms: Vec<ArmId>,
}

/// A routing key, made ready.
enum By {
    Pointer(Result<Pointer, String>),
    Label(String),
}

/// An input that is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Its index; what has none has a number that somebody drew.
    pub index: u64,
}

/// Asks a [`Router`] about inputs that come with the same labels.
pub struct Asker<'a> {
    router: &'a Router,
    labels: &'a Labels,
    scope: Scope,
}

/// What is known of the input that is being asked about.
struct Asked<'a> {
    index: u64,
    json: Option<Result<Value, String>>,
    labels: &'a Labels,
}

impl Router {
    /// Makes a routing ready. Its expressions were checked when they were set; one that does not
    /// parse any more fails on each input, as others may.
    #[must_use]
    pub fn new(routing: Arc<Routing>) -> Self {
        let nodes: Vec<Ready> = routing.nodes.iter().map(Ready::of).collect();
        let mut wanted = Some(std::collections::BTreeSet::new());
        for node in &nodes {
            for rule in node.rules.iter().flatten() {
                match (rule.wanted(), &mut wanted) {
                    (Some(fields), Some(wanted)) => wanted.extend(fields.iter().cloned()),
                    _ => wanted = None,
                }
            }
            if let (Some(By::Pointer(Ok(pointer))), Some(wanted)) = (&node.key, &mut wanted) {
                wanted.insert(pointer.first().to_owned());
            }
        }
        Self {
            routing,
            nodes,
            wanted,
        }
    }

    /// The routing.
    #[must_use]
    pub fn routing(&self) -> &Arc<Routing> {
        &self.routing
    }

    /// Asks about inputs that come with these labels.
    #[must_use]
    pub fn asker<'a>(&'a self, labels: &'a Labels) -> Asker<'a> {
        Asker {
            router: self,
            labels,
            scope: Scope::new(labels),
        }
    }

    /// Whether anybody looks into inputs at all.
    fn looks(&self) -> bool {
        self.wanted.as_ref().is_none_or(|fields| !fields.is_empty())
    }
}

impl<'a> Asker<'a> {
    /// Where an input goes.
    pub fn decide(&mut self, input: Input<'_>, tally: &mut RouteTally) -> Decision {
        tally.inputs += 1;
        self.walk(input, tally, None)
    }

    /// Where an input goes, and why.
    pub fn explain(&mut self, input: Input<'_>) -> (Decision, Vec<Step>) {
        let mut steps = Vec::new();
        let decision = self.walk(input, &mut RouteTally::default(), Some(&mut steps));
        (decision, steps)
    }

    fn walk(
        &mut self,
        input: Input<'_>,
        tally: &mut RouteTally,
        mut steps: Option<&mut Vec<Step>>,
    ) -> Decision {
        let asked = self.look_at(input);
        let scope = &self.scope;
        let mut first_arm = None;
        let mut at = 0;
        // A routing has no loops; should one say otherwise, this ends all the same.
        for place in 0..=self.router.nodes.len() {
            let router = self.router;
            let (Some(node), Some(ready)) = (router.routing.nodes.get(at), router.nodes.get(at))
            else {
                break;
            };
            let mut step = steps.is_some().then(|| Step {
                function: node.function.clone(),
                alias: node.alias.clone(),
                rules: Vec::new(),
                chosen: Chosen::Otherwise,
            });
            let ruled = ready.rule(node, (scope, &asked), tally, step.as_mut());
            let chosen = ruled.or_else(|| ready.split(node, &asked, tally, step.as_mut()));
            if let (Some(steps), Some(step)) = (steps.as_deref_mut(), step) {
                steps.push(step);
            }
            if place == 0 {
                first_arm = chosen.and_then(|chosen| ready.arms.get(chosen).copied());
            }
            let lead = chosen.and_then(|chosen| node.leads.get(chosen).copied());
            match lead.unwrap_or(Lead::Version(node.otherwise)) {
                Lead::Node(next) => at = next,
                Lead::Version(version) => {
                    return Decision {
                        arm: first_arm,
                        version,
                    };
                }
            }
        }
        let first = self.router.routing.nodes.first();
        Decision {
            arm: None,
            version: first.map_or(VersionId(0), |node| node.otherwise),
        }
    }

    fn look_at(&mut self, input: Input<'_>) -> Asked<'a> {
        self.scope.size(input.bytes.len());
        let looks = self.router.looks();
        let json = looks.then(|| json::read(input.bytes, &self.router.wanted));
        if let Some(Ok(json)) = &json {
            self.scope.input(json.clone());
        }
        Asked {
            index: input.index,
            json,
            labels: self.labels,
        }
    }
}

impl Ready {
    fn of(node: &Node) -> Self {
        let plan = &node.plan;
        let rules = plan.rules.iter().map(|rule| {
            let parsed = expression::parse(&rule.when);
            parsed.map_err(|mistake| mistake.to_string())
        });
        let key = plan.split.as_ref().and_then(|split| split.key.as_ref());
        let key = key.map(|key| match key {
            route::Key::Pointer(pointer) => By::Pointer(Pointer::parse(pointer)),
            route::Key::Label(label) => By::Label(label.clone()),
        });
        Self {
            rules: rules.collect(),
            key,
            buckets: plan.split.as_ref().map(runs_of).unwrap_or_default(),
            arms: plan.targets().map(|(arm, ..)| arm).collect(),
        }
    }

    /// The place of the first rule that matches.
    fn rule(
        &self,
        node: &Node,
        (scope, asked): (&Scope, &Asked<'_>),
        tally: &mut RouteTally,
        mut step: Option<&mut Step>,
    ) -> Option<usize> {
        for (place, (ready, rule)) in self.rules.iter().zip(&node.plan.rules).enumerate() {
            let told = match asked.rule(ready, scope) {
                Ok(true) => Told::Matched,
                Ok(false) => Told::Unmatched,
                Err(why) => {
                    tally.rule_failures += 1;
                    let (number, index) = (place + 1, asked.index);
                    let alias = format!("{}@{}", node.function, node.alias);
                    tally.last_failure =
                        format!("rule {number} of {alias} on input {index}: {why}");
                    Told::Failed(why)
                }
            };
            let matched = told == Told::Matched;
            if let Some(step) = &mut step {
                step.rules.push((rule.when.clone(), told));
                if matched {
                    step.chosen = Chosen::Rule {
                        number: place + 1,
                        arm: rule.name.clone(),
                        target: rule.target.display(),
                    };
                }
            }
            if matched {
                return Some(place);
            }
        }
        None
    }

    /// The place of the arm that has the input's bucket.
    fn split(
        &self,
        node: &Node,
        asked: &Asked<'_>,
        tally: &mut RouteTally,
        step: Option<&mut Step>,
    ) -> Option<usize> {
        let split = node.plan.split.as_ref()?;
        let key = asked.key(self.key.as_ref());
        let digest = match &key {
            Ok(key) => hash::key_digest(key),
            Err(_) => {
                tally.not_sticky += 1;
                hash::index_digest(asked.index)
            }
        };
        let bucket = hash::bucket(split.salt, digest);
        let run = self.buckets.partition_point(|(end, _)| *end <= bucket);
        let (_, place) = self.buckets.get(run)?;
        if let Some((step, arm)) = step.zip(split.arms.get(*place)) {
            step.chosen = Chosen::Split {
                key: match key {
                    Ok(key) => Key::Sticky(key.into_owned()),
                    Err(why) => Key::Index(asked.index, why.to_string()),
                },
                digest,
                salt: split.salt,
                bucket,
                arm: arm.name.clone(),
                target: arm.target.display(),
            };
        }
        Some(node.plan.rules.len() + place)
    }
}

impl Asked<'_> {
    fn rule(&self, rule: &Result<Expression, String>, scope: &Scope) -> Result<bool, String> {
        let rule = rule.as_ref().map_err(Clone::clone)?;
        let looks = rule
            .wanted()
            .as_ref()
            .is_none_or(|fields| !fields.is_empty());
        if let Some(Err(why)) = self.json.as_ref().filter(|_| looks) {
            return Err(why.clone());
        }
        rule.is_true(scope)
    }

    fn key(&self, by: Option<&By>) -> Result<Cow<'_, str>, NoKey> {
        match by {
            None => Err(NoKey::Unkeyed),
            Some(By::Label(label)) => {
                let value = self.labels.get(label);
                let value = value.map(|value| Cow::Borrowed(value.as_str()));
                value.ok_or_else(|| NoKey::NoLabel(label.clone()))
            }
            Some(By::Pointer(Err(why))) => Err(NoKey::NoJson(why.clone())),
            Some(By::Pointer(Ok(pointer))) => match &self.json {
                Some(Ok(input)) => pointer.find(input),
                Some(Err(why)) => Err(NoKey::NoJson(why.clone())),
                None => Err(NoKey::Unkeyed),
            },
        }
    }
}

/// The ends of runs of buckets, ascending, with the place of the arm that has each.
fn runs_of(split: &Split) -> Vec<(u16, usize)> {
    let arms = split.arms.iter().enumerate();
    let runs = arms.flat_map(|(place, arm)| arm.buckets.iter().map(move |run| (run.end, place)));
    let mut runs: Vec<(u16, usize)> = runs.collect();
    runs.sort_unstable();
    runs
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("routing", &self.routing)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Asker<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asker").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use umbel_core::function::Qualifier;
    use umbel_core::job::Target;
    use umbel_core::route::{Plan, Rule};

    use super::*;

    fn version(number: u32) -> Target {
        Target::Version("f".to_owned(), Qualifier::Version(number))
    }

    /// A node that leads to version 100 by a rule, 7 and 8 by weights, else to 1.
    fn node(when: &[&str], key: Option<route::Key>, weights: &[u16]) -> Node {
        let rules = when.iter().enumerate().map(|(at, when)| Rule {
            arm: ArmId(100 + u32::try_from(at).unwrap()),
            name: format!("rule:{at}"),
            when: (*when).to_owned(),
            target: version(100),
        });
        let arms = weights.iter().zip(7..);
        let arms = arms.map(|(weight, id)| (ArmId(id), id.to_string(), version(id), *weight));
        let split = (!weights.is_empty()).then(|| Split::succeed(None, key, 7, arms.collect()));
        let plan = Plan {
            rules: rules.collect(),
            split,
        };
        let lead = |(_, _, target): (_, _, &Target)| match target {
            Target::Version(_, Qualifier::Version(number)) => Lead::Version(VersionId(*number)),
            _ => unreachable!(),
        };
        Node {
            function: "f".to_owned(),
            alias: "live".to_owned(),
            leads: plan.targets().map(lead).collect(),
            plan: Arc::new(plan),
            otherwise: VersionId(1),
        }
    }

    fn router(node: Node) -> Router {
        Router::new(Arc::new(Routing {
            revision: 1,
            nodes: vec![node],
        }))
    }

    fn user() -> Option<route::Key> {
        Some(route::Key::Pointer("/user/id".to_owned()))
    }

    #[test]
    fn the_first_rule_that_matches_goes_before_the_split_and_failures_are_counted() {
        let router = router(node(
            &["input.country == \"DE\"", "size > 1000"],
            user(),
            &[9_000, 1_000],
        ));
        let labels = Labels::new();
        let mut asker = router.asker(&labels);
        let mut tally = RouteTally::default();
        let mut decide = |bytes: &[u8], index| asker.decide(Input { bytes, index }, &mut tally);
        let germany = decide(br#"{"country":"DE","user":{"id":1}}"#, 0);
        assert_eq!((germany.arm, germany.version.0), (Some(ArmId(100)), 100));
        let long = [b"{\"country\":\"FR\",\"x\":\"", &[b'y'; 2_000][..], b"\"}"].concat();
        assert_eq!(decide(&long, 1).arm, Some(ArmId(101)));
        let keyed = decide(br#"{"country":"FR","user":{"id":"u-1"}}"#, 2);
        let again = decide(br#"{"user":{"id":"u-1"},"country":"IT"}"#, 3);
        assert_eq!(keyed, again, "the owner stays on the arm");
        assert_eq!((tally.rule_failures, tally.not_sticky), (0, 0));
        let text = asker.decide(
            Input {
                bytes: b"no json",
                index: 4,
            },
            &mut tally,
        );
        assert!(matches!(text.arm, Some(ArmId(7 | 8))));
        assert_eq!(
            (tally.inputs, tally.rule_failures, tally.not_sticky),
            (5, 1, 1)
        );
        assert!(
            tally
                .last_failure
                .starts_with("rule 1 of f@live on input 4: the input is not JSON")
        );
    }

    #[test]
    fn it_explains_rule_bucket_arm_and_why() {
        let router = router(node(
            &["input.n > 3", "input.beta"],
            user(),
            &[9_000, 1_000],
        ));
        let labels = Labels::new();
        let mut asker = router.asker(&labels);
        let bytes = br#"{"n":2,"user":{"id":"u-1"}}"#;
        let (decision, steps) = asker.explain(Input { bytes, index: 9 });
        let [step] = &steps[..] else {
            panic!("one alias")
        };
        assert_eq!(step.rules[0].1, Told::Unmatched);
        let Told::Failed(why) = &step.rules[1].1 else {
            panic!("it fails")
        };
        assert!(why.contains("beta"), "{why}");
        let Chosen::Split {
            key, bucket, arm, ..
        } = &step.chosen
        else {
            panic!("the split")
        };
        assert_eq!(*key, Key::Sticky("u-1".to_owned()));
        assert_eq!(*bucket, hash::bucket(7, hash::key_digest("u-1")));
        assert_eq!(arm.parse(), Ok(decision.version.0));
        let (_, steps) = asker.explain(Input {
            bytes: br#"{"user":{}}"#,
            index: 9,
        });
        let Chosen::Split { key, .. } = &steps[0].chosen else {
            panic!("the split")
        };
        let why = "the input has nothing at /user/id";
        assert_eq!(*key, Key::Index(9, why.to_owned()));
    }

    #[test]
    fn labels_are_keys_and_rules_and_need_no_input() {
        let key = Some(route::Key::Label("tenant".to_owned()));
        let router = router(node(&["labels.env == \"test\""], key, &[5_000, 5_000]));
        let labels = Labels::from([("tenant".to_owned(), "acme".to_owned())]);
        let mut asker = router.asker(&labels);
        let mut tally = RouteTally::default();
        let mut decide = |index| {
            asker.decide(
                Input {
                    bytes: b"\xff",
                    index,
                },
                &mut tally,
            )
        };
        let first = decide(0);
        assert!(
            (1..50).all(|index| decide(index) == first),
            "all of a tenant"
        );
        assert_eq!(tally.not_sticky, 0);
        assert_eq!(tally.rule_failures, 50, "there is no such label");
    }

    #[test]
    fn a_rule_alone_leaves_the_rest_where_the_alias_points() {
        let router = router(node(&["input > 5"], None, &[]));
        let labels = Labels::new();
        let mut asker = router.asker(&labels);
        let mut tally = RouteTally::default();
        for (bytes, version, arm) in [("9", 100, Some(ArmId(100))), ("3", 1, None)] {
            let input = Input {
                bytes: bytes.as_bytes(),
                index: 0,
            };
            let decision = asker.decide(input, &mut tally);
            assert_eq!((decision.version, decision.arm), (VersionId(version), arm));
        }
    }

    #[test]
    fn one_alias_leads_to_the_next() {
        let mut first = node(&[], None, &[10_000]);
        first.leads[0] = Lead::Node(1);
        let second = node(&[], None, &[0, 10_000]);
        let nodes = vec![first, second];
        let router = Router::new(Arc::new(Routing { revision: 1, nodes }));
        let labels = Labels::new();
        let (decision, steps) = router.asker(&labels).explain(Input {
            bytes: b"1",
            index: 0,
        });
        assert_eq!(
            (decision.arm, decision.version),
            (Some(ArmId(7)), VersionId(8))
        );
        assert_eq!(steps.len(), 2);
    }

    #[test]
    fn ten_to_twenty_percent_moves_nobody_out() {
        let ten = node(&[], user(), &[9_000, 1_000]);
        let mut twenty = ten.clone();
        let split = ten.plan.split.as_ref().unwrap();
        let weights = [(ArmId(7), 8_000), (ArmId(8), 2_000)].into();
        twenty.plan = Arc::new(Plan {
            rules: Vec::new(),
            split: Some(split.reweighed(&weights)),
        });
        let (ten, twenty) = (router(ten), router(twenty));
        let labels = Labels::new();
        let (mut before, mut after) = (ten.asker(&labels), twenty.asker(&labels));
        let mut tally = RouteTally::default();
        let mut counts = [0, 0];
        for index in 0..100_000 {
            let input = format!("{{\"user\":{{\"id\":{index}}}}}");
            let input = Input {
                bytes: input.as_bytes(),
                index,
            };
            let was = before.decide(input, &mut tally).arm == Some(ArmId(8));
            let is = after.decide(input, &mut tally).arm == Some(ArmId(8));
            assert!(is || !was, "{index} was moved out");
            counts[0] += u32::from(was);
            counts[1] += u32::from(is);
        }
        assert!((9_700..10_300).contains(&counts[0]) && (19_600..20_400).contains(&counts[1]));
    }
}
