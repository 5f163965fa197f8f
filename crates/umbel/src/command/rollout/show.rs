//! Where a rollout stands.

use umbel_client::v1;

use crate::command::words::percent;
use crate::exit::Exit;
use crate::global::{Global, OutputForm};
use crate::output::{self, Column, Rollout, Table, count, duration_us, one_line, time};

/// Shows a rollout.
pub(super) fn print(rollout: &v1::Rollout, global: &Global) -> Result<(), Exit> {
    if global.output == OutputForm::Json {
        return output::document(&Rollout::from(rollout));
    }
    let v1::Rollout {
        function,
        alias,
        from_version: from,
        to_version: to,
        ..
    } = rollout;
    output::line(&format!(
        "rollout   {function}@{alias}: version {from} -> {to}"
    ))?;
    output::line(&format!("state     {}", standing(rollout)))?;
    let at = rollout.ended_at.as_ref().or(rollout.step_at.as_ref());
    let by = match rollout.by.as_str() {
        "" => "by itself",
        by => &format!("by {by}"),
    };
    output::line(&format!("since     {} {by}: {}", time(at), rollout.why))?;
    if !rollout.last_failure.is_empty() {
        let failure = one_line(&rollout.last_failure, 80);
        output::line(&format!("failure   {failure}"))?;
    }
    output::line("")?;
    arms(rollout)?;
    if rollout.guards.is_empty() {
        return Ok(());
    }
    output::line("")?;
    guards(rollout)
}

/// State, step and what it waits for.
pub(super) fn standing(rollout: &v1::Rollout) -> String {
    let plan = rollout.plan.as_ref();
    let steps = plan.map_or(0, |plan| plan.steps.len());
    let least = plan.map_or(0, |plan| plan.min_invocations);
    let step = rollout.step + 1;
    let at = format!("step {step} of {steps} at {}", percent(rollout.share));
    match rollout.state() {
        v1::RolloutState::Promoted => "promoted".to_owned(),
        v1::RolloutState::RolledBack => format!("rolled back from step {step} of {steps}"),
        v1::RolloutState::Paused => format!("paused in {at}"),
        v1::RolloutState::Advancing | v1::RolloutState::Unspecified => {
            let waits = match rollout.waits_for() {
                v1::RolloutWait::Invocations => {
                    format!("until {} have ended on each arm", count(least))
                }
                v1::RolloutWait::Bake => {
                    format!("until {}", time(rollout.bake_until.as_ref()))
                }
                v1::RolloutWait::Guards => "until its guards are decided".to_owned(),
                v1::RolloutWait::Resumed | v1::RolloutWait::Unspecified => String::new(),
            };
            format!("advancing, in {at} {waits}").trim_end().to_owned()
        }
    }
}

fn arms(rollout: &v1::Rollout) -> Result<(), Exit> {
    let mut table = Table::new([
        Column::text("ARM"),
        Column::number("IN STEP"),
        Column::number("ENDED"),
        Column::number("FAILED"),
        Column::number("FAILING"),
    ]);
    for arm in rollout.candidate.iter().chain(&rollout.baseline) {
        table.row([
            arm.name.clone(),
            count(arm.ended_in_step),
            count(arm.ended),
            count(arm.failed),
            count(arm.failing),
        ]);
    }
    table.print("no arms")
}

fn guards(rollout: &v1::Rollout) -> Result<(), Exit> {
    let mut table = Table::new([
        Column::text("GUARD"),
        Column::text("SAYS"),
        Column::number("NEW"),
        Column::number("BASELINE"),
        Column::text("DIFFERENCE"),
    ]);
    for guard in &rollout.guards {
        let is_rate = guard.guard.starts_with("failure_rate");
        let figure = |value: Option<f64>| match value {
            None => "-".to_owned(),
            Some(rate) if is_rate => format!("{:.2}%", 100.0 * rate),
            Some(us) => duration_us(us as u64),
        };
        table.row([
            guard.guard.clone(),
            guard_word(guard.state()).to_owned(),
            figure(guard.value),
            figure(guard.baseline_value),
            guard
                .difference
                .as_ref()
                .map(|bounds| bounds_text(bounds, is_rate))
                .unwrap_or_default(),
        ]);
    }
    table.print("no guards")
}

fn guard_word(state: v1::GuardState) -> &'static str {
    match state {
        v1::GuardState::Holds => "holds",
        v1::GuardState::Worse => "worse",
        v1::GuardState::Undecided | v1::GuardState::Unspecified => "undecided",
    }
}

/// Where a difference lies; what is known of nothing is not shown as a number.
fn bounds_text(bounds: &v1::Bounds, is_rate: bool) -> String {
    let decimals = if is_rate { 2 } else { 0 };
    let end = |end: f64| format!("{:+.decimals$}%", 100.0 * end);
    let least = if is_rate { -1.0 } else { -0.9995 };
    let most = if is_rate { 1.0 } else { 990.0 };
    match (bounds.low <= least, bounds.high >= most) {
        (true, true) => "not known".to_owned(),
        (true, false) => format!("at most {}", end(bounds.high)),
        (false, true) => format!("at least {}", end(bounds.low)),
        (false, false) => format!("{} .. {}", end(bounds.low), end(bounds.high)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_says_no_more_than_is_known() {
        let text = |low, high, is_rate| bounds_text(&v1::Bounds { low, high }, is_rate);
        assert_eq!(text(-0.004, 0.0125, true), "-0.40% .. +1.25%");
        assert_eq!(text(-1.0, 1.0, true), "not known");
        assert_eq!(text(-1.0, f64::INFINITY, false), "not known");
        assert_eq!(text(0.3, f64::INFINITY, false), "at least +30%");
        assert_eq!(text(-1.0, 0.07, false), "at most +7%");
    }

    #[test]
    fn a_state_says_what_it_waits_for() {
        let mut rollout = v1::Rollout {
            plan: Some(v1::RolloutPlan {
                steps: vec![100, 10_000],
                min_invocations: 1_500,
                ..v1::RolloutPlan::default()
            }),
            share: 100,
            ..v1::Rollout::default()
        };
        rollout.set_state(v1::RolloutState::Advancing);
        rollout.set_waits_for(v1::RolloutWait::Invocations);
        let expected = "advancing, in step 1 of 2 at 1% until 1,500 have ended on each arm";
        assert_eq!(standing(&rollout), expected);
        rollout.set_state(v1::RolloutState::RolledBack);
        assert_eq!(standing(&rollout), "rolled back from step 1 of 2");
    }
}
