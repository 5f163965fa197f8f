//! A version is rolled out in steps, and taken back by itself when a guard says so.

use std::sync::Arc;

use umbel_stats::Judgement;

use super::step::arms::{self, Arms};
use super::step::rollout::{
    BASELINE, compared, end, ended_in_step, enter, failing, keep, recall_again, split_now,
};
use super::step::{self, Out, route};
use crate::arm::ArmFigures;
use crate::command::{Refusal, Reply};
use crate::function::{Alias, MoveKind, Qualifier};
use crate::guard::{Guard, Measure};
use crate::id::ReplyId;
use crate::job::Target;
use crate::rollout::{
    Compared, Rollout, RolloutMove, RolloutState, RolloutView, RolloutWish, WHOLE, Waiting,
};
use crate::route::{ArmId, BUCKETS, Route, Split};
use crate::tables::Tables;
use crate::tables::rollouts::Look;

/// Guards are looked at when so large a part more has ended than at the last look.
const LOOK_PART: u64 = 64;
/// And when anything has, at the latest after so long, in milliseconds.
const LOOK_MS: u64 = 1_000;

pub(crate) fn start(t: &mut Tables, out: &mut Out, to: ReplyId, wish: RolloutWish) {
    let (rollout, now, last_arm) = match judge(t, wish) {
        Ok(judged) => judged,
        Err(refusal) => return step::refuse(out, to, refusal),
    };
    arms::give_out(t, out, &rollout.function, last_arm);
    let (function, alias) = (rollout.function.clone(), rollout.alias.clone());
    if rollout.plan.steps.first() == Some(&WHOLE) {
        let why = "its first step is the whole".to_owned();
        let by = rollout.by.clone();
        end(t, out, rollout, (RolloutState::Promoted, by, why));
    } else {
        enter(t, out, (rollout, &now), (0, MoveKind::RolloutStarted));
    }
    reply(t, out, to, (&function, &alias));
}

/// The rollout that is asked for, the split that its alias has or would have, and the number of
/// the newest arm in it.
fn judge(t: &Tables, wish: RolloutWish) -> Result<(Rollout, Split, ArmId), Refusal> {
    let Some(function) = t.functions.find(&wish.function) else {
        return Err(route::unpublished(t, &wish.function));
    };
    let Some(alias) = function.aliases.get(&wish.alias) else {
        return Err(route::unknown_alias(t, &wish.function, &wish.alias));
    };
    step::rollout::judge_still(t, &wish.function, &wish.alias)?;
    route::version(t, &wish.function, wish.to)?;
    let from = wish.from.unwrap_or(alias.route.to);
    let stable_version = route::version(t, &wish.function, from)?;
    let impossible = |why: String| Refusal::RolloutImpossible {
        alias: format!("{}@{}", wish.function, wish.alias),
        to: wish.to,
        why,
    };
    let before = before(alias, &wish, from);
    let mut arms = Arms::of(Some(alias), t.functions.next_arm());
    let (now, stable) = old(alias, &wish, from, &mut arms).map_err(impossible)?;
    let candidate = arms.id(&wish.to.to_string());
    let baseline = arms.id(BASELINE);
    let total = |arm: ArmId| t.arms.total(arm).cloned().unwrap_or_default();
    let began = Compared {
        candidate: total(candidate),
        baseline: total(baseline),
    };
    let wall_ms = t.clock.wall_ms();
    let rollout = Rollout {
        function: wish.function,
        alias: wish.alias,
        to: wish.to,
        from,
        stable_version,
        plan: wish.plan,
        state: RolloutState::Advancing,
        step: 0,
        step_ms: wall_ms,
        started_ms: wall_ms,
        ended_ms: None,
        why: "it was started".to_owned(),
        by: wish.by,
        before,
        candidate,
        baseline,
        stable,
        began: Arc::new(began),
        ended: None,
        last_failure: String::new(),
    };
    Ok((rollout, now, arms.last))
}

