//! One invocation that somebody waits for. It never touches the disk.

use std::sync::Arc;

use bytes::Bytes;

use super::step::rollout::{self, Refuge};
use super::step::{self, Out, arm, lease, part, route, runs};
use crate::command::{Command, Ignored, Note, Refusal, Reply};
use crate::function::{Version, VersionId};
use crate::histogram::Histogram;
use crate::id::{InvokeId, ReplyId, WorkerId};
use crate::job::Target;
use crate::limit;
use crate::message::{ColdRun, Invoke, InvokeDone, ToWorker};
use crate::outcome::{Failure, FailureKind, WORKER_LEAVING};
use crate::route::Decision;
use crate::tables::Tables;
use crate::tables::invokes::InvokeEntry;
use crate::tables::roster::Nearness;

/// How much later than a worker the coordinator gives up, so that the worker's
/// own words about a timeout arrive first.
const SLACK_MS: u64 = 500;

/// What a client asks for.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) id: InvokeId,
    pub(crate) target: Target,
    pub(crate) input: Bytes,
    pub(crate) timeout_ms: u64,
    pub(crate) decided: Option<(u64, Decision)>,
}

pub(crate) fn invoke(t: &mut Tables, out: &mut Out, to: ReplyId, wish: Wish) {
    if let Err(refusal) = route::known(t, &wish.target) {
        return step::refuse(out, to, refusal);
    }
    let timeout_ms = wish.timeout_ms;
    if t.invokes.len() >= t.config.invokes_max || t.invokes.find(wish.id).is_some() {
        let target = wish.target.display();
        return step::refuse(out, to, Refusal::NoSlot { target, timeout_ms });
    }
    let (version, ran_for) = match route::routing_of(t, &wish.target) {
        None => (route::now(t, &wish.target), None),
        Some(routing) => match wish.decided {
            Some((revision, decision)) if revision == routing.revision => {
                (Some(decision.version), decision.arm)
            }
            _ => return step::reply(out, to, Reply::Undecided(Arc::clone(routing))),
        },
    };
    let until_ms = t.clock.engine_ms().saturating_add(timeout_ms);
    let entry = InvokeEntry {
        reply: to,
        version,
        arm: ran_for,
        target: wish.target,
        input: wish.input,
        timeout_ms,
        until_ms,
        worker: None,
    };
    t.invokes.insert(wish.id, entry);
    arm::invoke_routed(t, ran_for);
    t.alarms.invokes.set(wish.id, Some(until_ms));
    place(t, out, wish.id);
}

/// Gives an invoke to the worker that holds the least, if any can run it.
fn place(t: &mut Tables, out: &mut Out, id: InvokeId) {
    let Some(entry) = t.invokes.find(id) else {
        return;
    };
    let demand = route::demand_of(t, &entry.target, entry.version);
    let version = entry.version.and_then(|id| t.functions.version(id));
    let able = t.demands.abilities();
    let able = able.filter(|(_, ability)| demand.is_met(ability));
    let least = able.min_by_key(|(worker, ability)| {
        let side = t.leases.of_worker(*worker);
        let invokes = u64::try_from(t.invokes.count_of(*worker)).unwrap_or(u64::MAX);
        let load = side
            .load_us
            .saturating_add(invokes.saturating_mul(limit::HOLD_US));
        // A worker with a suspect may be lost by it at any time.
        (
            side.lone > 0,
            load / u64::from(ability.slots.max(1)) + farness_us(t, *worker, version),
            *worker,
        )
    });
    let Some((worker, _)) = least else { return };
    let Some(session) = t.roster.find(worker).and_then(|worker| worker.session) else {
        return;
    };
    let left_ms = entry.until_ms.saturating_sub(t.clock.engine_ms());
    let message = ToWorker::Invoke(Invoke {
        id,
        target: lease::target(t, &entry.target, entry.version),
        version: entry.version,
        input: entry.input.clone(),
        timeout_ms: left_ms,
    });
    let until_ms = entry.until_ms.saturating_add(SLACK_MS);
    let version = entry.version;
    lease::tell(t, out, (worker, session), version);
    t.invokes.place(id, worker);
    t.alarms.invokes.set(id, Some(until_ms));
    out.push(Command::Send { session, message });
    out.push(Command::Note(Note::InvokePlaced { id }));
}

