//! What rollouts do to aliases, to what failed on a new version, and to what runs there.

use std::sync::Arc;

use super::{Out, alias, arm, record};
use crate::arm::ArmFigures;
use crate::change::{Change, WaitingRecord};
use crate::command::{Command, Note, Refusal};
use crate::function::{MoveKind, Qualifier};
use crate::history::History;
use crate::id::{JobId, LeaseId};
use crate::job::Target;
use crate::limit;
use crate::message::ToWorker;
use crate::outcome::Failure;
use crate::ranges::Ranges;
use crate::rollout::{Compared, Rollout, RolloutState, WHOLE};
use crate::route::{ArmId, BUCKETS, Plan, Route, Split};
use crate::tables::Tables;

/// Bytes of a failure that a rollout remembers.
const LAST_FAILURE_BYTES: usize = 1_024;

/// Where an invocation goes that would end badly on the new version of a rollout: to the version
/// which that is to replace, with attempts of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refuge {
    /// As what it waits there.
    pub(crate) history: History,
    /// Whether it goes at its first failure: the new version was taken back, so nothing is tried
    /// on it again.
    pub(crate) at_once: bool,
}

/// Whether an alias stands still: it is not being rolled out.
pub(crate) fn judge_still(t: &Tables, function: &str, alias: &str) -> Result<(), Refusal> {
    match t.rollouts.open(function, alias) {
        None => Ok(()),
        Some(rollout) => Err(Refusal::RolloutUnderWay {
            alias: rollout.display(),
            to: rollout.to,
        }),
    }
}

/// Where what fails on an arm goes before it is final, if that is the new version of a rollout.
pub(crate) fn refuge(t: &Tables, arm: Option<ArmId>) -> Option<Refuge> {
    let arm = arm.filter(|_| !t.rollouts.is_empty())?;
    let rollout = t.rollouts.of_candidate(arm)?;
    let at_once = match rollout.state {
        RolloutState::Advancing | RolloutState::Paused => false,
        RolloutState::RolledBack if !is_routed_to(t, rollout) => true,
        RolloutState::RolledBack | RolloutState::Promoted => return None,
    };
    t.functions.version(rollout.stable_version)?;
    let history = History {
        version: Some(rollout.stable_version),
        arm: Some(rollout.stable),
        // What came back unrun must not be dealt to the new version again.
        keeps_version: true,
        ..History::FRESH
    };
    Some(Refuge { history, at_once })
}

/// Whether somebody has set a route since that leads to its candidate again.
fn is_routed_to(t: &Tables, rollout: &Rollout) -> bool {
    let function = t.functions.find(&rollout.function);
    let alias = function.and_then(|function| function.aliases.get(&rollout.alias));
    let plan = alias.and_then(|alias| alias.route.plan.as_ref());
    plan.is_some_and(|plan| plan.targets().any(|(id, ..)| id == rollout.candidate))
}

/// How what comes back unrun waits elsewhere, if it was tried on a version that was taken back.
pub(crate) fn moved(t: &Tables, history: History) -> Option<History> {
    let refuge = refuge(t, history.arm).filter(|refuge| refuge.at_once)?;
    (history.unrun() != History::FRESH).then_some(History {
        suspect_chunk: history.suspect_chunk,
        ..refuge.history
    })
}

/// Attempts of invocations have ended on the new version of a rollout, and they run elsewhere:
/// it counts against that version.
pub(crate) fn exhausted(t: &mut Tables, candidate: Option<ArmId>, failure: &Failure, count: u64) {
    let Some(candidate) = candidate.filter(|_| count > 0) else {
        return;
    };
    arm::exhausted(t, candidate, failure.kind, count);
    note_failure(t, Some(candidate), failure);
}

/// Remembers the latest failure of the new version of a rollout, since no result shows it.
pub(crate) fn note_failure(t: &mut Tables, candidate: Option<ArmId>, failure: &Failure) {
    let Some(candidate) = candidate else { return };
    let mut words = format!(
        "{} {}: {}",
        failure.kind.as_str(),
        failure.error_type,
        failure.message
    );
    let mut ends = (0..=LAST_FAILURE_BYTES).rev();
    if let Some(end) = ends.find(|end| words.is_char_boundary(*end)) {
        words.truncate(end);
    }
    t.rollouts.failed(candidate, words);
}

/// The figures that the guards of a rollout judge: all since it began, as long as its arms are
/// equally large; of this step alone, where they cannot be.
pub(crate) fn compared(t: &Tables, rollout: &Rollout) -> Compared {
    if let Some(ended) = &rollout.ended {
        return Compared::clone(ended);
    }
    let half = rollout.share() <= WHOLE / 2;
    let of = |arm: ArmId, began: &ArmFigures| {
        if half {
            let total = t.arms.total(arm);
            total.map_or_else(ArmFigures::default, |total| total.since(began))
        } else {
            t.arms.since_move(arm)
        }
    };
    Compared {
        candidate: of(rollout.candidate, &rollout.began.candidate),
        baseline: of(rollout.baseline, &rollout.began.baseline),
    }
}

