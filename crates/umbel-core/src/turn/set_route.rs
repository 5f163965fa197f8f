//! The rules and the split of an alias are set, both at once.

use super::step::arms::{self, Arms};
use super::step::{self, Out, alias, rollout, route};
use crate::command::{Refusal, Reply};
use crate::function::{Alias, LIVE, MoveKind, Qualifier};
use crate::id::ReplyId;
use crate::job::Target;
use crate::limit;
use crate::route::{ArmId, Plan, Route, RouteWish, Rule, Split};
use crate::tables::Tables;

pub(crate) fn set(t: &mut Tables, out: &mut Out, to: ReplyId, wish: RouteWish) {
    let (function, name, by) = (wish.function.clone(), wish.alias.clone(), wish.by.clone());
    let (route, last_arm) = match judge(t, wish) {
        Ok(judged) => judged,
        Err(refusal) => return step::refuse(out, to, refusal),
    };
    let known = t.functions.find(&function);
    // Said twice is said once.
    if known
        .and_then(|known| known.aliases.get(&name))
        .is_none_or(|alias| alias.route != route)
    {
        arms::give_out(t, out, &function, last_arm);
        let step = alias::Step {
            kind: MoveKind::RouteSet,
            to: route,
            by,
        };
        alias::move_to(t, out, &function, &name, step);
    }
    let known = t.functions.find(&function);
    if let Some(alias) = known.and_then(|known| known.aliases.get(&name)) {
        step::reply(out, to, Reply::Alias(Box::new(alias.clone())));
    }
}

/// The route that is asked for, and the number of the newest arm in it.
fn judge(t: &Tables, wish: RouteWish) -> Result<(Route, ArmId), Refusal> {
    let Some(function) = t.functions.find(&wish.function) else {
        return Err(route::unpublished(t, &wish.function));
    };
    rollout::judge_still(t, &wish.function, &wish.alias)?;
    let alias = function.aliases.get(&wish.alias);
    if alias.is_none() && function.aliases.len() >= limit::FUNCTION_ALIASES_MAX {
        return Err(Refusal::TooManyAliases {
            function: wish.function.clone(),
            limit: limit::FUNCTION_ALIASES_MAX as u64,
        });
    }
    let asked = wish.to;
    let (name, function_name) = (wish.alias.clone(), wish.function.clone());
    let mut arms = Arms::of(alias, t.functions.next_arm());
    let plan = plan(wish, alias, &mut arms);
    let bytes = plan.bytes() as u64;
    let limit = limit::ROUTE_BYTES_MAX as u64;
    if bytes > limit {
        return Err(Refusal::RouteTooLarge {
            alias: format!("{function_name}@{name}"),
            bytes,
            limit,
        });
    }
    let heaviest = heaviest(&plan, &function_name);
    let to = asked
        .or(heaviest)
        .or_else(|| alias.map(|alias| alias.route.to));
    // A new alias begins where the bare name points.
    let live = function.aliases.get(LIVE).map(|live| live.route.to);
    let to = Route {
        to: to.or(live).unwrap_or(0),
        plan: alias::planned(plan),
    };
    route::judge(t, &function_name, &name, &to)?;
    Ok((to, arms.last))
}

/// The version of the function itself that gets most of a split.
fn heaviest(plan: &Plan, function: &str) -> Option<u32> {
    let arms = plan.split.iter().flat_map(|split| &split.arms);
    let own = arms.filter_map(|arm| match &arm.target {
        Target::Version(name, Qualifier::Version(number)) if name == function => {
            Some((arm.weight(), *number))
        }
        _ => None,
    });
    let mut best: Option<(u16, u32)> = None;
    for (weight, number) in own {
        if best.is_none_or(|(most, _)| weight > most) {
            best = Some((weight, number));
        }
    }
    best.map(|(_, number)| number)
}