/// The load that a version's distance is worth: another worker is better than one that is
/// full.
fn farness_us(t: &Tables, worker: WorkerId, version: Option<&Arc<Version>>) -> u64 {
    let worker = t.roster.find(worker);
    let nearness = worker.zip(version).map(|(w, version)| w.nearness(version));
    match nearness {
        None | Some(Nearness::Warm) => 0,
        Some(Nearness::Cached) => limit::HOLD_US / 2,
        Some(Nearness::Cold) => limit::HOLD_US,
        Some(Nearness::Failed) => 2 * limit::HOLD_US,
    }
}

/// The outcome arrives.
pub(crate) fn done(t: &mut Tables, out: &mut Out, worker: WorkerId, done: InvokeDone) {
    let known = t.invokes.find(done.id);
    let Some(known) = known.filter(|entry| entry.worker == Some(worker)) else {
        return step::ignore(out, Ignored::UnknownInvoke);
    };
    let until_ms = known.until_ms;
    if is_handed_back(&done) {
        t.invokes.unplace(done.id);
        t.alarms.invokes.set(done.id, Some(until_ms));
        // Should it not have said before that it leaves, it has now.
        t.roster.drain(worker);
        part::stop_feeding(t, worker);
        return place(t, out, done.id);
    }
    let Some(entry) = forget(t, done.id) else {
        return;
    };
    let ran = lease::target(t, &entry.target, entry.version);
    note_run(t, out, (&entry.target, entry.version), &done);
    arm::invoked(t, entry.arm, &done);
    if let Err(failure) = &done.outcome
        && let Some(refuge) = rollout::refuge(t, entry.arm)
    {
        rollout::note_failure(t, entry.arm, failure);
        return again(t, out, done.id, entry, refuge);
    }
    let name = t.roster.find(worker).map(|worker| worker.name.clone());
    let reply = Reply::Invoked {
        outcome: done.outcome,
        worker: name.unwrap_or_default(),
        function: ran.name(),
        version: route::number(t, entry.version),
        arm: entry
            .arm
            .and_then(|id| Some(t.functions.arm(id)?.name.clone())),
        duration_us: done.duration_us,
        cpu_us: done.cpu_us,
        cold_start: done.cold_start,
    };
    step::reply(out, entry.reply, reply);
}

/// What failed on the new version of a rollout runs on the old one before it is answered.
fn again(t: &mut Tables, out: &mut Out, id: InvokeId, entry: InvokeEntry, refuge: Refuge) {
    let until_ms = entry.until_ms;
    let entry = InvokeEntry {
        version: refuge.history.version,
        arm: refuge.history.arm,
        worker: None,
        ..entry
    };
    t.invokes.insert(id, entry);
    t.alarms.invokes.set(id, Some(until_ms));
    place(t, out, id);
}

/// Keeps how long it ran, if it did.
fn note_run(t: &mut Tables, out: &mut Out, ran: (&Target, Option<VersionId>), done: &InvokeDone) {
    let (duration_us, mut warm) = (done.duration_us, Histogram::new());
    let cold = done.cold_start.map(|parts| ColdRun { duration_us, parts });
    match (cold, &done.outcome) {
        (Some(_), _) => {}
        (None, Err(failure)) if failure.kind == FailureKind::Rejected => {}
        (None, _) => warm.add(duration_us),
    }
    runs::note(t, out, ran, (&warm, cold.as_slice()));
}

/// Whether a worker that leaves has not begun it.
fn is_handed_back(done: &InvokeDone) -> bool {
    let rejected = |failure: &Failure| failure.kind == FailureKind::Rejected;
    let leaves = |failure: &Failure| failure.error_type == WORKER_LEAVING;
    let failure = done.outcome.as_ref().err();
    failure.is_some_and(|failure| rejected(failure) && leaves(failure))
}

/// Nobody waits any more.
pub(crate) fn abandon(t: &mut Tables, out: &mut Out, id: InvokeId) {
    match forget(t, id) {
        Some(entry) => recall(t, out, id, &entry),
        None => step::ignore(out, Ignored::UnknownInvoke),
    }
}

