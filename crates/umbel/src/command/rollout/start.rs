//! `umbel rollout start`.

use umbel_client::{Client, v1};
use umbel_core::guard::Guard;

use super::show;
use crate::command::function::alias::parts;
use crate::command::function::who;
use crate::command::words::{duration_ms, weight};
use crate::exit::Exit;
use crate::global::Global;

const EXAMPLES: &str = "\
In each step the new version gets a part of what the old one had, and an equally large part of the old
one is what it is compared with, over the same time. A step is left when at least --min invocations
have ended on both, all guards hold, and --bake has passed. A guard that is undecided holds the
rollout up, and never fails it; one that does not hold takes the version back at once. Entering 100 is
the promotion, judged on the step before.

Guards: failure_rate (percentage points of all invocations that ended), p50, p90, p95, p99 of run
times (percents of what the old version takes), and the same of cold starts (cold_p95), which only
take back and hold nothing up. They may be looked at all the time: the chance that a version which
keeps them is ever taken back, or that one which does not ever passes a step, is at most 5 %.

Examples:
  umbel rollout start resize@live --to 8
  umbel rollout start resize@live --to 8 --steps 1,5,25,100 --key /user/id \\
        --guard 'failure_rate<=+0.5%,p95<=+20%,cold_p95<=+50%' --min 500 --bake 10m
  umbel rollout start resize --to 8 --from 7    live went along with 8 when that was published";

/// The arguments of `rollout start`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// NAME@ALIAS; NAME alone is NAME@live
    alias: String,
    /// The version that is rolled out
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u32).range(1..))]
    to: u32,
    /// The version that it replaces [default: the one that the alias points at]
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u32).range(1..))]
    from: Option<u32>,
    /// How much of what the old version has the new one gets in each step, in percents
    #[arg(long, value_name = "P,...", default_value = "1,5,25,100", value_parser = steps)]
    steps: Steps,
    /// What the new version must keep
    #[arg(long, value_name = "GUARD,...", default_value = "failure_rate<=+0.5%,p95<=+20%",
        value_parser = guards)]
    guard: Guards,
    /// How many invocations must have ended on each arm in each step
    #[arg(long, value_name = "N", default_value_t = 500)]
    min: u64,
    /// How long each step takes at least
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration_ms)]
    bake: u64,
    /// What keeps an owner of inputs on one version: a JSON pointer into the input, or label:NAME.
    /// A split that the alias has keeps its own
    #[arg(long, value_name = "/POINTER|label:NAME",
        value_parser = crate::command::route::key)]
    key: Option<String>,
}

/// Hundredths of a percent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Steps(Vec<u32>);

/// Guards in their own words.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Guards(Vec<String>);

/// Reads `1,5,25,100`.
fn steps(text: &str) -> Result<Steps, String> {
    let steps = text.split(',').map(|step| {
        let step = step.trim();
        let points = weight(&format!("{}%", step.trim_end_matches('%')));
        points.ok_or_else(|| {
            format!("{step:?} is no step; write percents up to 100 with commas, such as 1,5,25,100")
        })
    });
    let steps: Vec<u32> = steps.collect::<Result<_, _>>()?;
    let plan = umbel_core::rollout::RolloutPlan {
        // None is over the whole.
        steps: steps
            .iter()
            .map(|step| u16::try_from(*step).unwrap_or(u16::MAX))
            .collect(),
        ..umbel_core::rollout::RolloutPlan::default()
    };
    plan.complaint().map_or(Ok(Steps(steps)), Err)
}

/// Reads `failure_rate<=+0.5%,p95<=+20%`; empty is none.
fn guards(text: &str) -> Result<Guards, String> {
    let guards = text.split(',').filter(|_| !text.trim().is_empty());
    let guards = guards.map(|guard| {
        let guard = guard.parse::<Guard>().map_err(|error| error.to_string())?;
        Ok(guard.to_string())
    });
    guards.collect::<Result<_, String>>().map(Guards)
}

/// Starts it, and shows it.
pub(super) async fn run(args: Args, global: &Global) -> Result<(), Exit> {
    let (function, alias) = parts(&args.alias);
    let request = v1::StartRolloutRequest {
        function: function.to_owned(),
        alias: alias.to_owned(),
        to_version: args.to,
        from_version: args.from.unwrap_or(0),
        plan: Some(v1::RolloutPlan {
            steps: args.steps.0,
            guards: args.guard.0,
            min_invocations: args.min,
            bake_ms: args.bake,
        }),
        key: args.key.unwrap_or_default(),
        by: who(),
    };
    let client = Client::connect(&global.coordinator)?;
    show::print(&client.start_rollout(request).await?, global)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_guards_are_read() {
        assert_eq!(
            steps("1, 5%,12.5,100"),
            Ok(Steps(vec![100, 500, 1_250, 10_000]))
        );
        for (text, words) in [
            ("", "is no step"),
            ("1,x", "is no step"),
            ("101", "is no step"),
            ("1,5", "last step"),
            ("5,1,100", "larger"),
            ("0,100", "above 0%"),
        ] {
            let error = steps(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
        let two = guards("failure_rate<=+0.50%, p95<=+20%").unwrap();
        assert_eq!(two.0, ["failure_rate<=+0.5%", "p95<=+20%"]);
        assert_eq!(guards(""), Ok(Guards(Vec::new())));
        assert!(guards("p95<=20%").unwrap_err().contains("+0.5%"));
        assert!(guards("p95<=+20%,").is_err());
    }
}
