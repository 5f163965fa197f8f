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