/// How many have ended on candidate and baseline in this step.
pub(crate) fn ended_in_step(t: &Tables, rollout: &Rollout) -> (u64, u64) {
    let of = |arm: ArmId| t.arms.since_move(arm).finished();
    (of(rollout.candidate), of(rollout.baseline))
}

/// How many invocations have failed an attempt on an arm and are to be tried there again.
pub(crate) fn failing(t: &Tables, arm: ArmId) -> u64 {
    let of_job = |id: JobId| -> u64 {
        let leases = t.leases.ids_of_job(id).into_iter();
        let leases = leases.filter_map(|lease| t.leases.find(lease));
        let failing = leases.filter(|lease| is_failing(lease.history, arm));
        failing.map(|lease| lease.open.len()).sum()
    };
    let jobs = t.jobs.routed().filter_map(|job| {
        let waiting = &job.running.as_ref()?.backlog;
        let waiting = waiting.count_if(|history| is_failing(history, arm));
        Some(waiting + of_job(job.id()))
    });
    jobs.sum()
}

fn is_failing(history: History, arm: ArmId) -> bool {
    history.arm == Some(arm) && history.attempts() > 0
}

/// The split of an alias while so much of what the old version has goes to the new one; `now` is
/// its split so far.
pub(crate) fn split(rollout: &Rollout, now: &Split, share: u16) -> Split {
    let before = rollout.before.plan.as_ref();
    let before = before.and_then(|plan| plan.split.as_ref());
    let others = before.into_iter().flat_map(|split| &split.arms);
    let others = others.filter(|arm| arm.id != rollout.stable);
    let mut arms: Vec<_> = others
        .map(|arm| (arm.id, arm.name.clone(), arm.target.clone(), arm.weight()))
        .collect();
    let whole = BUCKETS - arms.iter().map(|(.., weight)| weight).sum::<u16>();
    let candidate = u32::from(whole) * u32::from(share) / u32::from(WHOLE);
    let candidate = u16::try_from(candidate).unwrap_or(whole).max(1).min(whole);
    let baseline = candidate.min(whole - candidate);
    let version = |number| {
        let number = Qualifier::Version(number);
        Target::Version(rollout.function.clone(), number)
    };
    let stable = now.arms.iter().find(|arm| arm.id == rollout.stable);
    let name = stable.map_or_else(|| rollout.from.to_string(), |arm| arm.name.clone());
    arms.push((
        rollout.candidate,
        rollout.to.to_string(),
        version(rollout.to),
        candidate,
    ));
    if share < WHOLE {
        let rest = whole - candidate - baseline;
        let baseline_name = BASELINE.to_owned();
        let old = version(rollout.from);
        arms.push((rollout.baseline, baseline_name, old.clone(), baseline));
        arms.push((rollout.stable, name, old, rest));
    }
    Split::succeed(Some(now), now.key.clone(), now.salt, arms)
}

/// The name of the arm with which a candidate is compared.
pub(crate) const BASELINE: &str = "baseline";

/// The rollout goes to a step of its plan, or begins with it; `now` is the split of its alias.
pub(crate) fn enter(
    t: &mut Tables,
    out: &mut Out,
    (mut rollout, now): (Rollout, &Split),
    (step, kind): (usize, MoveKind),
) {
    rollout.step = step;
    rollout.step_ms = t.clock.wall_ms();
    let before = rollout.before.plan.as_deref();
    let plan = Plan {
        rules: before.map(|plan| plan.rules.clone()).unwrap_or_default(),
        split: Some(split(&rollout, now, rollout.share())),
    };
    let route = Route {
        to: rollout.before.to,
        plan: Some(Arc::new(plan)),
    };
    move_alias(t, out, &rollout, (kind, route));
    keep(t, out, rollout);
}

/// The split of an alias that is rolled out.
pub(crate) fn split_now(t: &Tables, rollout: &Rollout) -> Option<Split> {
    let function = t.functions.find(&rollout.function)?;
    let alias = function.aliases.get(&rollout.alias)?;
    alias.route.plan.as_ref()?.split.clone()
}

/// A rollout ends in one of the two ways in which it can.
pub(crate) fn end(
    t: &mut Tables,
    out: &mut Out,
    mut rollout: Rollout,
    (state, by, why): (RolloutState, String, String),
) {
    rollout.ended = Some(Arc::new(compared(t, &rollout)));
    rollout.ended_ms = Some(t.clock.wall_ms());
    (rollout.state, rollout.by, rollout.why) = (state, by, why);
    let (kind, route) = match state {
        RolloutState::Promoted => {
            rollout.step = rollout.plan.steps.len().saturating_sub(1);
            (MoveKind::Promoted, promoted(t, &rollout))
        }
        _ => (MoveKind::RolloutRolledBack, rollout.before.clone()),
    };
    move_alias(t, out, &rollout, (kind, route));
    let was = (rollout.candidate, state);
    keep(t, out, rollout);
    if was.1 == RolloutState::RolledBack {
        recall(t, out, was.0);
    }
}

