//! Inputs arrive, until somebody says that these are all.

use super::step::{self, Out, end};
use crate::change::Change;
use crate::command::{Command, Refusal, Reply};
use crate::id::{Appender, JobId, ReplyId};
use crate::job::BlockRef;
use crate::limit;
use crate::tables::Tables;
use crate::tables::job::{Job, Running};

/// A job that takes inputs, or why it takes none.
fn open(job: Option<&mut Job>, id: JobId) -> Result<&mut Running, Refusal> {
    let job = job.ok_or_else(|| step::unknown(id))?;
    let state = job.status.state;
    let sealed = job.status.sealed;
    let running = job.running.as_mut();
    let running = running.ok_or(Refusal::JobFinished { job: id, state })?;
    match sealed {
        Some(total) => Err(Refusal::JobSealed { job: id, total }),
        None => Ok(running),
    }
}

pub(crate) fn open_append(t: &mut Tables, out: &mut Out, to: ReplyId, id: JobId) {
    let engine_ms = t.clock.engine_ms();
    let reply = match open(t.jobs.find_mut(id), id) {
        Ok(running) => {
            running.appender = Appender(running.appender.0.saturating_add(1));
            running.appended_ms = engine_ms;
            Reply::AppendOpened {
                appender: running.appender,
                next_index: running.next_index,
            }
        }
        Err(refusal) => Reply::Refused(refusal),
    };
    t.touch(id);
    step::reply(out, to, reply);
}

pub(crate) fn append(t: &mut Tables, out: &mut Out, to: ReplyId, id: JobId, block: BlockRef) {
    let engine_ms = t.clock.engine_ms();
    let taken = open(t.jobs.find_mut(id), id).and_then(|running| {
        let took = take(running, id, block)?;
        running.appended_ms = engine_ms;
        Ok((took, running.next_index))
    });
    match taken {
        Ok((took, next_index)) => {
            if took {
                out.push(Command::Persist(Change::Appended { job: id, block }));
                t.show(id);
            }
            step::reply(out, to, Reply::Appended { next_index });
        }
        Err(refusal) => step::refuse(out, to, refusal),
    }
}

/// Takes a block; tells whether it was new.
fn take(running: &mut Running, job: JobId, block: BlockRef) -> Result<bool, Refusal> {
    if block.appender != running.appender {
        return Err(Refusal::AppendSuperseded { job });
    }
    let next_index = running.next_index;
    let end = u64::from(block.first) + u64::from(block.count);
    if end <= u64::from(next_index) {
        return Ok(false);
    }
    if block.first != next_index {
        return Err(Refusal::AppendGap {
            job,
            next_index,
            first_index: block.first,
        });
    }
    let limit = u64::from(limit::JOB_INPUTS_MAX);
    if end > limit {
        return Err(Refusal::TooManyInputs { count: end, limit });
    }
    running.next_index += block.count;
    running.blocks.push(block);
    Ok(true)
}

pub(crate) fn seal(t: &mut Tables, out: &mut Out, to: ReplyId, id: JobId, total: u64) {
    let Some(job) = t.jobs.find_mut(id) else {
        return step::refuse(out, to, step::unknown(id));
    };
    if let Some(sealed) = job.status.sealed {
        if u64::from(sealed) == total {
            return step::reply_job(t, out, to, id);
        }
        let total = sealed;
        return step::refuse(out, to, Refusal::JobSealed { job: id, total });
    }
    let Some(running) = &job.running else {
        let state = job.status.state;
        return step::refuse(out, to, Refusal::JobFinished { job: id, state });
    };
    let next_index = running.next_index;
    if u64::from(next_index) != total {
        let refusal = Refusal::SealMismatch {
            job: id,
            next_index,
            total,
        };
        return step::refuse(out, to, refusal);
    }
    job.status.sealed = Some(next_index);
    let status = job.status.clone();
    out.push(Command::Persist(Change::JobStatus { job: id, status }));
    t.show(id);
    end::settle(t, out, id);
    step::reply_job(t, out, to, id);
}

#[cfg(test)]
mod tests {
    use super::super::testing::Env;
    use super::*;
    use crate::config::Config;
    use crate::event::Event;
    use crate::job::{JobState, StartMode};

