//! A worker introduces itself, or its session ends.

use std::collections::BTreeSet;

use super::step::{self, Out, lose, part, refresh};
use crate::change::Change;
use crate::command::{Command, Ignored, Note, Refusal};
use crate::function::Holdings;
use crate::id::{SessionId, WorkerId};
use crate::limit;
use crate::message::{Hello, ToWorker, Welcome};
use crate::tables::Tables;
use crate::tables::demands::Ability;
use crate::tables::roster::{Has, Worker};

use super::offer;

pub(crate) fn hello(t: &mut Tables, out: &mut Out, session: SessionId, hello: Hello) {
    if let Some(worker) = t.roster.by_session(session) {
        let what = "it said hello twice".to_owned();
        let refusal = Refusal::ProtocolBroken { what };
        return part::close(t, out, session, worker, refusal);
    }
    if let Err(refusal) = judge(t, &hello) {
        out.push(Command::Close { session, refusal });
        return;
    }
    let id = hello.worker;
    let drains = supersede(t, out, &hello);
    let offers = enter(t, out, session, hello, drains);
    let (answers, kept) = offer::answer(t, out, id, offers);
    let message = ToWorker::Welcome(Welcome {
        heartbeat_ms: t.config.heartbeat_ms,
        epoch: t.epoch,
        answers,
    });
    out.push(Command::Send { session, message });
    if drains {
        let message = ToWorker::Drain;
        out.push(Command::Send { session, message });
    }
    if let Some(worker) = t.roster.find(id) {
        out.push(Command::Note(Note::WorkerJoined {
            name: worker.name.clone(),
            slots: worker.slots,
            kept,
        }));
    }
    t.marks.newcomers.insert(id);
    refresh::worker(t, id);
}

fn judge(t: &Tables, hello: &Hello) -> Result<(), Refusal> {
    if hello.protocol != limit::PROTOCOL {
        return Err(Refusal::ProtocolMismatch {
            theirs: hello.protocol,
            ours: limit::PROTOCOL,
        });
    }
    let holder = t.roster.by_name(&hello.name);
    if holder.is_some_and(|holder| holder != hello.worker) {
        let name = hello.name.clone();
        return Err(Refusal::WorkerNameTaken { name });
    }
    let mut functions = hello.functions.iter();
    if let Some(name) = functions.find(|name| t.functions.find(name).is_some()) {
        let function = name.clone();
        return Err(Refusal::FunctionPublished { function });
    }
    if !(1..=limit::WORKER_SLOTS_MAX).contains(&hello.slots) {
        let what = format!(
            "it has {} slots; 1 to {} are allowed",
            hello.slots,
            limit::WORKER_SLOTS_MAX
        );
        return Err(Refusal::ProtocolBroken { what });
    }
    let known = t.roster.find(hello.worker);
    let resumes = known.is_some_and(|worker| worker.session.is_some());
    if !resumes && t.roster.session_len() >= t.config.sessions_max {
        let limit = t.config.sessions_max as u64;
        return Err(Refusal::TooManySessions { limit });
    }
    Ok(())
}

/// Ends an older session of the same process; its leases stay, its invokes do not. Tells whether the
/// process was asked to leave.
fn supersede(t: &mut Tables, out: &mut Out, hello: &Hello) -> bool {
    let Some(old) = t.roster.find(hello.worker) else {
        return false;
    };
    let (name, drains, session) = (old.name.clone(), old.draining, old.session);
    lose::lose_invokes(t, out, hello.worker, &name);
    if let Some(session) = session {
        let refusal = Refusal::SessionSuperseded { name };
        out.push(Command::Close { session, refusal });
    }
    part::forget(t, hello.worker);
    drains
}

/// Seats a worker; gives what it offers.
fn enter(
    t: &mut Tables,
    out: &mut Out,
    session: SessionId,
    hello: Hello,
    draining: bool,
) -> Vec<crate::message::Offer> {
    let id: WorkerId = hello.worker;
    let functions = hello
        .functions
        .into_iter()
        .take(limit::WORKER_FUNCTIONS_MAX);
    let worker = Worker {
        name: hello.name,
        session: Some(session),
        slots: hello.slots,
        labels: hello.labels,
        functions: functions.collect(),
        runs_programs: hello.runs_programs,
        runtimes: hello.runtimes,
        has: Has::from(hello.holdings),
        told: BTreeSet::new(),
        kept: Vec::new(),
        version: hello.version,
        connected_ms: t.clock.wall_ms(),
        heard_ms: t.clock.engine_ms(),
        away_until_ms: 0,
        draining,
        reported: 0,
    };
    for function in &worker.functions {
        if t.registry.see(function) {
            let change = Change::FunctionSeen(function.clone());
            out.push(Command::Persist(change));
        }
        t.registry.came(function);
    }
    let ability = Ability {
        slots: worker.slots,
        functions: worker.functions.clone(),
        runs_programs: worker.runs_programs,
        runtimes: worker.runtimes,
        labels: worker.labels.clone(),
    };
    t.roster.insert(id, worker);
    if !draining {
        t.invokes.welcome(id);
        for job in t.demands.enter(id, ability) {
            t.touch(job);
        }
    }
    let silent_ms = t
        .clock
        .engine_ms()
        .saturating_add(t.config.lease_timeout_ms);
    t.alarms.workers.set(id, Some(silent_ms));
    hello.offers
}

