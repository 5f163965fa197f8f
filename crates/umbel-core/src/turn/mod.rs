//! What the machine does with each family of events. A turn never calls a turn;
//! what several need is a step.

mod append;
mod cancel;
mod compare;
mod connect;
mod drain;
mod expire;
mod explain;
mod invoke;
mod lone;
mod look;
mod offer;
mod place;
mod point;
mod publish;
mod redrive;
mod report;
mod restore;
mod retire;
mod rollout;
mod set_route;
mod shadow;
mod sort;
mod step;
mod submit;
mod sweep;
mod take_back;
mod warm;

#[cfg(test)]
mod random;
#[cfg(test)]
mod stories;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use compare::experiment;
pub(crate) use explain::explain;
pub(crate) use look::{
    cluster, find_job, function, function_view, functions, invocation, jobs, workers,
};
pub(crate) use restore::restore;
pub(crate) use rollout::view as rollout_view;
pub(crate) use shadow::view as shadow;
pub(crate) use step::{job_view, route};
pub(crate) use sweep::next as next_sweep;

use crate::command::{Command, Ignored};
use crate::event::Event;
use crate::id::SessionId;
use crate::message::FromWorker;
use crate::tables::Tables;

use step::{Out, arm, refresh};

/// Takes in one fact.
pub(crate) fn handle(t: &mut Tables, out: &mut Out, event: Event) {
    match event {
        Event::CreateJob { reply, proposal } => submit::create(t, out, reply, *proposal),
        Event::OpenAppend { reply, job } => append::open_append(t, out, reply, job),
        Event::Append { reply, job, block } => append::append(t, out, reply, job, block),
        Event::Seal { reply, job, total } => append::seal(t, out, reply, job, total),
        Event::Cancel { reply, job } => cancel::cancel(t, out, reply, job),
        Event::Redrive {
            reply,
            job,
            redrive,
        } => redrive::redrive(t, out, reply, job, *redrive),
        Event::Delete { reply, job } => cancel::delete(t, out, reply, job),
        Event::Invoke {
            reply,
            id,
            target,
            input,
            timeout_ms,
            decided,
        } => {
            let wish = invoke::Wish {
                id,
                target,
                input,
                timeout_ms,
                decided,
            };
            invoke::invoke(t, out, reply, wish);
        }
        Event::InvokeAbandoned(id) => invoke::abandon(t, out, id),
        Event::Publish { .. }
        | Event::Point { .. }
        | Event::RollBack { .. }
        | Event::SetRoute { .. }
        | Event::Warm { .. }
        | Event::StartRollout { .. }
        | Event::MoveRollout { .. }
        | Event::SetShadow { .. }
        | Event::StopShadow { .. }
        | Event::Retire { .. } => of_function(t, out, event),
        Event::Sorted(column) => sort::sorted(t, out, &column),
        Event::Drain { reply, worker } => drain::drain(t, out, reply, worker),
        Event::Hello { session, hello } => connect::hello(t, out, session, *hello),
        Event::Worker { session, message } => from_worker(t, out, session, message),
        Event::Heard(session) => {
            let engine_ms = t.clock.engine_ms();
            if let Some(worker) = t.roster.by_session(session) {
                t.roster.heard(worker, engine_ms);
            }
        }
        Event::Stored { live_bytes } => sweep::by_size(t, out, live_bytes),
        Event::SessionEnded(session) => connect::session_ended(t, out, session),
        Event::GrantUnreadable {
            session,
            lease,
            reason,
        } => report::unreadable(t, out, session, lease, &reason),
    }
}