    fn open_append(env: &mut Env, job: JobId) -> Appender {
        match env.ask(|reply| Event::OpenAppend { reply, job }) {
            Reply::AppendOpened { appender, .. } => appender,
            other => panic!("not opened: {other:?}"),
        }
    }

    fn append(env: &mut Env, job: JobId, appender: Appender, first: u32, count: u32) -> Reply {
        let block = BlockRef {
            first,
            count,
            bytes: count,
            appender,
        };
        env.ask(|reply| Event::Append { reply, job, block })
    }

    fn seal(env: &mut Env, job: JobId, total: u64) -> Reply {
        env.ask(|reply| Event::Seal { reply, job, total })
    }

    #[test]
    fn inputs_are_taken_in_order_and_once() {
        let mut env = Env::new();
        let job = env.submit_open(StartMode::AsSealed);
        let appender = open_append(&mut env, job);
        let appended = |next_index| Reply::Appended { next_index };
        assert_eq!(append(&mut env, job, appender, 0, 10), appended(10));
        assert_eq!(append(&mut env, job, appender, 0, 10), appended(10));
        let gap = |first_index| {
            Reply::Refused(Refusal::AppendGap {
                job,
                next_index: 10,
                first_index,
            })
        };
        assert_eq!(append(&mut env, job, appender, 5, 10), gap(5));
        assert_eq!(append(&mut env, job, appender, 11, 10), gap(11));
        let newer = open_append(&mut env, job);
        assert_eq!(
            append(&mut env, job, appender, 10, 1),
            Reply::Refused(Refusal::AppendSuperseded { job })
        );
        env.restart();
        let newest = open_append(&mut env, job);
        assert!(newest > appender, "accepted blocks are not staged over");
        assert_ne!(newer, appender);
        assert_eq!(append(&mut env, job, newest, 10, 1), appended(11));
    }

    #[test]
    fn a_seal_names_the_total_and_may_be_repeated() {
        let mut env = Env::new();
        let job = env.submit_open(StartMode::AsSealed);
        let appender = open_append(&mut env, job);
        append(&mut env, job, appender, 0, 10);
        let mismatch = Refusal::SealMismatch {
            job,
            next_index: 10,
            total: 11,
        };
        assert_eq!(seal(&mut env, job, 11), Reply::Refused(mismatch));
        assert!(matches!(seal(&mut env, job, 10), Reply::Job(_)));
        assert!(matches!(seal(&mut env, job, 10), Reply::Job(_)));
        let sealed = Refusal::JobSealed { job, total: 10 };
        assert_eq!(seal(&mut env, job, 9), Reply::Refused(sealed.clone()));
        let late = append(&mut env, job, appender, 10, 1);
        assert_eq!(late, Reply::Refused(sealed));
    }

    #[test]
    fn nothing_runs_before_the_seal_unless_the_job_says_so() {
        let mut env = Env::new();
        env.worker("a", 4);
        let later = env.submit_open(StartMode::AsSealed);
        let appender = open_append(&mut env, later);
        append(&mut env, later, appender, 0, 10);
        assert_eq!(env.counts(later).leased, 0);
        assert_eq!(env.counts(later).waiting, 10);
        seal(&mut env, later, 10);
        assert_eq!(env.counts(later).leased, 4);
        env.work_off();
        let now = env.submit_open(StartMode::AsAppended);
        let appender = open_append(&mut env, now);
        append(&mut env, now, appender, 0, 10);
        env.work_off();
        assert_eq!(env.counts(now).succeeded, 10);
        assert_eq!(env.state(now), JobState::Running, "more may come");
        seal(&mut env, now, 10);
        assert_eq!(env.state(now), JobState::Succeeded);
    }

    #[test]
    fn an_upload_that_goes_quiet_is_cancelled() {
        let mut env = Env::new();
        let job = env.submit_open(StartMode::AsSealed);
        let idle_ms = Config::default().upload_idle_timeout_ms;
        env.advance(idle_ms - 1_000);
        open_append(&mut env, job);
        env.advance(idle_ms - 1_000);
        assert_eq!(env.state(job), JobState::Running);
        env.advance(1_000);
        assert_eq!(env.state(job), JobState::Cancelled);
    }
}
