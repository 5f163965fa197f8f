//! A job is asked for.

use std::sync::Arc;

use super::shadow;
use super::step::{self, Out, end, route};
use crate::change::{Change, JobRecord, JobStatus};
use crate::command::{Command, Refusal, Reply};
use crate::event::Proposal;
use crate::id::{JobId, ReplyId};
use crate::job::Source;
use crate::limit;
use crate::tables::Tables;
use crate::tables::job::{Job, Running, first_status};

pub(crate) fn create(t: &mut Tables, out: &mut Out, to: ReplyId, proposal: Proposal) {
    if let Some(existing) = t.jobs.by_request(&proposal.request_id) {
        let (record, id) = (&existing.record, existing.id());
        if record.content_digest == proposal.content_digest {
            return created(t, out, to, id, true);
        }
        let refusal = Refusal::RequestIdReused {
            request_id: proposal.request_id,
            job: id,
        };
        return step::refuse(out, to, refusal);
    }
    if let Some(kept) = t.requests.find(&proposal.request_id) {
        let refusal = Refusal::RequestIdSpent {
            request_id: proposal.request_id,
            job: kept.job,
        };
        return step::refuse(out, to, refusal);
    }
    if let Err(refusal) = judge(t, &proposal) {
        return step::refuse(out, to, refusal);
    }
    let id = proposal.id;
    accept(t, out, proposal);
    shadow::begin(t, out, id);
    end::settle(t, out, id);
    created(t, out, to, id, false);
}

fn created(t: &Tables, out: &mut Out, to: ReplyId, id: JobId, existed: bool) {
    let Some(view) = step::job_view(t, id) else {
        return;
    };
    let warnings = if existed { Vec::new() } else { warnings(t, id) };
    let reply = Reply::Created {
        job: Box::new(view),
        existed,
        warnings,
    };
    step::reply(out, to, reply);
}

fn judge(t: &Tables, proposal: &Proposal) -> Result<(), Refusal> {
    if let Some(taken) = t.jobs.find(proposal.id) {
        return Err(Refusal::RequestIdReused {
            request_id: proposal.request_id.clone(),
            job: taken.id(),
        });
    }
    if let Some(refusal) = &proposal.refusal {
        return Err(refusal.clone());
    }
    route::known(t, &proposal.spec.target)?;
    let count = match proposal.source {
        Source::Range { count, .. } => u64::from(count),
        Source::Blocks => proposal.blocks.iter().map(|b| u64::from(b.count)).sum(),
    };
    let limit = u64::from(limit::JOB_INPUTS_MAX);
    if count > limit {
        return Err(Refusal::TooManyInputs { count, limit });
    }
    let mut next_index = 0;
    for block in &proposal.blocks {
        if block.first != next_index || block.count == 0 {
            return Err(Refusal::AppendGap {
                job: proposal.id,
                next_index,
                first_index: block.first,
            });
        }
        next_index += block.count;
    }
    let jobs_max = t.config.jobs_max;
    if t.jobs.len() + t.requests.len() >= jobs_max {
        return Err(Refusal::TooManyJobs {
            limit: jobs_max as u64,
        });
    }
    Ok(())
}

fn accept(t: &mut Tables, out: &mut Out, proposal: Proposal) {
    let id = proposal.id;
    let next_index = match proposal.source {
        Source::Range { count, .. } => count,
        Source::Blocks => proposal.blocks.iter().map(|block| block.count).sum(),
    };
    let mut status: JobStatus = first_status(proposal.source);
    if proposal.seal {
        status.sealed = Some(next_index);
    }
    let target = &proposal.spec.target;
    let record = Arc::new(JobRecord {
        id,
        version: route::pin(t, target, &proposal.spec.policy),
        routing: route::pin_routing(t, target, &proposal.spec.policy),
        spec: proposal.spec,
        source: proposal.source,
        request_id: proposal.request_id,
        content_digest: proposal.content_digest,
        created_ms: t.clock.wall_ms(),
        shadow_of: None,
    });
    let mut running = Running::joining(&mut t.demands, &record, t.clock.engine_ms());
    running.pace = t.paces.guess(&record.spec.target);
    running.next_index = next_index;
    out.push(Command::Persist(Change::JobCreated(record.clone())));
    let change = Change::JobStatus {
        job: id,
        status: status.clone(),
    };
    out.push(Command::Persist(change));
    for block in &proposal.blocks {
        let (job, block) = (id, *block);
        out.push(Command::Persist(Change::Appended { job, block }));
    }
    running.blocks = proposal.blocks;
    t.jobs.insert(Job {
        record,
        status,
        running: Some(Box::new(running)),
    });
    // Who can run a published function follows from what it means now.
    route::regroup(t, id);
    t.show(id);
}

