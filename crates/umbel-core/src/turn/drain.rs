//! A worker takes nothing new, finishes and leaves.

use super::step::{self, Out, part};
use crate::command::{Command, Refusal, Reply};
use crate::id::{ReplyId, WorkerId};
use crate::message::ToWorker;
use crate::tables::Tables;

/// Somebody asks a worker to leave.
pub(crate) fn drain(t: &mut Tables, out: &mut Out, to: ReplyId, name: String) {
    let Some(id) = t.roster.by_name(&name) else {
        return step::refuse(out, to, Refusal::UnknownWorker { name });
    };
    leaving(t, id);
    let session = t.roster.find(id).and_then(|worker| worker.session);
    if let Some(session) = session {
        let message = ToWorker::Drain;
        out.push(Command::Send { session, message });
    }
    step::reply(out, to, Reply::Done);
}

/// A worker says that it leaves.
pub(crate) fn leaving(t: &mut Tables, id: WorkerId) {
    t.roster.drain(id);
    part::stop_feeding(t, id);
}

#[cfg(test)]
mod tests {
    use super::super::testing::Env;
    use super::*;
    use crate::event::Event;
    use crate::view::WorkerState;

    #[test]
    fn a_drained_worker_finishes_and_its_name_is_free_at_once() {
        let mut env = Env::new();
        env.worker("a", 2);
        env.submit_range(10);
        let worker = || "a".to_owned();
        env.ask(|reply| Event::Drain {
            reply,
            worker: worker(),
        });
        assert!(env.workers["a"].drains);
        let state = env.machine.workers("", 10)[0].state;
        assert_eq!(state, WorkerState::Draining);
        env.report_all("a");
        assert_eq!(env.open_len("a"), 0, "it gets nothing new");
        env.cut("a");
        assert_eq!(env.machine.workers("", 10), []);
        let unknown = env.refused(|reply| Event::Drain {
            reply,
            worker: worker(),
        });
        assert_eq!(unknown, Refusal::UnknownWorker { name: worker() });
    }

    #[test]
    fn a_draining_worker_that_returns_is_told_again() {
        let mut env = Env::new();
        env.worker("a", 2);
        env.submit_range(10);
        env.ask(|reply| Event::Drain {
            reply,
            worker: "a".to_owned(),
        });
        env.cut("a");
        env.workers.get_mut("a").unwrap().drains = false;
        env.connect("a");
        assert!(env.workers["a"].drains);
        assert_eq!(env.open_len("a"), 2, "it keeps what it holds");
    }
}