/// What is asked about published functions.
fn of_function(t: &mut Tables, out: &mut Out, event: Event) {
    match event {
        Event::Publish { reply, publication } => publish::publish(t, out, reply, *publication),
        Event::Point {
            reply,
            function,
            alias,
            to,
            by,
        } => {
            let wish = point::Wish {
                function,
                alias,
                by,
            };
            point::point(t, out, reply, wish, to);
        }
        Event::RollBack {
            reply,
            function,
            alias,
            by,
        } => {
            let wish = point::Wish {
                function,
                alias,
                by,
            };
            point::roll_back(t, out, reply, wish);
        }
        Event::SetRoute { reply, wish } => set_route::set(t, out, reply, *wish),
        Event::StartRollout { .. }
        | Event::MoveRollout { .. }
        | Event::SetShadow { .. }
        | Event::StopShadow { .. } => of_rollout(t, out, event),
        Event::Retire {
            reply,
            function,
            number,
        } => retire::retire(t, out, reply, &function, number),
        Event::Warm {
            reply,
            function,
            number,
        } => warm::ahead(t, out, reply, &function, number),
        // These are of jobs and workers, and told apart before.
        Event::CreateJob { .. }
        | Event::OpenAppend { .. }
        | Event::Append { .. }
        | Event::Seal { .. }
        | Event::Cancel { .. }
        | Event::Redrive { .. }
        | Event::Delete { .. }
        | Event::Invoke { .. }
        | Event::InvokeAbandoned(_)
        | Event::Drain { .. }
        | Event::Hello { .. }
        | Event::Worker { .. }
        | Event::Heard(_)
        | Event::SessionEnded(_)
        | Event::Stored { .. }
        | Event::Sorted(_)
        | Event::GrantUnreadable { .. } => {}
    }
}

/// What is asked about rollouts and shadows, which were told apart before.
fn of_rollout(t: &mut Tables, out: &mut Out, event: Event) {
    match event {
        Event::StartRollout { reply, wish } => rollout::start(t, out, reply, *wish),
        Event::MoveRollout {
            reply,
            function,
            alias,
            to,
            by,
        } => rollout::change(t, out, reply, (&function, &alias), (to, by)),
        Event::SetShadow { reply, wish } => shadow::set(t, out, reply, *wish),
        Event::StopShadow {
            reply,
            function,
            alias,
        } => shadow::stop(t, out, reply, (&function, &alias)),
        _ => {}
    }
}

fn from_worker(t: &mut Tables, out: &mut Out, session: SessionId, message: FromWorker) {
    let Some(worker) = t.roster.by_session(session) else {
        return step::ignore(out, Ignored::UnknownSession);
    };
    let engine_ms = t.clock.engine_ms();
    t.roster.heard(worker, engine_ms);
    match message {
        FromWorker::Heartbeat(begun) => report::heartbeat(t, out, worker, &begun),
        FromWorker::Holds(holdings) => connect::holds(t, worker, holdings),
        FromWorker::Report(report) => report::report(t, out, (session, worker), report),
        FromWorker::TakenBack(taken) => take_back::taken_back(t, out, worker, &taken),
        FromWorker::Leaving => drain::leaving(t, worker),
        FromWorker::InvokeDone(done) => invoke::done(t, out, worker, done),
    }
}

/// Ends a turn: what is due by time, then work for free slots, then who is told.
pub(crate) fn advance(t: &mut Tables, out: &mut Out) {
    t.marks.more = false;
    expire::expire(t, out);
    sweep::by_age(t, out);
    retire::sweep(t, out);
    rollout::advance(t, out);
    warm::advance(t, out);
    for job in std::mem::take(&mut t.marks.jobs) {
        refresh::job(t, job);
    }
    for worker in std::mem::take(&mut t.marks.workers) {
        refresh::worker(t, worker);
    }
    invoke::advance(t, out);
    let grants = lone::place(t, out);
    place::place(t, out, grants);
    take_back::ask(t, out);
    sort::ask(t, out);
    arm::keep(t, out);
    // What was granted has refreshed its job and worker by itself.
    t.marks.jobs.clear();
    let shown = std::mem::take(&mut t.marks.shown);
    out.extend(shown.into_iter().map(Command::JobChanged));
}