fn warnings(t: &Tables, id: JobId) -> Vec<String> {
    let Some(job) = t.jobs.find(id) else {
        return Vec::new();
    };
    let Some(running) = &job.running else {
        return vec!["the job has no inputs, so it has succeeded".to_owned()];
    };
    step::warnings(t, job, running)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Env, spec};
    use super::*;
    use crate::event::Event;
    use crate::job::JobState;

    fn proposal(id: u8, request_id: &str, digest: u8) -> Box<Proposal> {
        Box::new(Proposal {
            id: JobId([id; 16]),
            spec: spec("umbel.echo"),
            source: Source::Range { begin: 5, count: 3 },
            blocks: Vec::new(),
            seal: true,
            request_id: request_id.to_owned(),
            content_digest: [digest; 32],
            refusal: None,
        })
    }

    fn create(env: &mut Env, proposal: Box<Proposal>) -> Reply {
        env.ask(|reply| Event::CreateJob { reply, proposal })
    }

    #[test]
    fn a_request_id_makes_one_job() {
        let mut env = Env::new();
        create(&mut env, proposal(1, "once", 9));
        let Reply::Created { job, existed, .. } = create(&mut env, proposal(2, "once", 9)) else {
            panic!("a repeat is answered like the first");
        };
        assert!(existed);
        assert_eq!(job.record.id, JobId([1; 16]));
        assert_eq!(
            create(&mut env, proposal(3, "once", 8)),
            Reply::Refused(Refusal::RequestIdReused {
                request_id: "once".to_owned(),
                job: JobId([1; 16]),
            })
        );
        env.restart();
        let Reply::Created { existed, .. } = create(&mut env, proposal(4, "once", 9)) else {
            panic!("a repeat is known after a restart");
        };
        assert!(existed);
    }

    #[test]
    fn a_full_store_refuses_a_new_job_and_answers_a_repeat() {
        let mut env = Env::new();
        create(&mut env, proposal(1, "once", 9));
        let refusal = Refusal::StoreFull {
            data_dir: "/data".to_owned(),
            option: "store_bytes_max",
            problem: "it is full".to_owned(),
            way_out: "raise it",
            bytes: 10,
            limit: 9,
        };
        let full = |id, request_id: &str| {
            let mut proposal = proposal(id, request_id, 9);
            proposal.refusal = Some(refusal.clone());
            proposal
        };
        let refused = create(&mut env, full(2, "other"));
        assert_eq!(refused, Reply::Refused(refusal.clone()));
        let repeat = create(&mut env, full(3, "once"));
        assert!(matches!(repeat, Reply::Created { existed: true, .. }));
    }

    #[test]
    fn an_unknown_function_is_refused_with_its_neighbours() {
        let mut env = Env::new();
        let mut wrong = proposal(1, "", 0);
        wrong.spec = spec("umbel.ecko");
        assert_eq!(
            create(&mut env, wrong),
            Reply::Refused(Refusal::UnknownFunction {
                name: "umbel.ecko".to_owned(),
                deleted: false,
                nearest: vec!["umbel.echo".to_owned()],
            })
        );
    }

    #[test]
    fn a_function_that_was_once_announced_is_accepted_with_a_warning() {
        let mut env = Env::new();
        env.worker_with("a", 1, |worker| worker.functions.push("resize".to_owned()));
        env.kill("a");
        env.restart();
        let mut known = proposal(1, "", 0);
        known.spec = spec("resize");
        let Reply::Created { warnings, .. } = create(&mut env, known) else {
            panic!("it is accepted");
        };
        assert!(warnings[0].contains("resize"), "{warnings:?}");
    }

    #[test]
    fn a_job_of_no_inputs_has_succeeded() {
        let mut env = Env::new();
        let job = env.submit_range(0);
        assert_eq!(env.state(job), JobState::Succeeded);
        assert_eq!(env.machine.find_job("last"), Ok(job));
    }
}