/// The route of an alias whose new version has replaced the old one.
fn promoted(t: &Tables, rollout: &Rollout) -> Route {
    let before = &rollout.before;
    let to = if before.to == rollout.from {
        rollout.to
    } else {
        before.to
    };
    let plan = before.plan.as_deref().cloned().unwrap_or_default();
    let now = split_now(t, rollout).filter(|_| plan.split.is_some());
    let plan = Plan {
        split: now.map(|now| split(rollout, &now, WHOLE)),
        ..plan
    };
    Route {
        to,
        plan: alias::planned(plan),
    }
}

fn move_alias(t: &mut Tables, out: &mut Out, rollout: &Rollout, (kind, to): (MoveKind, Route)) {
    if kind == MoveKind::Promoted {
        // One step back from here is where it was before it began.
        let function = t.functions.find(&rollout.function);
        let known = function.and_then(|function| function.aliases.get(&rollout.alias));
        if let Some(mut known) = known.cloned() {
            known.trail.push(rollout.before.clone());
            t.functions.put_alias(known);
        }
    }
    let by = if rollout.by.is_empty() {
        "rollout".to_owned()
    } else {
        rollout.by.clone()
    };
    let step = alias::Step { kind, to, by };
    alias::move_to(t, out, &rollout.function, &rollout.alias, step);
}

/// Remembers a rollout as it is now.
pub(crate) fn keep(t: &mut Tables, out: &mut Out, rollout: Rollout) {
    out.push(Command::Note(Note::RolloutMoved {
        alias: rollout.display(),
        to: rollout.to,
        state: rollout.state,
        share: rollout.share(),
        by: rollout.by.clone(),
        why: rollout.why.clone(),
    }));
    // What it was judged by is on disk with the judgement.
    t.arms.owe();
    t.rollouts.put(rollout.clone());
    out.push(Command::Persist(Change::Rollout(Box::new(rollout))));
}

/// Moves what waits again for a version that was taken back before: it was held by a worker that did not
/// return, or by a lease of an earlier start.
pub(crate) fn recall_again(t: &mut Tables, out: &mut Out) {
    for candidate in t.rollouts.rolled_back() {
        if refuge(t, Some(candidate)).is_some() {
            recall(t, out, candidate);
        }
    }
}

/// Takes back what has not begun on an arm, and moves what waits to be tried there again.
fn recall(t: &mut Tables, out: &mut Out, candidate: ArmId) {
    let jobs: Vec<JobId> = t.jobs.routed().map(|job| job.id()).collect();
    for job in jobs {
        for lease in t.leases.ids_of_job(job) {
            ask_back(t, out, lease, candidate);
        }
        move_waiting(t, out, job, candidate);
        t.touch(job);
    }
}

/// Asks for all that has not begun of a lease, if it is the arm's and nobody is asked already.
fn ask_back(t: &mut Tables, out: &mut Out, id: LeaseId, candidate: ArmId) {
    let lease = t.leases.find(id);
    let lease = lease.filter(|lease| lease.history.arm == Some(candidate) && !lease.asked);
    let Some(lease) = lease else { return };
    let worker = t.roster.find(lease.worker);
    // Who is away offers what it holds when it is back.
    if let Some(session) = worker.and_then(|worker| worker.session) {
        t.leases.ask(id);
        let message = ToWorker::TakeBack { lease: id, keep: 0 };
        out.push(Command::Send { session, message });
    }
}

/// A worker has given back some of a lease: if its arm was taken back meanwhile, the rest is
/// asked for too.
pub(crate) fn ask_again(t: &mut Tables, out: &mut Out, id: LeaseId) {
    let arm = t.leases.find(id).and_then(|lease| lease.history.arm);
    let gone = refuge(t, arm).is_some_and(|refuge| refuge.at_once);
    if let Some(arm) = arm.filter(|_| gone) {
        ask_back(t, out, id, arm);
    }
}

fn move_waiting(t: &mut Tables, out: &mut Out, id: JobId, candidate: ArmId) {
    let Some(refuge) = refuge(t, Some(candidate)) else {
        return;
    };
    let Some(job) = t.jobs.find_mut(id) else {
        return;
    };
    let Some(running) = job.running.as_mut() else {
        return;
    };
    let cuts = running
        .backlog
        .claim_if(|history| history.arm == Some(candidate));
    let mut waiting: Vec<(History, Ranges)> = Vec::new();
    for cut in cuts {
        let history = History {
            suspect_chunk: cut.wait.history.suspect_chunk,
            ..refuge.history
        };
        match waiting.iter_mut().find(|(known, _)| *known == history) {
            Some((_, indices)) => *indices = indices.union(&cut.indices),
            None => waiting.push((history, cut.indices)),
        }
    }
    running.versions.extend(refuge.history.version);
    for (history, indices) in waiting {
        let runs: Vec<_> = indices.runs().collect();
        for runs in runs.chunks(limit::REDRIVE_RECORD_RUNS_MAX) {
            let mut record = record::empty(t, id);
            record.waiting.push(WaitingRecord {
                indices: runs.iter().cloned().collect(),
                history,
                due_ms: 0,
            });
            record::commit(t, out, record);
        }
    }
}