/// A worker says what it has of versions.
pub(crate) fn holds(t: &mut Tables, id: WorkerId, holdings: Holdings) {
    t.roster.holds(id, Has::from(holdings));
}

pub(crate) fn session_ended(t: &mut Tables, out: &mut Out, session: SessionId) {
    match t.roster.by_session(session) {
        Some(worker) => part::part(t, out, worker),
        None => step::ignore(out, Ignored::UnknownSession),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Env;
    use super::*;
    use crate::config::Config;
    use crate::event::Event;
    use crate::function::Runtimes;
    use crate::job::JobState;
    use crate::time::Now;

    #[test]
    fn a_returning_process_keeps_what_it_offers_under_the_same_lease() {
        let mut env = Env::new();
        env.worker("a", 4);
        let job = env.submit_range(4);
        let before = env.open("a");
        env.cut("a");
        env.advance(500);
        env.connect("a");
        assert_eq!(env.open("a"), before);
        env.report_all("a");
        assert_eq!(env.state(job), JobState::Succeeded);
        assert_eq!(env.view(job).usage.attempts, 4, "nothing ran twice");
    }

    #[test]
    fn the_same_process_supersedes_its_session_at_once() {
        let mut env = Env::new();
        env.worker("a", 4);
        env.submit_range(4);
        env.connect("a");
        let name = "a".to_owned();
        assert_eq!(env.closed, [Refusal::SessionSuperseded { name }]);
        assert_eq!(env.open_len("a"), 4);
    }

    #[test]
    fn a_grant_that_was_lost_on_its_way_is_granted_again() {
        let mut env = Env::new();
        env.worker("a", 4);
        let job = env.submit_range(4);
        env.workers.get_mut("a").unwrap().open.clear();
        env.cut("a");
        env.connect("a");
        assert_eq!(env.open_len("a"), 4);
        let (lease, _) = env.open("a").remove(0);
        assert_eq!(env.workers["a"].held[&lease].head.attempt, 1);
        env.report_all("a");
        assert_eq!(env.state(job), JobState::Succeeded);
    }

    #[test]
    fn a_name_belongs_to_its_holder_until_that_is_gone() {
        let mut env = Env::new();
        env.worker("a", 1);
        let taken = Refusal::WorkerNameTaken {
            name: "a".to_owned(),
        };
        env.worker("a", 1);
        assert_eq!(env.closed, std::slice::from_ref(&taken));
        assert_eq!(env.machine.cluster().workers, 1);
        env.advance_but(Config::default().lease_timeout_ms, "a");
        env.closed.clear();
        env.connect("a");
        assert_eq!(env.closed, [], "the silent holder is gone");
        env.cut("a");
        env.worker("a", 1);
        assert_eq!(env.closed, [taken], "the holder may still return");
    }

    #[test]
    fn a_silent_session_is_closed_and_its_work_waits_again() {
        let mut env = Env::new();
        env.worker("a", 4);
        let job = env.submit_range(4);
        let silence = Config::default().lease_timeout_ms;
        env.advance_but(silence - 500, "a");
        assert_eq!(env.counts(job).leased, 4);
        env.advance_but(500, "a");
        let refusal = Refusal::SessionSilent { silent_ms: silence };
        assert_eq!(env.closed, [refusal]);
        assert_eq!(env.counts(job).waiting, 4);
    }

    #[test]
    fn a_paused_coordinator_expires_nobody() {
        let mut env = Env::new();
        env.worker("a", 4);
        env.submit_range(4);
        env.now = Now {
            mono_ms: env.now.mono_ms + 3_600_000,
            ..env.now
        };
        env.turn([]);
        env.settle();
        assert_eq!(env.closed, []);
        assert_eq!(env.machine.cluster().invocations_leased, 4);
    }

    #[test]
    fn another_protocol_is_refused() {
        let mut env = Env::new();
        let hello = Hello {
            protocol: limit::PROTOCOL + 1,
            worker: WorkerId([1; 16]),
            name: "a".to_owned(),
            slots: 1,
            labels: crate::policy::Labels::new(),
            functions: Vec::new(),
            runs_programs: false,
            runtimes: Runtimes::NONE,
            holdings: Holdings::default(),
            version: String::new(),
            offers: Vec::new(),
        };
        env.turn([Event::Hello {
            session: SessionId(1),
            hello: Box::new(hello),
        }]);
        assert!(matches!(env.closed[..], [Refusal::ProtocolMismatch { .. }]));
    }
}
