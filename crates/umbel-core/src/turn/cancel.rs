//! A user ends a job, or forgets one.

use super::step::{self, Out, end};
use crate::change::Change;
use crate::command::{Command, Refusal, Reply};
use crate::id::{JobId, ReplyId};
use crate::job::JobState;
use crate::tables::Tables;

pub(crate) fn cancel(t: &mut Tables, out: &mut Out, to: ReplyId, id: JobId) {
    let Some(job) = t.jobs.find(id) else {
        return step::refuse(out, to, step::unknown(id));
    };
    match job.status.state {
        JobState::Running => end::end(t, out, id, JobState::Cancelled, None),
        // Said twice is said once.
        JobState::Cancelled => {}
        state @ (JobState::Succeeded | JobState::Failed) => {
            return step::refuse(out, to, Refusal::JobFinished { job: id, state });
        }
    }
    step::reply_job(t, out, to, id);
}

pub(crate) fn delete(t: &mut Tables, out: &mut Out, to: ReplyId, id: JobId) {
    let Some(job) = t.jobs.find(id) else {
        return step::refuse(out, to, step::unknown(id));
    };
    if job.running.is_some() {
        return step::refuse(out, to, Refusal::JobRunning { job: id });
    }
    t.jobs.remove(id);
    out.push(Command::Persist(Change::JobDeleted(id)));
    t.marks.shown.insert(id);
    step::reply(out, to, Reply::Done);
}
