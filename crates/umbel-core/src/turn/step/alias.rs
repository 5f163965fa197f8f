//! Aliases move.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Out;
use crate::change::Change;
use crate::command::{Command, Note};
use crate::function::{Alias, LIVE, Move, MoveKind};
use crate::id::JobId;
use crate::limit;
use crate::route::{ArmId, Plan, Route};
use crate::shadow::Shadow;
use crate::tables::Tables;

/// How an alias moves.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) kind: MoveKind,
    pub(crate) to: Route,
    pub(crate) by: String,
}

/// Points an alias at a route whose targets are there, and remembers where it came from.
pub(crate) fn move_to(t: &mut Tables, out: &mut Out, function: &str, name: &str, step: Step) {
    let newest = t.functions.newest(function);
    let known = t.functions.find_any(function);
    let known = known.and_then(|function| function.aliases.get(name));
    let from = known.map(|alias| alias.route.clone());
    let mut alias = known.cloned().unwrap_or_else(|| Alias {
        function: function.to_owned(),
        name: name.to_owned(),
        route: step.to.clone(),
        follows: false,
        trail: Vec::new(),
        moves: Vec::new(),
        arms: std::collections::BTreeMap::new(),
        shadow: None,
    });
    let to = step.to.to;
    alias.route = step.to;
    let plan = alias.route.plan.clone();
    // A split says of every version how much it gets, so no newer one comes in by itself.
    let split = plan.as_ref().is_some_and(|plan| plan.split.is_some());
    // Where versions are rolled out, the next one is too.
    let rolled_out = step.kind == MoveKind::Promoted;
    alias.follows = name == LIVE && newest == Some(to) && !split && !rolled_out;
    let before = from.as_ref().and_then(|from| from.plan.clone());
    let from_to = from.as_ref().map(|from| from.to);
    if step.kind.leaves_trail() {
        alias.trail.extend(from.filter(|from| *from != alias.route));
    }
    keep_last(&mut alias.trail, limit::ALIAS_TRAIL_MAX);
    alias.moves.push(Move {
        kind: step.kind,
        by: step.by.clone(),
        at_ms: t.clock.wall_ms(),
        from: from_to,
        to,
        plan: (plan != before).then(|| plan.clone().unwrap_or_default()),
    });
    keep_last(&mut alias.moves, limit::ALIAS_MOVES_MAX);
    name_arms(&mut alias, plan.as_deref());
    make_room(&mut alias);
    let marks = t.arms.mark(alias.arms.keys().copied(), t.clock.wall_ms());
    out.extend(marks.into_iter().map(Command::Persist));
    t.functions.put_alias(alias.clone());
    t.functions.reroute();
    t.marks.kept = true;
    out.push(Command::Persist(Change::AliasMoved(alias)));
    out.push(Command::Note(Note::AliasMoved {
        function: function.to_owned(),
        alias: name.to_owned(),
        to,
        by: step.by,
    }));
    touch(t, function);
}

/// Sets where copies of what is submitted over an alias go.
pub(crate) fn shadow(
    t: &mut Tables,
    out: &mut Out,
    (function, name): (&str, &str),
    shadow: Option<Shadow>,
) {
    let Some(mut alias) = t.functions.alias(function, name).cloned() else {
        return;
    };
    alias.shadow = shadow;
    make_room(&mut alias);
    t.functions.put_alias(alias.clone());
    out.push(Command::Persist(Change::AliasMoved(alias)));
}

/// What the running jobs of a function mean may have changed, and of those that a route leads
/// to it.
pub(crate) fn touch(t: &mut Tables, function: &str) {
    let mut functions = BTreeSet::from([function]);
    for ((other, _), routing) in t.functions.routings() {
        if routing.nodes.iter().any(|node| leads_to(node, function)) {
            functions.insert(other);
        }
    }
    let jobs = functions
        .into_iter()
        .flat_map(|name| t.jobs.of_function(name));
    let jobs: Vec<JobId> = jobs.map(|job| job.id()).collect();
    for job in jobs {
        t.touch(job);
    }
}

fn leads_to(node: &crate::route::Node, function: &str) -> bool {
    let mut targets = node.plan.targets();
    node.function == function || targets.any(|(_, _, to)| to.function() == Some(function))
}

/// An arm is known by its name for as long as anything that ran for it may be asked about.
fn name_arms(alias: &mut Alias, plan: Option<&Plan>) {
    let now: BTreeSet<ArmId> = plan
        .into_iter()
        .flat_map(|plan| plan.targets().map(|(id, name, _)| (id, name.to_owned())))
        .map(|(id, name)| {
            alias.arms.insert(id, name);
            id
        })
        .collect();
    while alias.arms.len() > limit::ALIAS_ARMS_MAX {
        let Some(oldest) = alias.arms.keys().find(|id| !now.contains(id)).copied() else {
            break;
        };
        alias.arms.remove(&oldest);
    }
}

/// An alias is one value of the store, of bounded size: what is told of it only makes room first,
/// then the names of arms that it has no more, then steps back, the oldest of each.
fn make_room(alias: &mut Alias) {
    let mut over = alias.bytes().saturating_sub(limit::ALIAS_RECORD_BYTES_MAX);
    for one in &mut alias.moves {
        if over > 0
            && let Some(plan) = one.plan.take()
        {
            over = over.saturating_sub(plan.bytes());
        }
    }
    let plan = alias.route.plan.as_deref();
    let now: BTreeSet<ArmId> = plan
        .into_iter()
        .flat_map(Plan::targets)
        .map(|(id, ..)| id)
        .collect();
    alias.arms.retain(|id, name| {
        let goes = over > 0 && !now.contains(id);
        if goes {
            over = over.saturating_sub(Alias::arm_bytes(name));
        }
        !goes
    });
    while over > 0 && alias.trail.len() > 1 {
        over = over.saturating_sub(alias.trail.remove(0).bytes());
    }
    while over > 0 && alias.moves.len() > 1 {
        over = over.saturating_sub(alias.moves.remove(0).bytes());
    }
}

/// The same plan, or none if nothing is left in it.
pub(crate) fn planned(plan: Plan) -> Option<Arc<Plan>> {
    (!plan.is_empty()).then(|| Arc::new(plan))
}

fn keep_last<T>(items: &mut Vec<T>, most: usize) {
    let beyond = items.len().saturating_sub(most);
    items.drain(..beyond);
}
