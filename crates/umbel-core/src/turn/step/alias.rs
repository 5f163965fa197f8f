//! Aliases move.

use super::Out;
use crate::change::Change;
use crate::command::{Command, Note};
use crate::function::{Alias, LIVE, Move, MoveKind, Route};
use crate::id::JobId;
use crate::limit;
use crate::tables::Tables;

/// How an alias moves.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) kind: MoveKind,
    pub(crate) to: u32,
    pub(crate) by: String,
}

/// Points an alias at a version that is there, and remembers where it came from.
pub(crate) fn move_to(t: &mut Tables, out: &mut Out, function: &str, name: &str, step: Step) {
    let newest = t.functions.newest(function);
    let known = t.functions.find_any(function);
    let known = known.and_then(|function| function.aliases.get(name));
    let from = known.map(|alias| alias.route.to);
    let mut alias = known.cloned().unwrap_or_else(|| Alias {
        function: function.to_owned(),
        name: name.to_owned(),
        route: Route { to: step.to },
        follows: false,
        trail: Vec::new(),
        moves: Vec::new(),
    });
    alias.route.to = step.to;
    alias.follows = name == LIVE && newest == Some(step.to);
    if step.kind != MoveKind::RolledBack {
        alias.trail.extend(from.filter(|from| *from != step.to));
    }
    keep_last(&mut alias.trail, limit::ALIAS_TRAIL_MAX);
    alias.moves.push(Move {
        kind: step.kind,
        by: step.by.clone(),
        at_ms: t.clock.wall_ms(),
        from,
        to: step.to,
    });
    keep_last(&mut alias.moves, limit::ALIAS_MOVES_MAX);
    t.functions.put_alias(alias.clone());
    out.push(Command::Persist(Change::AliasMoved(alias)));
    out.push(Command::Note(Note::AliasMoved {
        function: function.to_owned(),
        alias: name.to_owned(),
        to: step.to,
        by: step.by,
    }));
    touch(t, function);
}

/// What the running jobs of a function mean may have changed.
pub(crate) fn touch(t: &mut Tables, function: &str) {
    let jobs: Vec<JobId> = t.jobs.of_function(function).map(|job| job.id()).collect();
    for job in jobs {
        t.touch(job);
    }
}

fn keep_last<T>(items: &mut Vec<T>, most: usize) {
    let beyond = items.len().saturating_sub(most);
    items.drain(..beyond);
}
