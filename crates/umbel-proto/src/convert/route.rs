//! Aliases and their routes: what a client sets, and what it is shown.

use std::collections::BTreeSet;
use std::fmt::Display;

use umbel_core::function::{Alias, LIVE, Move, MoveKind, Qualifier};
use umbel_core::job::Target;
use umbel_core::limit::{ARM_NAME_BYTES_MAX, ROUTE_ARMS_MAX, ROUTE_KEY_BYTES_MAX, ROUTE_RULES_MAX};
use umbel_core::route::{BUCKETS, Key, Plan, RouteTally, RouteWish, RuleWish, Split, SplitWish};

use super::function::{alias_name, check_by, function_name, qualifier};
use super::view::timestamp;
use super::{Invalid, head, name};
use crate::status::Reason;
use crate::v1;

/// What a routing key begins with that is a label of the job.
const LABEL_PREFIX: &str = "label:";
/// What the arms of rules begin with, so that none is taken for a split's.
pub(super) const RULE_PREFIX: &str = "rule:";

/// Reads a request to set a route; `salt` is what a split has that succeeds none. What its
/// expressions and its pointer mean is not looked at.
///
/// # Errors
/// When a field is missing or over its limit, or weights do not add up.
pub fn set_route(request: v1::SetRouteRequest, salt: u64) -> Result<RouteWish, Invalid> {
    let function = function_name("function", request.function)?;
    let alias = alias_name("alias", request.alias)?;
    check_by("by", &request.by)?;
    let route = request.route.unwrap_or_default();
    let to = Some(request.version).filter(|version| *version > 0);
    if route.rules.is_empty() && route.split.is_none() && to.is_none() {
        return Err(Invalid::bad(
            "route",
            "it has neither rules nor a split; name at least one of them, or a version that \
             everything goes to",
        ));
    }
    check_count("route.rules", route.rules.len(), ROUTE_RULES_MAX)?;
    let rules = route.rules.into_iter().enumerate().map(|(at, rule)| {
        let field = |name: &str| format!("route.rules[{at}].{name}");
        if rule.when.trim().is_empty() {
            return Err(Invalid::bad(field("when"), "it is missing"));
        }
        let target = lead(&field("target"), &function, &rule.target)?;
        let name = arm_name(&field("name"), rule.name, &function, &target)?;
        Ok(RuleWish {
            name: format!("{RULE_PREFIX}{name}"),
            when: rule.when,
            target,
        })
    });
    let rules = rules.collect::<Result<_, Invalid>>()?;
    let reshuffle = request.reshuffle;
    let split = route
        .split
        .map(|wire| split(wire, &function, (salt, reshuffle)));
    Ok(RouteWish {
        rules,
        split: split.transpose()?,
        function,
        alias,
        to,
        by: request.by,
    })
}

fn split(
    wire: v1::Split,
    function: &str,
    (salt, reshuffle): (u64, bool),
) -> Result<SplitWish, Invalid> {
    let key = key("route.split.key", wire.key)?;
    check_count("route.split.arms", wire.arms.len(), ROUTE_ARMS_MAX)?;
    let sum = wire
        .arms
        .iter()
        .map(|arm| u64::from(arm.weight))
        .sum::<u64>();
    if sum != u64::from(BUCKETS) {
        return Err(bad_weights(sum));
    }
    let mut names = BTreeSet::new();
    let arms = wire.arms.into_iter().enumerate().map(|(at, arm)| {
        let field = |name: &str| format!("route.split.arms[{at}].{name}");
        let target = lead(&field("target"), function, &arm.target)?;
        let name = arm_name(&field("name"), arm.name, function, &target)?;
        if !names.insert(name.clone()) {
            let words = format!("two arms are named {name:?}; name each another way");
            return Err(Invalid::bad(field("name"), words));
        }
        // Each is at most the sum.
        Ok((name, target, u16::try_from(arm.weight).unwrap_or(0)))
    });
    Ok(SplitWish {
        key,
        salt,
        reshuffle,
        arms: arms.collect::<Result<_, Invalid>>()?,
    })
}

fn bad_weights(sum: u64) -> Invalid {
    let percent = |points: u64| format!("{}.{:02} %", points / 100, points % 100);
    let words = format!(
        "the weights add up to {}, and not to 100 %; an input must have exactly one arm",
        percent(sum)
    );
    let keys: [(&str, &dyn Display); 2] = [("sum", &sum), ("expected", &BUCKETS)];
    Invalid::new(Reason::BadWeights, "route.split.arms", words, &keys)
}

/// Reads a routing key; empty is none. Whether a pointer is one is not looked at.
pub(super) fn key(field: &str, text: String) -> Result<Option<Key>, Invalid> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > ROUTE_KEY_BYTES_MAX {
        let words = format!(
            "it has {} bytes, the limit is {ROUTE_KEY_BYTES_MAX}",
            text.len()
        );
        return Err(Invalid::bad(field, words));
    }
    match text.strip_prefix(LABEL_PREFIX) {
        Some("") => Err(Invalid::bad(
            field,
            "name a label of the job, as in \"label:tenant\"",
        )),
        Some(label) => Ok(Some(Key::Label(label.to_owned()))),
        None => Ok(Some(Key::Pointer(text))),
    }
}

