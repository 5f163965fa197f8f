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