/// What the alias is to be again if the rollout is taken back. An alias that went along with the
/// new version when that was published leads to the old one first.
fn before(alias: &Alias, wish: &RolloutWish, from: u32) -> Route {
    let mut before = alias.route.clone();
    let split = before.plan.as_ref().and_then(|plan| plan.split.as_ref());
    if split.is_none() && before.to == wish.to {
        before.to = from;
    }
    before
}

/// The split in which an alias sends to the version that is replaced, and the arm of that; or why
/// there is none.
fn old(
    alias: &Alias,
    wish: &RolloutWish,
    from: u32,
    arms: &mut Arms,
) -> Result<(Split, ArmId), String> {
    let version = |number| Target::Version(wish.function.clone(), Qualifier::Version(number));
    if from == wish.to {
        return Err(format!(
            "{}@{} leads to that version already; name the one that it replaces with --from",
            wish.function, wish.alias
        ));
    }
    let plan = alias.route.plan.as_deref();
    let mut taken = plan.into_iter().flat_map(|plan| plan.targets());
    let new = wish.to.to_string();
    if let Some((_, name, _)) = taken.find(|(_, name, _)| *name == new || *name == BASELINE) {
        return Err(format!(
            "its route has an arm {name:?}, which is what the rollout would call one of its own; set a route without it"
        ));
    }
    let Some(split) = plan.and_then(|plan| plan.split.as_ref()) else {
        if from != alias.route.to && wish.to != alias.route.to {
            return Err(format!(
                "it leads to version {}, so nothing of version {from} can be replaced",
                alias.route.to
            ));
        }
        let stable = arms.id(&from.to_string());
        let only = vec![(stable, from.to_string(), version(from), BUCKETS)];
        let split = Split::succeed(None, wish.key.clone(), wish.salt, only);
        return Ok((split, stable));
    };
    if split.arms.iter().any(|arm| arm.target == version(wish.to)) {
        return Err("its split sends to that version already; change its weights".to_owned());
    }
    if wish.key.is_some() && wish.key != split.key {
        return Err("its split has another routing key, which stays; leave --key out".to_owned());
    }
    let stable = split.arms.iter().find(|arm| arm.target == version(from));
    let Some(stable) = stable else {
        return Err(format!(
            "its split sends nothing to version {from}; name one that it does with --from"
        ));
    };
    if stable.weight() < 2 {
        return Err(format!(
            "version {from} has too small a share to be compared with"
        ));
    }
    Ok((split.clone(), stable.id))
}

/// A client changes the state of a rollout.
pub(crate) fn change(
    t: &mut Tables,
    out: &mut Out,
    to: ReplyId,
    (function, alias): (&str, &str),
    (wanted, by): (RolloutMove, String),
) {
    let rollout = match known(t, function, alias) {
        Ok(rollout) => rollout.clone(),
        Err(refusal) => return step::refuse(out, to, refusal),
    };
    let is = rollout.state;
    let wants = match wanted {
        RolloutMove::Pause => RolloutState::Paused,
        RolloutMove::Resume => RolloutState::Advancing,
        RolloutMove::Promote => RolloutState::Promoted,
        RolloutMove::RollBack => RolloutState::RolledBack,
    };
    // Said twice is said once.
    if is == wants {
        return reply(t, out, to, (function, alias));
    }
    if is.is_over() {
        let refusal = Refusal::RolloutOver {
            alias: rollout.display(),
            to: rollout.to,
            state: is.as_str(),
        };
        return step::refuse(out, to, refusal);
    }
    let candidate = rollout.candidate;
    if wants.is_over() {
        end(
            t,
            out,
            rollout,
            (wants, by, "somebody asked for it".to_owned()),
        );
    } else {
        let mut rollout = rollout;
        (rollout.state, rollout.by) = (wants, by);
        rollout.why = "somebody asked for it".to_owned();
        keep(t, out, rollout);
    }
    // It may have waited for no more than that.
    t.alarms.rollouts.set(candidate, Some(t.clock.wall_ms()));
    reply(t, out, to, (function, alias));
}