/// Where a rule or an arm leads: `7` or `@ALIAS` of the function itself, or another function.
fn lead(field: &str, function: &str, text: &str) -> Result<Target, Invalid> {
    let own = match text.strip_prefix('@') {
        Some(alias) => Some(alias),
        None => Some(text).filter(|text| text.starts_with(|first: char| first.is_ascii_digit())),
    };
    if let Some(own) = own {
        let Some(which) = qualifier(own) else {
            let shown = head(text, ARM_NAME_BYTES_MAX);
            let words = format!(
                "{shown:?} leads nowhere; write the number of a version, as in 7, or @ALIAS, or \
                 another function"
            );
            return Err(Invalid::bad(field, words));
        };
        return Ok(Target::Version(function.to_owned(), which));
    }
    name::lead(field, text)
}

/// How people write where something leads, seen from a function.
#[must_use]
pub fn lead_text(function: &str, target: &Target) -> String {
    match target {
        Target::Version(name, Qualifier::Version(number)) if name == function => number.to_string(),
        Target::Version(name, Qualifier::Alias(alias)) if name == function => format!("@{alias}"),
        other => other.display(),
    }
}

/// An arm's name: the one that is given, or where it leads.
fn arm_name(
    field: &str,
    given: String,
    function: &str,
    target: &Target,
) -> Result<String, Invalid> {
    if given.is_empty() {
        return Ok(lead_text(function, target));
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
    if given.len() > ARM_NAME_BYTES_MAX || !given.bytes().all(fits) {
        let shown = head(&given, ARM_NAME_BYTES_MAX);
        let words = format!(
            "{shown:?} cannot name an arm: at most {ARM_NAME_BYTES_MAX} letters, digits, `.`, \
             `_`, `-` and `@`"
        );
        return Err(Invalid::bad(field, words));
    }
    Ok(given)
}

fn check_count(field: &str, count: usize, limit: usize) -> Result<(), Invalid> {
    if count > limit {
        return Err(Invalid::bad(
            field,
            format!("there are {count}, the limit is {limit}"),
        ));
    }
    Ok(())
}

/// The refusal of a rule whose expression is wrong; `number` counts from 1.
#[must_use]
pub fn bad_rule(number: usize, (line, column): (usize, usize), problem: &str) -> Invalid {
    let words = format!("rule {number}, line {line}, column {column}: {problem}");
    let field = format!("route.rules[{}].when", number.saturating_sub(1));
    let keys: [(&str, &dyn Display); 4] = [
        ("rule", &number),
        ("line", &line),
        ("column", &column),
        ("problem", &problem),
    ];
    Invalid::new(Reason::BadRule, &field, words, &keys)
}

/// An alias as it is shown beside others: without its earlier routes.
#[must_use]
pub fn alias(alias: &Alias) -> v1::Alias {
    let mut shown = alias_history(alias);
    shown.moves.iter_mut().for_each(|one| one.route = None);
    shown
}

/// An alias as it is shown alone.
#[must_use]
pub fn alias_history(alias: &Alias) -> v1::Alias {
    let function = alias.function.as_str();
    let moves = alias.moves.iter().map(|one| wire_move(function, one));
    v1::Alias {
        function: alias.function.clone(),
        name: alias.name.clone(),
        version: alias.route.to,
        follows: alias.follows,
        moves: moves.collect(),
        route: alias
            .route
            .plan
            .as_ref()
            .map(|plan| wire_route(function, plan)),
    }
}

fn wire_move(function: &str, one: &Move) -> v1::AliasMove {
    let kind = match one.kind {
        MoveKind::Published => v1::MoveKind::Published,
        MoveKind::Pointed => v1::MoveKind::Pointed,
        MoveKind::RolledBack => v1::MoveKind::RolledBack,
        MoveKind::RouteSet => v1::MoveKind::RouteSet,
        MoveKind::RolloutStarted => v1::MoveKind::RolloutStarted,
        MoveKind::RolloutStepped => v1::MoveKind::RolloutStepped,
        MoveKind::Promoted => v1::MoveKind::Promoted,
        MoveKind::RolloutRolledBack => v1::MoveKind::RolloutRolledBack,
    };
    v1::AliasMove {
        kind: kind.into(),
        by: one.by.clone(),
        at: Some(timestamp(one.at_ms)),
        from_version: one.from.unwrap_or(0),
        to_version: one.to,
        route: one.plan.as_ref().map(|plan| wire_route(function, plan)),
    }
}

fn wire_route(function: &str, plan: &Plan) -> v1::Route {
    let rules = plan.rules.iter().map(|rule| {
        let name = rule.name.strip_prefix(RULE_PREFIX).unwrap_or(&rule.name);
        v1::Rule {
            when: rule.when.clone(),
            target: lead_text(function, &rule.target),
            name: name.to_owned(),
        }
    });
    v1::Route {
        rules: rules.collect(),
        split: plan.split.as_ref().map(|split| wire_split(function, split)),
    }
}

fn wire_split(function: &str, split: &Split) -> v1::Split {
    let arms = split.arms.iter().map(|arm| v1::Arm {
        target: lead_text(function, &arm.target),
        weight: arm.weight().into(),
        name: arm.name.clone(),
        buckets: arm
            .buckets
            .iter()
            .map(|run| v1::Buckets {
                begin: run.start.into(),
                end: run.end.into(),
            })
            .collect(),
    });
    v1::Split {
        key: key_text(split.key.as_ref()),
        arms: arms.collect(),
        salt: split.salt.to_string(),
    }
}

/// How people write a routing key; none is empty.
#[must_use]
pub fn key_text(key: Option<&Key>) -> String {
    match key {
        None => String::new(),
        Some(Key::Pointer(pointer)) => pointer.clone(),
        Some(Key::Label(label)) => format!("{LABEL_PREFIX}{label}"),
    }
}

/// What happened to inputs that were routed.
#[must_use]
pub fn figures(tally: &RouteTally) -> v1::RouteFigures {
    v1::RouteFigures {
        inputs: tally.inputs,
        rule_failures: tally.rule_failures,
        not_sticky: tally.not_sticky,
        last_failure: tally.last_failure.clone(),
    }
}

/// The target that an alias is in a job.
#[must_use]
pub fn target_of(function: String, alias: String) -> Target {
    if alias == LIVE {
        return Target::Function(function);
    }
    Target::Version(function, Qualifier::Alias(alias))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arm(target: &str, weight: u32) -> v1::Arm {
        v1::Arm {
            target: target.to_owned(),
            weight,
            ..v1::Arm::default()
        }
    }

    fn asked(rules: &[(&str, &str)], key: &str, arms: Vec<v1::Arm>) -> v1::SetRouteRequest {
        let rules = rules.iter().map(|(when, target)| v1::Rule {
            when: (*when).to_owned(),
            target: (*target).to_owned(),
            name: String::new(),
        });
        v1::SetRouteRequest {
            function: "resize".to_owned(),
            alias: "live".to_owned(),
            route: Some(v1::Route {
                rules: rules.collect(),
                split: (!arms.is_empty()).then(|| v1::Split {
                    key: key.to_owned(),
                    arms,
                    salt: String::new(),
                }),
            }),
            ..v1::SetRouteRequest::default()
        }
    }

    #[test]
    fn targets_are_seen_from_the_function_and_name_their_arms() {
        let rules = [
            ("true", "7"),
            ("true", "@canary"),
            ("true", "other"),
            ("true", "other@3"),
        ];
        let wish = set_route(asked(&rules, "", Vec::new()), 9).unwrap();
        let names: Vec<&str> = wish.rules.iter().map(|rule| &*rule.name).collect();
        assert_eq!(
            names,
            ["rule:7", "rule:@canary", "rule:other", "rule:other@3"]
        );
        let targets: Vec<String> = wish
            .rules
            .iter()
            .map(|rule| rule.target.display())
            .collect();
        assert_eq!(targets, ["resize@7", "resize@canary", "other", "other@3"]);
        let wish = set_route(asked(&[], "label:tenant", vec![arm("7", 10_000)]), 9).unwrap();
        let split = wish.split.unwrap();
        assert_eq!(split.key, Some(Key::Label("tenant".to_owned())));
        assert_eq!((split.salt, &*split.arms[0].0), (9, "7"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let arms = || vec![arm("7", 9_000), arm("8", 1_000)];
        for (request, words) in [
            (
                asked(&[], "", Vec::new()),
                "it has neither rules nor a split",
            ),
            (asked(&[("", "7")], "", Vec::new()), "it is missing"),
            (
                asked(&[("true", "")], "", Vec::new()),
                "where it leads is missing",
            ),
            (
                asked(&[("true", "7x")], "", Vec::new()),
                "\"7x\" leads nowhere",
            ),
            (
                asked(&[("true", "@")], "", Vec::new()),
                "\"@\" leads nowhere",
            ),
            (
                asked(&[("true", "0")], "", Vec::new()),
                "\"0\" leads nowhere",
            ),
            (asked(&[], "label:", arms()), "name a label of the job"),
            (
                asked(&[], "", vec![arm("7", 9_000)]),
                "the weights add up to 90.00 %",
            ),
            (
                asked(&[], "", vec![arm("7", u32::MAX); 9]),
                "and not to 100 %",
            ),
            (
                asked(&[], "", vec![arm("7", 5_000); 2]),
                "two arms are named \"7\"",
            ),
            (
                asked(&[], "", vec![arm("7", 1); 65]),
                "there are 65, the limit is 64",
            ),
        ] {
            let invalid = set_route(request, 1).unwrap_err();
            assert!(invalid.to_string().contains(words), "{invalid}");
        }
    }
}