/// Gives up those whose time has passed, and tries what nobody could run on the
/// workers that have come since.
pub(crate) fn advance(t: &mut Tables, out: &mut Out) {
    while let Some(id) = t.alarms.invokes.pop_due(t.clock.engine_ms()) {
        expire(t, out, id);
    }
    let newcomers = t.invokes.take_newcomers();
    let newcomers = newcomers.iter().filter_map(|id| t.demands.ability(*id));
    let newcomers: Vec<_> = newcomers.collect();
    if newcomers.is_empty() {
        return;
    }
    let mut runnable = Vec::new();
    for (id, entry) in t.invokes.waiting() {
        let demand = route::demand_of(t, &entry.target, entry.version);
        if newcomers.iter().any(|able| demand.is_met(able)) {
            runnable.push(id);
        }
    }
    for id in runnable {
        place(t, out, id);
    }
}

fn expire(t: &mut Tables, out: &mut Out, id: InvokeId) {
    let Some(entry) = forget(t, id) else { return };
    recall(t, out, id, &entry);
    let (target, timeout_ms) = (entry.target.display(), entry.timeout_ms);
    let worker = entry.worker.and_then(|worker| t.roster.find(worker));
    let refusal = match worker {
        Some(worker) => Refusal::InvokeTimeout {
            target,
            timeout_ms,
            worker: worker.name.clone(),
        },
        None => Refusal::NoAbleWorker {
            target,
            timeout_ms,
            missing: missing(t, &entry),
        },
    };
    step::refuse(out, entry.reply, refusal);
}

/// Why nobody ran it.
fn missing(t: &Tables, entry: &InvokeEntry) -> String {
    let demand = route::demand_of(t, &entry.target, entry.version);
    if t.demands.abilities().any(|(_, able)| demand.is_met(able)) {
        return "one that can came too late".to_owned();
    }
    demand.lacked_by(t.demands.abilities().count())
}

fn forget(t: &mut Tables, id: InvokeId) -> Option<InvokeEntry> {
    t.alarms.invokes.set(id, None);
    let entry = t.invokes.remove(id)?;
    if let Some(version) = entry.version {
        t.release(version);
    }
    Some(entry)
}

