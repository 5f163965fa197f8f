//! A user ends a job, or forgets one.

use super::step::{self, Out, end, forget};
use crate::command::{Refusal, Reply};
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
    forget::forget(t, out, id);
    step::reply(out, to, Reply::Done);
}

#[cfg(test)]
mod tests {
    use super::super::testing::Env;
    use super::*;
    use crate::command::Ignored;
    use crate::event::Event;

    #[test]
    fn a_cancel_ends_what_waits_and_what_is_leased() {
        let mut env = Env::new();
        env.worker("a", 4);
        let job = env.submit_range(10);
        let (lease, indices) = env.open("a").remove(0);
        env.ask(|reply| Event::Cancel { reply, job });
        assert_eq!(env.state(job), JobState::Cancelled);
        assert_eq!(env.counts(job).cancelled, 10);
        assert_eq!(env.open_len("a"), 0, "its lease is revoked");
        env.report("a", lease, (indices, Vec::new()), 10);
        assert_eq!(
            env.ignored,
            [Ignored::StaleLease],
            "late reports are ignored"
        );
        let again = env.ask(|reply| Event::Cancel { reply, job });
        assert!(matches!(again, Reply::Job(_)), "said twice is said once");
    }

    #[test]
    fn only_ended_jobs_are_forgotten() {
        let mut env = Env::new();
        let job = env.submit_range(10);
        let delete = |reply| Event::Delete { reply, job };
        assert_eq!(env.refused(delete), Refusal::JobRunning { job });
        env.ask(|reply| Event::Cancel { reply, job });
        assert_eq!(env.ask(delete), Reply::Done);
        assert_eq!(env.refused(delete), step::unknown(job));
        assert!(env.machine.job_view(job).is_none());
    }
}
