//! What a client asks of rollouts.

use umbel_core::guard::Guard;
use umbel_core::limit::{DURATION_MS_MAX, ROLLOUT_GUARDS_MAX, ROLLOUT_STEPS_MAX};
use umbel_core::rollout::{RolloutPlan, RolloutWish};

use super::function::{alias_name, check_by, function_name, version_number};
use super::route::key;
use super::{Invalid, head};
use crate::v1;

/// Bytes of a guard that are shown when it is none.
const GUARD_BYTES_MAX: usize = 64;

/// Reads a request to roll a version out; `salt` is that of its split, should its alias have none.
/// What a key's pointer means is not looked at.
///
/// # Errors
/// When a field is missing or over its limit.
pub fn start_rollout(request: v1::StartRolloutRequest, salt: u64) -> Result<RolloutWish, Invalid> {
    let function = function_name("function", request.function)?;
    let alias = alias_name("alias", request.alias)?;
    check_by("by", &request.by)?;
    Ok(RolloutWish {
        function,
        alias,
        to: version_number("to_version", request.to_version)?,
        from: Some(request.from_version).filter(|from| *from > 0),
        plan: plan(request.plan.unwrap_or_default())?,
        key: key("key", request.key)?,
        salt,
        by: request.by,
    })
}

fn plan(plan: v1::RolloutPlan) -> Result<RolloutPlan, Invalid> {
    check_count("plan.steps", plan.steps.len(), ROLLOUT_STEPS_MAX)?;
    check_count("plan.guards", plan.guards.len(), ROLLOUT_GUARDS_MAX)?;
    let steps = plan.steps.into_iter().map(|step| {
        let problem = format!("{step} is more than 10,000, which is the whole");
        u16::try_from(step).map_err(|_| Invalid::bad("plan.steps", problem))
    });
    let guards = plan.guards.iter().enumerate().map(|(at, guard)| {
        let parsed = head(guard, GUARD_BYTES_MAX).parse::<Guard>();
        parsed.map_err(|error| Invalid::bad(format!("plan.guards[{at}]"), error.to_string()))
    });
    let read = RolloutPlan {
        steps: steps.collect::<Result<_, Invalid>>()?,
        guards: guards.collect::<Result<_, Invalid>>()?,
        least: plan.min_invocations,
        bake_ms: plan.bake_ms,
    };
    if let Some(complaint) = read.complaint() {
        return Err(Invalid::bad("plan.steps", complaint));
    }
    if read.bake_ms > DURATION_MS_MAX {
        let problem = format!("it is {}, the limit is {DURATION_MS_MAX}", read.bake_ms);
        return Err(Invalid::bad("plan.bake_ms", problem));
    }
    Ok(read)
}

fn check_count(field: &str, count: usize, limit: usize) -> Result<(), Invalid> {
    if count > limit {
        let problem = format!("there are {count}, the limit is {limit}");
        return Err(Invalid::bad(field, problem));
    }
    Ok(())
}

/// Reads a request to change the state of a rollout: function, alias and who asks.
///
/// # Errors
/// When a field is missing or over its limit.
pub fn move_rollout(
    function: String,
    alias: String,
    by: String,
) -> Result<(String, String, String), Invalid> {
    let function = function_name("function", function)?;
    let alias = alias_name("alias", alias)?;
    check_by("by", &by)?;
    Ok((function, alias, by))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> v1::StartRolloutRequest {
        v1::StartRolloutRequest {
            function: "f".to_owned(),
            alias: "live".to_owned(),
            to_version: 8,
            plan: Some(v1::RolloutPlan {
                steps: vec![100, 10_000],
                guards: vec!["p95<=+20%".to_owned()],
                min_invocations: 500,
                bake_ms: 1_000,
            }),
            key: "label:user".to_owned(),
            ..v1::StartRolloutRequest::default()
        }
    }

    #[test]
    fn a_request_is_read() {
        let wish = start_rollout(request(), 9).unwrap();
        assert_eq!((wish.to, wish.from, wish.salt), (8, None, 9));
        assert_eq!(wish.plan.guards[0].to_string(), "p95<=+20%");
        assert_eq!(wish.plan.steps, [100, 10_000]);
    }

    #[test]
    fn what_cannot_be_asked_names_its_field() {
        type Spoil = fn(&mut v1::StartRolloutRequest);
        let wrong: [(&str, Spoil); 9] = [
            ("function", |wish| wish.function.clear()),
            ("alias", |wish| wish.alias = "7".to_owned()),
            ("to_version", |wish| wish.to_version = 0),
            ("plan.steps", |wish| wish.plan = None),
            ("plan.steps", |wish| {
                wish.plan.as_mut().unwrap().steps = vec![70_000]
            }),
            ("plan.steps", |wish| {
                wish.plan.as_mut().unwrap().steps = vec![1; 33]
            }),
            ("plan.guards[0]", |wish| {
                wish.plan.as_mut().unwrap().guards = vec!["p9".to_owned()]
            }),
            ("plan.guards", |wish| {
                wish.plan.as_mut().unwrap().guards = vec!["p95<=+1%".to_owned(); 9];
            }),
            ("plan.bake_ms", |wish| {
                wish.plan.as_mut().unwrap().bake_ms = u64::MAX
            }),
        ];
        for (field, spoil) in wrong {
            let mut wish = request();
            spoil(&mut wish);
            let error = start_rollout(wish, 1).unwrap_err().to_string();
            assert!(error.contains(field), "{field}: {error}");
        }
    }
}