fn plan(wish: RouteWish, alias: Option<&Alias>, arms: &mut Arms) -> Plan {
    let rules = wish.rules.into_iter().map(|rule| Rule {
        arm: arms.id(&rule.name),
        name: rule.name,
        when: rule.when,
        target: rule.target,
    });
    let rules = rules.collect();
    let split = wish.split.map(|split| {
        let old = alias.and_then(|alias| alias.route.plan.as_ref()?.split.as_ref());
        let old = old.filter(|old| !split.reshuffle && old.key == split.key);
        let salt = old.map_or(split.salt, |old| old.salt);
        let named = split.arms.into_iter();
        let named = named.map(|(name, target, weight)| (arms.id(&name), name, target, weight));
        Split::succeed(old, split.key, salt, named.collect())
    });
    Plan { rules, split }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Env;
    use super::super::testing::route::wish;
    use super::*;
    use crate::function::Runtime;

    fn version(number: u32) -> Target {
        Target::Version("f".to_owned(), Qualifier::Version(number))
    }

    fn alias(name: &str) -> Target {
        Target::Version("f".to_owned(), Qualifier::Alias(name.to_owned()))
    }

    #[test]
    fn a_route_that_leads_nowhere_or_back_is_refused_and_nothing_moves() {
        let mut env = Env::with_three_versions();
        env.worker("a", 1);
        env.set_route(wish(("f", "inner"), &[("index < 1", alias("live"))], &[]));
        let before = env.alias("f", "live");
        for (target, reason) in [
            (version(9), "has no version 9"),
            (alias("canary"), "has no alias \"canary\""),
            (
                Target::Function("g".to_owned()),
                "no function is named \"g\"",
            ),
            (
                Target::Function("umbel.echo".to_owned()),
                "brought by workers",
            ),
            (alias("inner"), "lead back to f@live through f@inner"),
            (alias("live"), "lead back to f@live itself"),
            (
                Target::Function("f".to_owned()),
                "lead back to f@live itself",
            ),
        ] {
            let refusal = env.try_set_route(wish(("f", "live"), &[("index < 1", target)], &[]));
            let refusal = refusal.unwrap_err().to_string();
            assert!(refusal.contains(reason), "{refusal}");
        }
        assert_eq!(env.alias("f", "live"), before);
        let refusal = env.try_set_route(wish(("g", "live"), &[], &[(version(1), 10_000)]));
        assert!(matches!(refusal, Err(Refusal::UnknownFunction { .. })));
    }

    #[test]
    fn a_split_keeps_its_salt_and_its_buckets_when_weights_change_and_outlives_a_restart() {
        let mut env = Env::with_three_versions();
        let split = |env: &Env| {
            let plan = env.alias("f", "live").route.plan.unwrap();
            plan.split.clone().unwrap()
        };
        env.set_route(wish(
            ("f", "live"),
            &[],
            &[(version(1), 9_000), (version(2), 1_000)],
        ));
        let ten = split(&env);
        env.restart();
        let mut again = wish(
            ("f", "live"),
            &[],
            &[(version(1), 8_000), (version(2), 2_000)],
        );
        again.split.as_mut().unwrap().salt = 99;
        env.set_route(again.clone());
        let twenty = split(&env);
        assert_eq!((twenty.salt, twenty.arms[1].id), (7, ten.arms[1].id));
        let mut had = ten.arms[1].buckets[0].clone();
        assert!(had.all(|bucket| twenty.arm_of(bucket) == Some(1)));
        again.split.as_mut().unwrap().reshuffle = true;
        env.set_route(again);
        assert_eq!(split(&env).salt, 99);
    }

    #[test]
    fn publishing_keeps_rules_pointing_ends_a_split_and_a_rollback_brings_it_back() {
        let mut env = Env::with_three_versions();
        env.set_route(wish(("f", "live"), &[("index < 1", version(1))], &[]));
        env.publish("f", "four", Runtime::Python);
        let alias_now = |env: &Env| env.alias("f", "live");
        assert_eq!(alias_now(&env).route.to, 4, "rules alone do not stop it");
        assert_eq!(alias_now(&env).route.plan.unwrap().rules.len(), 1);
        let split = [(version(3), 9_000), (version(4), 1_000)];
        env.set_route(wish(("f", "live"), &[("index < 1", version(1))], &split));
        env.publish("f", "five", Runtime::Python);
        let routed = alias_now(&env).route;
        assert_eq!(routed.to, 3, "the version that gets most");
        env.point("f", "live", 5);
        let plan = alias_now(&env).route.plan.unwrap();
        assert!(plan.split.is_none() && plan.rules.len() == 1);
        env.restart();
        assert_eq!(env.roll_back("f", "live"), Ok(3));
        assert_eq!(alias_now(&env).route, routed);
        let mut clear = wish(("f", "live"), &[], &[]);
        clear.to = Some(5);
        env.set_route(clear);
        assert_eq!(alias_now(&env).route, Route::plain(5));
        let kinds: Vec<_> = alias_now(&env)
            .moves
            .iter()
            .map(|one| one.kind.as_str())
            .collect();
        assert_eq!(
            kinds[3..],
            [
                "route_set",
                "published",
                "route_set",
                "pointed",
                "rolled_back",
                "route_set"
            ]
        );
    }

    #[test]
    fn what_a_route_leads_to_is_not_deleted() {
        let mut env = Env::with_three_versions();
        env.publish("g", "rust", Runtime::Wasm);
        let rules = [("index < 1", Target::Function("g".to_owned()))];
        env.set_route(wish(("f", "live"), &rules, &[(version(2), 10_000)]));
        for (function, number) in [("f", Some(2)), ("g", None)] {
            let refusal = env.try_delete(function, number).unwrap_err().to_string();
            assert!(refusal.contains("f@live"), "{refusal}");
        }
        env.delete("f", None);
        env.delete("g", None);
        env.settle();
        assert_eq!(env.disk.version_len(), 0);
    }

    #[test]
    fn an_arm_is_the_same_by_its_name_and_its_number_is_never_used_again() {
        let mut env = Env::with_three_versions();
        let id = |env: &Env| {
            let plan = env.alias("f", "live").route.plan.unwrap();
            plan.targets().next().unwrap().0
        };
        env.set_route(wish(("f", "live"), &[], &[(version(1), 10_000)]));
        let first = id(&env);
        env.set_route(wish(("f", "live"), &[], &[(version(2), 10_000)]));
        assert_ne!(id(&env), first);
        env.set_route(wish(("f", "live"), &[], &[(version(1), 10_000)]));
        assert_eq!(id(&env), first);
        env.delete("f", None);
        env.settle();
        env.restart();
        env.publish("f", "new", Runtime::Python);
        env.set_route(wish(("f", "live"), &[], &[(version(4), 10_000)]));
        assert_eq!(id(&env), ArmId(3));
    }

    /// Rules of about so many bytes in all, none like those of another `number`.
    fn long(alias: &'static str, number: usize, bytes: usize) -> crate::route::RouteWish {
        let when = |part: usize| format!("index < {number} + {part} {}", "+ 0".repeat(1_000));
        let texts: Vec<String> = (0..bytes / 3_100).map(when).collect();
        let rules: Vec<_> = texts
            .iter()
            .map(|when| (when.as_str(), version(1)))
            .collect();
        wish(("f", alias), &rules, &[])
    }

    #[test]
    fn an_alias_stays_small_however_long_its_routes_are_and_can_be_rolled_back() {
        let mut env = Env::with_three_versions();
        let routes: Vec<_> = (0..40)
            .map(|number| {
                env.set_route(long("live", number, limit::ROUTE_BYTES_MAX - 1_000));
                let alias = env.alias("f", "live");
                assert!(alias.bytes() <= limit::ALIAS_RECORD_BYTES_MAX);
                alias.route
            })
            .collect();
        env.restart();
        let alias = env.alias("f", "live");
        assert_eq!(
            alias.moves.len(),
            43,
            "each is told of, if not with its rules"
        );
        assert_eq!(Some(&alias.route), routes.last());
        assert!(!alias.trail.is_empty(), "there is a step back");
        env.roll_back("f", "live").unwrap();
        assert_eq!(env.alias("f", "live").route, routes[38]);
    }

    #[test]
    fn short_routes_are_all_remembered() {
        let mut env = Env::with_three_versions();
        for number in 0..40 {
            env.set_route(long("live", number, 3_100));
            env.set_route(wish(("f", "live"), &[("index < 1", version(1))], &[]));
        }
        let alias = env.alias("f", "live");
        assert!(alias.bytes() > limit::ALIAS_RECORD_BYTES_MAX / 2);
        assert!(alias.trail.len() > 8, "{}", alias.trail.len());
    }

    #[test]
    fn what_leads_through_too_much_is_refused_wherever_it_grows() {
        let mut env = Env::with_three_versions();
        let most = limit::ROUTE_BYTES_MAX - 500;
        for name in ["a", "b", "c", "d"] {
            env.set_route(long(name, 1, most));
        }
        let rules = [("index < 1", alias("a")), ("index < 2", alias("b"))];
        env.set_route(wish(("f", "live"), &rules, &[]));
        let leads_on = |from, to| {
            let mut wish = long(from, 1, most);
            wish.rules[0].target = alias(to);
            wish
        };
        env.set_route(leads_on("a", "c"));
        // By itself it is within the bounds, and so is what leads to it directly.
        let more = leads_on("c", "d");
        let refusal = env.try_set_route(more).unwrap_err();
        let bytes = u64::try_from(limit::ROUTE_WAY_BYTES_MAX).unwrap();
        assert!(
            matches!(&refusal, Refusal::RouteWayTooLarge { alias, limit, .. }
                if alias == "f@live" && *limit == bytes),
            "{refusal}"
        );
    }

    #[test]
    fn a_way_does_not_grow_too_long_behind_the_back_of_who_leads_there() {
        let mut env = Env::with_three_versions();
        let name = |step: usize| format!("a{step}");
        for step in 0..limit::ROUTE_NODES_MAX {
            let (own, next) = (name(step), name(step + 1));
            env.point("f", &next, 1);
            env.set_route(wish(("f", &own), &[("index < 1", alias(&next))], &[]));
        }
        // The last one was plain; with a route of its own it would be one too many for the first.
        let last = name(limit::ROUTE_NODES_MAX);
        let wish = wish(("f", &last), &[("index < 1", version(2))], &[]);
        let refusal = env.try_set_route(wish).unwrap_err();
        assert!(
            matches!(&refusal, Refusal::RouteTooLong { alias, .. } if alias == "f@a0"),
            "{refusal}"
        );
    }
}
