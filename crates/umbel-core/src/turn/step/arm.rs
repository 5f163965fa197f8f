//! What came of the invocations of an arm is counted: once for a record, a chunk or a column,
//! never for an invocation, and nothing where no route decided.

use super::Out;
use crate::arm::ArmFigures;
use crate::change::Record;
use crate::command::Command;
use crate::histogram::Histogram;
use crate::id::JobId;
use crate::job::Usage;
use crate::message::{ColdRun, InvokeDone};
use crate::outcome::FailureKind;
use crate::route::{ArmId, Column};
use crate::tables::Tables;

/// Counts what ended in a record, and what its attempts used.
pub(crate) fn recorded(t: &mut Tables, record: &Record) {
    let Some(arm) = &record.arm else { return };
    let mut figures = ArmFigures {
        succeeded: record.succeeded.len(),
        usage: record.usage,
        ..ArmFigures::default()
    };
    for failed in &record.failed {
        figures.fail(failed.failure.kind, 1);
    }
    add(t, arm.id, &figures);
    t.arms.owe();
}

/// Counts invocations whose attempts on an arm have ended with a failure that is not final, since
/// they run on another.
pub(crate) fn exhausted(t: &mut Tables, arm: ArmId, kind: FailureKind, count: u64) {
    let mut figures = ArmFigures::default();
    figures.fail(kind, count);
    add(t, arm, &figures);
    t.arms.owe();
}

/// Keeps how long the attempts of a chunk ran.
pub(crate) fn ran(t: &mut Tables, arm: Option<ArmId>, warm: &Histogram, cold: &[ColdRun]) {
    let Some(arm) = arm else { return };
    let mut figures = ArmFigures {
        warm: warm.clone(),
        ..ArmFigures::default()
    };
    cold.iter()
        .for_each(|run| figures.cold.add(run.duration_us));
    add(t, arm, &figures);
    t.arms.owe();
}

/// Counts the inputs that the present route of an alias sent to each arm.
pub(crate) fn routed(t: &mut Tables, column: &Column) {
    let job = t.jobs.find(column.job);
    // A job that keeps to what its alias meant before says nothing of what it means now.
    if job.is_none_or(|job| job.record.routing.is_some()) {
        return;
    }
    for (decision, indices) in &column.sorted {
        if let Some(arm) = decision.arm {
            send(t, arm, indices.len());
        }
    }
}

/// Inputs come back unrun from an arm: its route is asked about them again, and they are counted then.
pub(crate) fn came_back(t: &mut Tables, job: JobId, arm: Option<ArmId>, count: u64) {
    let counted = t
        .jobs
        .find(job)
        .is_some_and(|job| job.record.routing.is_none());
    if let Some(arm) = arm.filter(|_| counted && count > 0) {
        t.arms.unsend(arm, count);
        t.arms.owe_later(t.clock.engine_ms());
    }
}

/// An invocation that somebody waits for was routed.
pub(crate) fn invoke_routed(t: &mut Tables, arm: Option<ArmId>) {
    if let Some(arm) = arm {
        send(t, arm, 1);
    }
}

fn send(t: &mut Tables, arm: ArmId, routed: u64) {
    let figures = ArmFigures {
        routed,
        ..ArmFigures::default()
    };
    add(t, arm, &figures);
    t.arms.owe_later(t.clock.engine_ms());
}

/// Counts how an invocation ended that somebody waits for. Nothing of it is written, so that its
/// answer need not wait for the disk.
pub(crate) fn invoked(t: &mut Tables, arm: Option<ArmId>, done: &InvokeDone) {
    let Some(arm) = arm else { return };
    let mut figures = ArmFigures {
        usage: Usage {
            duration_us: done.duration_us,
            cpu_us: done.cpu_us.unwrap_or(0),
            attempts: 1,
        },
        ..ArmFigures::default()
    };
    let never_ran = match &done.outcome {
        Ok(_) => {
            figures.succeeded = 1;
            false
        }
        Err(failure) => {
            figures.fail(failure.kind, 1);
            failure.kind == FailureKind::Rejected
        }
    };
    match done.cold_start {
        Some(_) => figures.cold.add(done.duration_us),
        None if never_ran => {}
        None => figures.warm.add(done.duration_us),
    }
    add(t, arm, &figures);
    t.arms.owe_later(t.clock.engine_ms());
}

/// Counts an invocation whose worker was lost while somebody waited for it.
pub(crate) fn invoke_lost(t: &mut Tables, arm: Option<ArmId>) {
    let Some(arm) = arm else { return };
    let mut figures = ArmFigures::default();
    figures.fail(FailureKind::Lost, 1);
    add(t, arm, &figures);
    t.arms.owe_later(t.clock.engine_ms());
}

fn add(t: &mut Tables, arm: ArmId, figures: &ArmFigures) {
    // What runs still for an alias that is gone is nobody's figures.
    if t.functions.arm(arm).is_some() {
        t.arms.add(arm, t.clock.wall_ms(), figures);
    }
}

/// Ends a turn: what was counted is written along with what it was counted of.
pub(crate) fn keep(t: &mut Tables, out: &mut Out) {
    let changes = t.arms.changes(t.clock.engine_ms());
    out.extend(changes.into_iter().map(Command::Persist));
}