/// Tells the worker that has it.
fn recall(t: &Tables, out: &mut Out, id: InvokeId, entry: &InvokeEntry) {
    let worker = entry.worker.and_then(|worker| t.roster.find(worker));
    if let Some(session) = worker.and_then(|worker| worker.session) {
        let message = ToWorker::InvokeCancel(id);
        out.push(Command::Send { session, message });
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Env;
    use super::*;
    use crate::event::Event;
    use crate::message::FromWorker;

    fn invoke(env: &mut Env, number: u64) -> ReplyId {
        let reply = ReplyId(number);
        env.turn([Event::Invoke {
            reply,
            id: InvokeId(number),
            target: Target::Function("umbel.echo".to_owned()),
            input: Bytes::from_static(b"hello"),
            timeout_ms: 2_000,
            decided: None,
        }]);
        reply
    }

    #[test]
    fn an_invoke_goes_at_once_to_the_worker_that_holds_the_least() {
        let mut env = Env::new();
        env.worker("a", 1);
        env.submit_range(1);
        env.worker("b", 1);
        let reply = invoke(&mut env, 900);
        let placed = env.workers["b"].invokes.len();
        assert_eq!(placed, 1, "although every slot of a is taken");
        let done = InvokeDone {
            id: InvokeId(900),
            outcome: Ok(Bytes::from_static(b"hello")),
            duration_us: 7,
            cpu_us: None,
            cold_start: None,
        };
        env.say("b", FromWorker::InvokeDone(done.clone()));
        let Some(Reply::Invoked { worker, .. }) = env.answer(reply) else {
            panic!("it is answered");
        };
        assert_eq!(worker, "b");
        env.say("b", FromWorker::InvokeDone(done));
        assert_eq!(env.ignored, [Ignored::UnknownInvoke]);
    }

    #[test]
    fn without_a_worker_it_waits_for_one_and_gives_up_when_its_time_has_passed() {
        let mut env = Env::new();
        let early = invoke(&mut env, 900);
        env.worker("a", 1);
        assert_eq!(env.workers["a"].invokes.len(), 1);
        env.advance(2_500);
        let timed_out = Reply::Refused(Refusal::InvokeTimeout {
            target: "umbel.echo".to_owned(),
            timeout_ms: 2_000,
            worker: "a".to_owned(),
        });
        assert_eq!(env.answer(early), Some(timed_out));
        assert_eq!(env.workers["a"].invokes, [], "the worker is told");
    }

    #[test]
    fn what_nobody_could_run_says_what_the_workers_lack() {
        let mut env = Env::new();
        let lacking = |env: &mut Env, number| {
            let reply = invoke(env, number);
            env.advance(2_500);
            match env.answer(reply) {
                Some(Reply::Refused(Refusal::NoAbleWorker { missing, .. })) => missing,
                other => panic!("not refused for want of a worker: {other:?}"),
            }
        };
        assert_eq!(lacking(&mut env, 900), "no worker takes work now");
        env.worker_with("a", 1, |worker| worker.functions.clear());
        let only = "the only worker does not have function \"umbel.echo\"";
        assert_eq!(lacking(&mut env, 901), only);
        env.worker_with("b", 1, |worker| worker.functions.clear());
        let none = "none of the 2 workers has function \"umbel.echo\"";
        assert_eq!(lacking(&mut env, 902), none);
    }

    #[test]
    fn what_waits_goes_to_the_first_newcomer_that_can_run_it() {
        let mut env = Env::new();
        invoke(&mut env, 900);
        env.worker_with("a", 1, |worker| worker.functions.clear());
        assert_eq!(env.workers["a"].invokes, []);
        env.worker("b", 1);
        assert_eq!(env.workers["b"].invokes.len(), 1);
    }

    #[test]
    fn a_lost_worker_takes_its_invokes_along() {
        let mut env = Env::new();
        env.worker("a", 1);
        let reply = invoke(&mut env, 900);
        env.kill("a");
        let worker = "a".to_owned();
        let lost = Reply::Refused(Refusal::InvokeLost { worker });
        assert_eq!(env.answer(reply), Some(lost));
    }

    #[test]
    fn a_worker_that_returns_in_time_has_dropped_its_invokes() {
        let mut env = Env::new();
        env.worker("a", 1);
        let reply = invoke(&mut env, 900);
        env.cut("a");
        assert_eq!(env.answer(reply), None, "it may have taken the worker down");
        env.connect("a");
        let worker = "a".to_owned();
        let lost = Reply::Refused(Refusal::InvokeLost { worker });
        assert_eq!(env.answer(reply), Some(lost));
        let again = invoke(&mut env, 901);
        env.connect("a");
        assert!(
            env.answer(again).is_some(),
            "nor does a newer session have it"
        );
    }

    #[test]
    fn what_a_leaving_worker_has_not_begun_goes_to_another() {
        let mut env = Env::new();
        env.worker("a", 1);
        let reply = invoke(&mut env, 900);
        env.worker("b", 1);
        let done = InvokeDone {
            id: InvokeId(900),
            outcome: Err(Failure {
                kind: FailureKind::Rejected,
                error_type: WORKER_LEAVING.to_owned(),
                message: "it leaves".to_owned(),
                stderr: String::new(),
            }),
            duration_us: 0,
            cpu_us: None,
            cold_start: None,
        };
        env.say("a", FromWorker::InvokeDone(done.clone()));
        assert_eq!(env.workers["b"].invokes.len(), 1);
        env.say("b", FromWorker::InvokeDone(done));
        assert_eq!(env.answer(reply), None, "it waits for a third");
        env.advance(2_500);
        assert!(matches!(
            env.answer(reply),
            Some(Reply::Refused(Refusal::NoAbleWorker { .. }))
        ));
    }

    #[test]
    fn an_abandoned_invoke_is_recalled() {
        let mut env = Env::new();
        env.worker("a", 1);
        invoke(&mut env, 900);
        env.turn([Event::InvokeAbandoned(InvokeId(900))]);
        assert_eq!(env.workers["a"].invokes, []);
    }
}
