//! What several turns need. A step knows no event and is never told who asked.

pub(crate) mod alias;
pub(crate) mod arm;
pub(crate) mod arms;
pub(crate) mod end;
pub(crate) mod forget;
pub(crate) mod lease;
pub(crate) mod lose;
pub(crate) mod part;
pub(crate) mod reclaim;
pub(crate) mod record;
pub(crate) mod refresh;
pub(crate) mod rollout;
pub(crate) mod route;
pub(crate) mod runs;
pub(crate) mod warmth;

use crate::command::{Command, Ignored, Refusal, Reply};
use crate::id::{JobId, ReplyId};
use crate::tables::Tables;
use crate::tables::demands::Demand;
use crate::tables::job::{Job, Running};
use crate::view::JobView;

/// What a turn asks for.
pub(crate) type Out = Vec<Command>;

/// Answers a client.
pub(crate) fn reply(out: &mut Out, to: ReplyId, reply: Reply) {
    out.push(Command::Reply { to, reply });
}

/// Answers a client with a refusal.
pub(crate) fn refuse(out: &mut Out, to: ReplyId, refusal: Refusal) {
    reply(out, to, Reply::Refused(refusal));
}

/// Counts a message that had no effect.
pub(crate) fn ignore(out: &mut Out, why: Ignored) {
    out.push(Command::Ignored(why));
}

/// The refusal for a job that is not there.
pub(crate) fn unknown(job: JobId) -> Refusal {
    Refusal::UnknownJob {
        job: job.to_string(),
    }
}

/// What is worth a person's notice about a job that begins to run.
pub(crate) fn warnings(t: &Tables, job: &Job, running: &Running) -> Vec<String> {
    let mut warnings = Vec::new();
    if t.demands.able_len(running.group).0 == 0 {
        let demand = t.demands.demand(running.group);
        let needs = demand.map_or_else(String::new, Demand::in_words);
        warnings.push(format!(
            "no worker that takes work now has what the job needs ({needs}); it waits for one"
        ));
    }
    if let Some(enough) = job.record.spec.policy.enough
        && let Some(total) = job.status.sealed
        && enough > u64::from(total)
    {
        warnings.push(format!(
            "{enough} successes are asked for and the job has {total} inputs, so it will fail"
        ));
    }
    warnings
}

/// A job as it is shown.
pub(crate) fn job_view(t: &Tables, id: JobId) -> Option<JobView> {
    let job = t.jobs.find(id)?;
    let summary = job.summary(t.leases.of_job(id).open);
    Some(JobView {
        record: job.record.clone(),
        status: job.status.clone(),
        counts: summary.counts,
        usage: summary.usage,
        version: route::number(t, route::pinned(job)),
    })
}

/// Answers a client with a job.
pub(crate) fn reply_job(t: &Tables, out: &mut Out, to: ReplyId, id: JobId) {
    match job_view(t, id) {
        Some(view) => reply(out, to, Reply::Job(Box::new(view))),
        None => refuse(out, to, unknown(id)),
    }
}