fn known<'a>(t: &'a Tables, function: &str, alias: &str) -> Result<&'a Rollout, Refusal> {
    let Some(published) = t.functions.find(function) else {
        return Err(route::unpublished(t, function));
    };
    if !published.aliases.contains_key(alias) {
        return Err(route::unknown_alias(t, function, alias));
    }
    let rollout = t.rollouts.find(function, alias);
    rollout.ok_or_else(|| Refusal::NoRollout {
        alias: format!("{function}@{alias}"),
    })
}

fn reply(t: &Tables, out: &mut Out, to: ReplyId, (function, alias): (&str, &str)) {
    match view(t, function, alias) {
        Ok(view) => step::reply(out, to, Reply::Rollout(Box::new(view))),
        Err(refusal) => step::refuse(out, to, refusal),
    }
}

/// A rollout as it is shown.
pub(crate) fn view(t: &Tables, function: &str, alias: &str) -> Result<RolloutView, Refusal> {
    let rollout = known(t, function, alias)?;
    let seen = see(t, rollout);
    Ok(RolloutView {
        rollout: rollout.clone(),
        waiting: match seen.verdict {
            _ if rollout.state.is_over() => None,
            Verdict::Wait(waiting) => Some(waiting),
            // It is done at the next look.
            Verdict::Advance | Verdict::RollBack(_) => Some(Waiting::Invocations),
        },
        compared: seen.compared,
        ended: seen.ended,
        failing: seen.failing,
        judgements: seen.judgements,
    })
}

/// What figures mean for a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Advance,
    /// Because of the guard at this place.
    RollBack(usize),
    Wait(Waiting),
}

/// All that a look at a rollout sees.
#[derive(Debug)]
struct Seen {
    compared: Compared,
    ended: (u64, u64),
    failing: u64,
    judgements: Vec<Judgement>,
    verdict: Verdict,
}

fn see(t: &Tables, rollout: &Rollout) -> Seen {
    let compared = compared(t, rollout);
    let (ended, failing) = if rollout.state.is_over() {
        ((0, 0), 0)
    } else {
        (ended_in_step(t, rollout), failing(t, rollout.candidate))
    };
    let judgements = judgements(&rollout.plan.guards, &compared, failing);
    let verdict = verdict(rollout, &judgements, ended, t.clock.wall_ms());
    Seen {
        compared,
        ended,
        failing,
        judgements,
        verdict,
    }
}

fn judgements(guards: &[Guard], compared: &Compared, failing: u64) -> Vec<Judgement> {
    let count = u32::try_from(guards.len()).unwrap_or(u32::MAX);
    let Compared {
        candidate,
        baseline,
    } = compared;
    let judged = guards.iter();
    let judged = judged.map(|guard| guard.judge(candidate, baseline, (count, failing)));
    judged.collect()
}

fn verdict(
    rollout: &Rollout,
    judgements: &[Judgement],
    (candidate, baseline): (u64, u64),
    wall_ms: u64,
) -> Verdict {
    let plan = &rollout.plan;
    let worse = |judgement: &Judgement| *judgement == Judgement::Worse;
    if let Some(guard) = judgements.iter().position(worse) {
        return Verdict::RollBack(guard);
    }
    let until_ms = rollout.step_ms.saturating_add(plan.bake_ms);
    let mut judged = plan.guards.iter().zip(judgements);
    let holds = judged
        .all(|(guard, judgement)| *judgement == Judgement::Holds || !guard.measure.holds_up());
    if rollout.state == RolloutState::Paused {
        Verdict::Wait(Waiting::Resumed)
    } else if candidate.min(baseline) < plan.least {
        Verdict::Wait(Waiting::Invocations)
    } else if !holds {
        Verdict::Wait(Waiting::Guards)
    } else if until_ms > wall_ms {
        Verdict::Wait(Waiting::Bake { until_ms })
    } else {
        Verdict::Advance
    }
}

/// Looks at the guards of rollouts on whose arms more has ended, or whose time has come.
pub(crate) fn advance(t: &mut Tables, out: &mut Out) {
    if std::mem::take(&mut t.marks.recall) {
        recall_again(t, out);
    }
    let wall_ms = t.clock.wall_ms();
    let mut due = std::collections::BTreeSet::new();
    while let Some(candidate) = t.alarms.rollouts.pop_due(wall_ms) {
        due.insert(candidate);
    }
    let candidates: Vec<ArmId> = t.rollouts.candidates().collect();
    for candidate in candidates {
        let Some(rollout) = t.rollouts.of_candidate(candidate) else {
            continue;
        };
        let ended = |arm: ArmId| t.arms.total(arm).map_or(0, ArmFigures::finished);
        let ended = ended(candidate) + ended(rollout.baseline);
        let last = t.rollouts.look(candidate);
        let more = ended.saturating_sub(last.ended);
        let looks = more > 0 && more >= last.ended / LOOK_PART;
        if looks || due.contains(&candidate) {
            let by_ms = None;
            t.rollouts.looked(candidate, Look { ended, by_ms });
            let rollout = rollout_of(t, candidate);
            rollout
                .into_iter()
                .for_each(|rollout| look(t, out, rollout));
        } else if more > 0 && last.by_ms.is_none() {
            let by_ms = wall_ms.saturating_add(LOOK_MS);
            let look = Look {
                by_ms: Some(by_ms),
                ..last
            };
            t.rollouts.looked(candidate, look);
            t.alarms.rollouts.set(candidate, Some(by_ms));
        }
    }
}

fn rollout_of(t: &Tables, candidate: ArmId) -> Option<Rollout> {
    t.rollouts.of_candidate(candidate).cloned()
}

fn look(t: &mut Tables, out: &mut Out, rollout: Rollout) {
    let candidate = rollout.candidate;
    let seen = see(t, &rollout);
    match seen.verdict {
        Verdict::RollBack(guard) => {
            let why = rollout.plan.guards.get(guard);
            let why = why.map_or_else(String::new, |guard| {
                why_worse(guard, &rollout, &seen.compared)
            });
            let verdict = (RolloutState::RolledBack, String::new(), why);
            return end(t, out, rollout, verdict);
        }
        Verdict::Advance => step_forward(t, out, rollout),
        Verdict::Wait(_) => {}
    }
    // What stands until a time is looked at again then.
    let rollout = t.rollouts.of_candidate(candidate);
    let rollout = rollout.filter(|rollout| rollout.state == RolloutState::Advancing);
    let until_ms = rollout.map(|rollout| rollout.step_ms.saturating_add(rollout.plan.bake_ms));
    let until_ms = until_ms.filter(|until_ms| *until_ms > t.clock.wall_ms());
    t.alarms.rollouts.set(candidate, until_ms);
}

fn step_forward(t: &mut Tables, out: &mut Out, mut rollout: Rollout) {
    let next = rollout.step + 1;
    if rollout
        .plan
        .steps
        .get(next)
        .is_none_or(|share| *share == WHOLE)
    {
        let why = "its guards held up to the last step".to_owned();
        return end(
            t,
            out,
            rollout,
            (RolloutState::Promoted, String::new(), why),
        );
    }
    // Its split is there as long as it has not ended, since nothing else moves its alias.
    if let Some(now) = split_now(t, &rollout) {
        rollout.by = String::new();
        rollout.why = "its guards held".to_owned();
        enter(t, out, (rollout, &now), (next, MoveKind::RolloutStepped));
    }
}

/// What a guard saw when it did not hold.
fn why_worse(guard: &Guard, rollout: &Rollout, compared: &Compared) -> String {
    let (new, old) = (&compared.candidate, &compared.baseline);
    let from = rollout.from;
    match guard.measure {
        Measure::FailureRate => format!(
            "{guard}: {} of {} failed, and {} of {} of version {from}",
            new.failures(),
            new.finished(),
            old.failures(),
            old.finished(),
        ),
        Measure::Time { percent, cold } => {
            let of = |arm: &ArmFigures| {
                let times = if cold { &arm.cold } else { &arm.warm };
                times.percentile_us(u64::from(percent)).unwrap_or(0)
            };
            format!(
                "{guard}: {} us, and {} us of version {from}",
                of(new),
                of(old)
            )
        }
    }
}

#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;
