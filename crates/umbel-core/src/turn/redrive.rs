//! An ended job runs again, for some of what failed or was not run.
//!
//! Of an ended job the machine keeps figures only. So the shell reads the job's records and
//! hands in what they say, and the redrive counts only if the job is still what was read.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::step::{self, Out, end, record, route};
use crate::change::{Change, Record, WaitingRecord};
use crate::command::{Command, Note, Refusal, Reply};
use crate::function::{Qualifier, VersionId};
use crate::history::History;
use crate::id::{Index, JobId, ReplyId};
use crate::index_set::IndexSet;
use crate::job::{JobState, Target};
use crate::limit;
use crate::ranges::Ranges;
use crate::redrive::{Ran, Redrive, Redriven, Standing};
use crate::route::{ArmId, Routing};
use crate::tables::Tables;
use crate::tables::backlog::Backlog;
use crate::tables::demands::Demand;
use crate::tables::job::{Job, Running};

/// What runs again, by the version that it keeps, and the arm; none: what its job means then.
type Chosen = BTreeMap<Option<(VersionId, Option<ArmId>)>, Ranges>;

pub(crate) fn redrive(t: &mut Tables, out: &mut Out, to: ReplyId, id: JobId, wish: Redrive) {
    match repeated(t, id, &wish) {
        Ok(None) => {}
        Ok(Some(invocations)) => return redriven(t, out, to, id, (invocations, true)),
        Err(refusal) => return step::refuse(out, to, refusal),
    }
    let chosen = match judge(t, id, &wish) {
        Ok(chosen) => chosen,
        Err(refusal) => return step::refuse(out, to, refusal),
    };
    let invocations = chosen.values().map(Ranges::len).sum();
    if wish.target.is_some() {
        let left = t.jobs.find(id).and_then(|job| job.target().function());
        t.marks.spent.extend(left.map(str::to_owned));
    }
    begin(t, out, id, wish, &chosen);
    redriven(t, out, to, id, (invocations, false));
    end::settle(t, out, id);
}

/// How many invocations this request has made run already, if it has.
fn repeated(t: &Tables, id: JobId, wish: &Redrive) -> Result<Option<u64>, Refusal> {
    let job = t.jobs.find(id).ok_or_else(|| step::unknown(id))?;
    let Some(latest) = &job.status.redriven else {
        return Ok(None);
    };
    if wish.request_id.is_empty() || latest.request_id != wish.request_id {
        return Ok(None);
    }
    if latest.content_digest == wish.content_digest {
        return Ok(Some(latest.invocations));
    }
    Err(Refusal::RequestIdReused {
        request_id: wish.request_id.clone(),
        job: id,
    })
}

/// What runs again, or why nothing does.
fn judge(t: &Tables, id: JobId, wish: &Redrive) -> Result<Chosen, Refusal> {
    let job = t.jobs.find(id).ok_or_else(|| step::unknown(id))?;
    match job.status.state {
        JobState::Running => return Err(Refusal::JobRunning { job: id }),
        // What an arm did well may be wanted anew from another one.
        state @ JobState::Succeeded if wish.filter.arm.is_none() => {
            return Err(Refusal::NotRedrivable { job: id, state });
        }
        JobState::Succeeded | JobState::Failed | JobState::Cancelled => {}
    }
    if let Some(refusal) = &wish.refusal {
        return Err(refusal.clone());
    }
    if !is_as_read(job, &wish.standing) {
        return Err(Refusal::JobChanged { job: id });
    }
    let limit = t.config.redrives_max;
    if job.status.redrives >= limit {
        return Err(Refusal::TooManyRedrives { job: id, limit });
    }
    route::known(t, wish.target.as_ref().unwrap_or_else(|| job.target()))?;
    if wish.target.is_none() && is_stranded(t, job) {
        return Err(Refusal::PinnedVersionGone {
            job: id,
            function: job.target().function().unwrap_or_default().to_owned(),
        });
    }
    let chosen = wish.filter.choose(&wish.standing);
    if chosen.is_empty() {
        return Err(Refusal::NothingToRedrive {
            job: id,
            failed: wish.standing.failed.len(),
            cancelled: wish.standing.cancelled.len(),
        });
    }
    let chosen = by_version(t, job, wish, chosen);
    let runs: usize = chosen.values().map(Ranges::run_count).sum();
    if runs > t.config.redrive_runs_max {
        return Err(Refusal::RedriveTooLarge {
            job: id,
            runs: runs as u64,
            limit: t.config.redrive_runs_max as u64,
        });
    }
    Ok(chosen)
}

/// Whether a job may run one version only, and that takes no jobs any more.
fn is_stranded(t: &Tables, job: &Job) -> bool {
    let pinned = route::pinned(job).filter(|_| job.record.spec.policy.pin);
    let Some(pinned) = pinned else { return false };
    let routing = route::routing(t, job);
    let led = routing.into_iter().flat_map(|routing| routing.versions());
    led.chain([pinned]).any(|id| !t.functions.takes_jobs(id))
}

/// What was chosen, by the version that it keeps from its last run.
fn by_version(t: &Tables, job: &Job, wish: &Redrive, chosen: Ranges) -> Chosen {
    let mut rest = chosen;
    let mut by_version = Chosen::new();
    for (ran, indices) in &wish.standing.ran {
        let Some(keeps) = kept(t, job, wish, ran) else {
            continue;
        };
        let keep = indices.intersect(&rest);
        if keep.is_empty() {
            continue;
        }
        rest = rest.minus(&keep);
        let kept = by_version.entry(Some(keeps)).or_default();
        *kept = kept.union(&keep);
    }
    if !rest.is_empty() {
        by_version.insert(None, rest);
    }
    by_version
}

/// The version and the arm that an invocation keeps, unless a redrive has named another target
/// since, or the version takes no jobs any more.
fn kept(t: &Tables, job: &Job, wish: &Redrive, ran: &Ran) -> Option<(VersionId, Option<ArmId>)> {
    // What ended on an arm that is named is to end where the route sends it now.
    if wish.target.is_some() || wish.filter.arm.is_some() {
        return None;
    }
    let (version, arm) = match ran {
        Ran::Ended(function, number, arm) => (t.functions.numbered(function, *number)?, *arm),
        Ran::Waited(id, arm) => (t.functions.version(*id)?, *arm),
    };
    // A route may have sent it to another function than the one that was asked for.
    let owner = arm.and_then(|arm| t.functions.arm(arm));
    let asked = owner.map_or(&version.function, |owner| &owner.function);
    let latest = job.status.redriven.as_ref();
    let keeps = match latest.and_then(|latest| latest.target.as_ref()) {
        None => true,
        Some(Target::Function(name) | Target::Version(name, Qualifier::Alias(_))) => name == asked,
        Some(Target::Version(_, Qualifier::Version(_)) | Target::Program(_)) => false,
    };
    (keeps && t.functions.takes_jobs(version.id)).then_some((version.id, arm))
}

/// Whether a job is what the shell has read of it.
fn is_as_read(job: &Job, standing: &Standing) -> bool {
    let counts = job.summary(0).counts;
    let read = [&standing.succeeded, &standing.failed, &standing.cancelled].map(IndexSet::len);
    standing.redrives == job.status.redrives
        && read == [counts.succeeded, counts.failed, counts.cancelled]
}

/// The job runs. All that is final stays so, until the records that follow in the same batch
/// make what was chosen wait again.
fn begin(t: &mut Tables, out: &mut Out, id: JobId, wish: Redrive, chosen: &Chosen) {
    let (wall_ms, engine_ms) = (t.clock.wall_ms(), t.clock.engine_ms());
    let first_lease = t.leases.next_id();
    let (pinned, routing) = t
        .jobs
        .find(id)
        .map_or((None, None), |job| pinned(t, job, &wish));
    let invocations = chosen.values().map(Ranges::len).sum();
    let Some(job) = t.jobs.find_mut(id) else {
        return;
    };
    let (before, ended_ms) = (job.summary(0), job.ended_ms());
    // Its inputs never exceed the width of an index.
    let total = Index::try_from(before.counts.total).unwrap_or(Index::MAX);
    let latest = job.status.redriven.as_ref();
    let target = wish
        .target
        .or_else(|| latest.and_then(|latest| latest.target.clone()));
    let status = &mut job.status;
    status.pinned = pinned;
    status.routing = routing;
    status.state = JobState::Running;
    // What had arrived when it ended are its inputs.
    status.sealed = Some(total);
    status.failure = None;
    status.finished_ms = None;
    status.summary = None;
    status.redrives += 1;
    status.redriven = Some(Arc::new(Redriven {
        at_ms: wall_ms,
        target,
        invocations,
        first_lease,
        request_id: wish.request_id,
        content_digest: wish.content_digest,
    }));
    let (status, redrive) = (status.clone(), status.redrives);
    let watched = job.record.spec.policy.place_timeout_ms.is_some();
    let group = t.demands.join(Demand::of(job));
    if watched {
        t.demands.watch(group, id);
    }
    let standing = wish.standing;
    let mut running = Running::new(group, engine_ms);
    running.pace = t.paces.guess(job.target());
    running.next_index = total;
    running.blocks = standing.blocks;
    running.succeeded = standing.succeeded;
    running.failed = standing.failed;
    running.cancelled = standing.cancelled;
    running.usage = before.usage;
    running.backlog = Backlog::restored(total, &[&running.final_set()]);
    // They are needed from now on, though nothing was granted yet.
    let kept = chosen.keys().flatten();
    running
        .versions
        .extend(kept.clone().map(|(version, _)| *version));
    t.jobs.start(id, ended_ms, running);
    if kept.clone().any(|(_, arm)| arm.is_some()) {
        t.jobs.route(id);
    }
    out.push(Command::Persist(Change::JobStatus { job: id, status }));
    for record in again(t, id, chosen) {
        record::commit(t, out, record);
    }
    // By what waits now: some of it may need the runtime of an older version.
    route::regroup(t, id);
    out.push(Command::Note(Note::JobRedriven {
        job: id,
        redrive,
        invocations,
    }));
}

/// The version that all of a redrive keeps to, where it is not the one that its job was accepted with.
fn pinned(t: &Tables, job: &Job, wish: &Redrive) -> (Option<VersionId>, Option<Arc<Routing>>) {
    let policy = &job.record.spec.policy;
    if let Some(target) = &wish.target {
        return (
            route::pin(t, target, policy),
            route::pin_routing(t, target, policy),
        );
    }
    // What its function's deletion had pinned it to is for the invocations of then.
    let stays = job.status.pinned.filter(|id| t.functions.takes_jobs(*id));
    (
        stays,
        job.status.routing.clone().filter(|_| stays.is_some()),
    )
}

/// The records that make invocations wait again, with nothing left of what had happened to
/// them but the version that they keep; each of a size that a reader can take.
fn again(t: &Tables, id: JobId, chosen: &Chosen) -> Vec<Record> {
    let mut records = Vec::new();
    for (keeps, indices) in chosen {
        let runs: Vec<_> = indices.runs().collect();
        records.extend(runs.chunks(limit::REDRIVE_RECORD_RUNS_MAX).map(|runs| {
            let waiting = WaitingRecord {
                indices: runs.iter().cloned().collect(),
                history: History::redriven(
                    keeps.map(|(version, _)| version),
                    keeps.and_then(|(_, arm)| arm),
                ),
                due_ms: 0,
            };
            Record {
                waiting: vec![waiting],
                ..record::empty(t, id)
            }
        }));
    }
    records
}

fn redriven(
    t: &Tables,
    out: &mut Out,
    to: ReplyId,
    id: JobId,
    (invocations, existed): (u64, bool),
) {
    let (Some(view), Some(job)) = (step::job_view(t, id), t.jobs.find(id)) else {
        return;
    };
    let warnings = match &job.running {
        Some(running) if !existed => step::warnings(t, job, running),
        _ => Vec::new(),
    };
    let reply = Reply::Redriven {
        job: Box::new(view),
        invocations,
        existed,
        warnings,
    };
    step::reply(out, to, reply);
}

#[cfg(test)]
mod tests {
    use super::super::testing::route::wish;
    use super::super::testing::{Env, failed, run};
    use super::*;
    use crate::event::Event;
    use crate::function::Runtime;
    use crate::outcome::FailureKind;
    use crate::policy::Tolerance;
    use crate::redrive::Filter;

    fn all() -> Filter {
        Filter {
            failed: true,
            cancelled: true,
            ..Filter::default()
        }
    }

    /// A job of which 0 to 2 succeeded and the rest failed.
    fn half_failed(env: &mut Env) -> JobId {
        let job = env.submit(8, |proposal| proposal.spec.policy.max_attempts = 1);
        env.worker("a", 8);
        let (lease, _) = env.open("a").remove(0);
        let wrong = (2..8).map(|index| failed(index, FailureKind::Function));
        env.report("a", lease, (run(0..2), wrong.collect()), 10);
        assert_eq!(env.state(job), JobState::Failed);
        job
    }

    fn accepted(reply: Reply) -> u64 {
        match reply {
            Reply::Redriven { invocations, .. } => invocations,
            other => panic!("not redriven: {other:?}"),
        }
    }

    #[test]
    fn what_failed_runs_again_and_the_rest_stays() {
        let mut env = Env::new();
        let job = half_failed(&mut env);
        let wish = env.wish(job, all());
        assert_eq!(accepted(env.redrive(job, wish)), 6);
        assert_eq!(env.open("a")[0].1, run(2..8));
        env.restart();
        env.connect("a");
        let view = env.view(job);
        assert_eq!((view.status.redrives, view.counts.succeeded), (1, 2));
        env.work_off();
        let view = env.view(job);
        assert_eq!(view.status.state, JobState::Succeeded);
        assert_eq!((view.counts.succeeded, view.counts.failed), (8, 0));
        assert_eq!(view.usage.attempts, 14, "what was used before stays used");
        assert_eq!(env.disk.ended[&(job, 5)], "succeeded");
    }

    #[test]
    fn a_part_may_be_redriven_and_then_the_rest_by_another_target() {
        let mut env = Env::new();
        env.worker_with("b", 8, |worker| worker.functions = vec!["fixed".to_owned()]);
        let job = half_failed(&mut env);
        let indices = Some(run(0..4));
        let wish = env.wish(
            job,
            Filter {
                indices,
                ..Filter::default()
            },
        );
        assert_eq!(
            accepted(env.redrive(job, wish)),
            2,
            "what succeeded is left alone"
        );
        env.work_off();
        assert_eq!(env.state(job), JobState::Failed, "four failed before");
        let mut wish = env.wish(job, all());
        wish.target = Some(Target::Function("fixed".to_owned()));
        assert_eq!(accepted(env.redrive(job, wish)), 4);
        assert_eq!(
            env.open("b")[0].1,
            run(4..8),
            "it goes to who has the other one"
        );
        env.restart();
        env.connect("b");
        assert_eq!(env.open_len("b"), 4, "after a restart too");
        env.work_off();
        let view = env.view(job);
        assert_eq!(view.status.state, JobState::Succeeded);
        assert_eq!(view.status.redrives, 2);
    }

    /// A job of four over `f`, of which two ran version 1 and two version 2; all failed.
    fn failed_over_two_versions(env: &mut Env) -> JobId {
        env.publish("f", "one", Runtime::Python);
        env.worker_with("a", 2, |worker| worker.can([Runtime::Python]));
        let job = env.submit(4, |proposal| {
            proposal.spec.target = Target::Function("f".to_owned());
            proposal.spec.policy.max_attempts = 1;
        });
        for content in ["two", "three"] {
            env.publish("f", content, Runtime::Python);
            while let Some((lease, open)) = env.open("a").pop() {
                let wrong = open
                    .indices()
                    .map(|index| failed(index, FailureKind::Function));
                env.report("a", lease, (Ranges::new(), wrong.collect()), 10);
                if env.disk.versions_of(job).len() == 2 {
                    break;
                }
            }
        }
        assert_eq!(env.state(job), JobState::Failed);
        let ran = env.disk.versions_of(job);
        assert_eq!(ran, [Some(1), Some(1), Some(2), Some(2)]);
        assert_eq!(env.live("f"), 3);
        job
    }

    #[test]
    fn what_runs_again_keeps_its_version_across_a_restart_and_a_hand_back() {
        let mut env = Env::new();
        let job = failed_over_two_versions(&mut env);
        let wish = env.wish(job, all());
        accepted(env.redrive(job, wish));
        env.delete("f", Some(1));
        env.restart();
        // It leaves with what it was given and had not begun.
        env.connect("a");
        env.kill("a");
        env.worker_with("b", 2, |worker| worker.can([Runtime::Python]));
        env.settle();
        env.work_off();
        assert_eq!(env.state(job), JobState::Succeeded);
        let ran = env.disk.versions_of(job);
        assert_eq!(ran, [Some(1), Some(1), Some(2), Some(2)]);
    }

    #[test]
    fn another_target_is_what_runs_again_and_so_is_a_version_that_is_gone() {
        let mut env = Env::new();
        let job = failed_over_two_versions(&mut env);
        env.delete("f", Some(1));
        env.settle();
        let first = Filter {
            indices: Some(run(0..2)),
            ..all()
        };
        let wish = env.wish(job, first);
        accepted(env.redrive(job, wish));
        env.work_off();
        let ran = env.disk.versions_of(job);
        assert_eq!(
            ran,
            [Some(3), Some(3), Some(2), Some(2)],
            "version 1 is gone"
        );
        let mut wish = env.wish(job, all());
        wish.target = Some(Target::Version("f".to_owned(), Qualifier::Version(3)));
        accepted(env.redrive(job, wish));
        env.work_off();
        assert_eq!(env.disk.versions_of(job), [Some(3); 4]);
    }

    #[test]
    fn what_was_cancelled_and_left_out_leaves_the_job_cancelled() {
        let mut env = Env::new();
        let job = env.submit_range(10);
        env.ask(|reply| Event::Cancel { reply, job });
        env.worker("a", 4);
        let wish = env.wish(
            job,
            Filter {
                indices: Some(run(0..4)),
                ..Filter::default()
            },
        );
        assert_eq!(accepted(env.redrive(job, wish)), 4);
        assert_eq!(env.counts(job).cancelled, 6);
        env.restart();
        env.connect("a");
        env.work_off();
        let view = env.view(job);
        assert_eq!(view.status.state, JobState::Cancelled);
        assert_eq!((view.counts.succeeded, view.counts.cancelled), (4, 6));
        let wish = env.wish(job, all());
        assert_eq!(accepted(env.redrive(job, wish)), 6);
        env.work_off();
        assert_eq!(env.state(job), JobState::Succeeded);
    }

    /// A job of 40 over `f`, of which versions 1 and 2 each had half, and which succeeded.
    fn succeeded_on_two_arms(env: &mut Env) -> JobId {
        for content in ["one", "two"] {
            env.publish("f", content, Runtime::Python);
        }
        env.worker_with("a", 4, |worker| worker.can([Runtime::Python]));
        let version = |number| Target::Version("f".to_owned(), Qualifier::Version(number));
        let halves = [(version(1), 5_000), (version(2), 5_000)];
        env.set_route(wish(("f", "live"), &[], &halves));
        let job = env.submit_to("f", 40);
        env.work_off();
        assert_eq!(env.state(job), JobState::Succeeded);
        job
    }

    #[test]
    fn what_an_arm_did_well_runs_again_elsewhere_and_replaces_what_was() {
        let mut env = Env::new();
        let job = succeeded_on_two_arms(&mut env);
        let ran = env.disk.versions_of(job);
        let of_two = ran.iter().filter(|ran| **ran == Some(2)).count() as u64;
        env.point("f", "live", 1);
        let filter = Filter {
            arm: Some("2".into()),
            ..Filter::default()
        };
        let wish = env.wish(job, filter.clone());
        assert_eq!(accepted(env.redrive(job, wish)), of_two);
        assert_eq!(env.counts(job).succeeded, 40 - of_two);
        env.restart();
        env.connect("a");
        assert_eq!(env.counts(job).succeeded, 40 - of_two, "as it was");
        env.work_off();
        let view = env.view(job);
        assert_eq!(view.status.state, JobState::Succeeded);
        assert_eq!(
            (view.counts.succeeded, view.usage.attempts),
            (40, 40 + of_two)
        );
        assert_eq!(env.disk.versions_of(job), [Some(1); 40]);
        let wish = env.wish(job, filter);
        let nothing = env.redrive(job, wish);
        let nothing_left = Refusal::NothingToRedrive {
            job,
            failed: 0,
            cancelled: 0,
        };
        assert_eq!(nothing, Reply::Refused(nothing_left), "none is left of it");
    }

    #[test]
    fn what_is_cancelled_while_it_runs_again_can_be_redriven_later() {
        let mut env = Env::new();
        let job = succeeded_on_two_arms(&mut env);
        let filter = Filter {
            arm: Some("2".into()),
            ..Filter::default()
        };
        let wish = env.wish(job, filter);
        let again = accepted(env.redrive(job, wish));
        env.ask(|reply| Event::Cancel { reply, job });
        let counts = env.counts(job);
        assert_eq!((counts.cancelled, counts.succeeded), (again, 40 - again));
        let wish = env.wish(job, all());
        assert_eq!(accepted(env.redrive(job, wish)), again);
        env.work_off();
        assert_eq!(env.state(job), JobState::Succeeded);
    }

    #[test]
    fn only_types_that_are_named_run_again() {
        let mut env = Env::new();
        let job = half_failed(&mut env);
        let mut filter = Filter::default();
        filter.types.insert("KeyError".to_owned());
        let wish = env.wish(job, filter.clone());
        let nothing = Refusal::NothingToRedrive {
            job,
            failed: 6,
            cancelled: 0,
        };
        assert_eq!(env.redrive(job, wish), Reply::Refused(nothing));
        filter.types.insert("ValueError".to_owned());
        let wish = env.wish(job, filter);
        assert_eq!(accepted(env.redrive(job, wish)), 6);
    }

    #[test]
    fn what_runs_has_succeeded_or_has_changed_is_refused() {
        let mut env = Env::new();
        let running = env.submit_range(4);
        let wish = env.wish(running, all());
        let refused = env.redrive(running, wish);
        assert_eq!(
            refused,
            Reply::Refused(Refusal::JobRunning { job: running })
        );
        env.worker("a", 4);
        env.work_off();
        let wish = env.wish(running, all());
        let state = JobState::Succeeded;
        let refusal = Refusal::NotRedrivable {
            job: running,
            state,
        };
        assert_eq!(env.redrive(running, wish), Reply::Refused(refusal));
        let mut env = Env::new();
        let job = half_failed(&mut env);
        let stale = env.wish(job, all());
        let wish = env.wish(job, all());
        accepted(env.redrive(job, wish));
        env.ask(|reply| Event::Cancel { reply, job });
        let refused = env.redrive(job, stale);
        assert_eq!(refused, Reply::Refused(Refusal::JobChanged { job }));
    }

    #[test]
    fn a_full_store_refuses_a_redrive_and_answers_a_repeat() {
        let mut env = Env::new();
        let job = half_failed(&mut env);
        let full = Refusal::StoreFull {
            data_dir: "/data".to_owned(),
            option: "store_bytes_max",
            problem: "it is full".to_owned(),
            way_out: "raise it",
            bytes: 10,
            limit: 9,
        };
        let mut wish = env.wish(job, all());
        wish.request_id = "once".to_owned();
        let refused = Redrive {
            refusal: Some(full.clone()),
            ..wish.clone()
        };
        assert_eq!(
            env.redrive(job, refused.clone()),
            Reply::Refused(full),
            "nothing runs again"
        );
        accepted(env.redrive(job, wish));
        let repeat = env.redrive(job, refused);
        assert!(matches!(repeat, Reply::Redriven { existed: true, .. }));
    }

    #[test]
    fn a_request_id_makes_one_redrive() {
        let mut env = Env::new();
        let job = half_failed(&mut env);
        let mut wish = env.wish(job, all());
        wish.request_id = "once".to_owned();
        assert_eq!(accepted(env.redrive(job, wish.clone())), 6);
        env.restart();
        let again = env.redrive(job, wish.clone());
        assert!(matches!(
            again,
            Reply::Redriven {
                existed: true,
                invocations: 6,
                ..
            }
        ));
        assert_eq!(env.view(job).status.redrives, 1);
        wish.content_digest = [1; 32];
        let refused = env.redrive(job, wish);
        assert!(matches!(
            refused,
            Reply::Refused(Refusal::RequestIdReused { .. })
        ));
    }

    #[test]
    fn age_is_counted_from_the_last_end() {
        let config = crate::config::Config {
            keep_ms: 60_000,
            ..crate::config::Config::default()
        };
        let mut env = Env::with(config);
        let job = env.submit_range(4);
        env.ask(|reply| Event::Cancel { reply, job });
        env.advance(50_000);
        let wish = env.wish(job, all());
        accepted(env.redrive(job, wish));
        env.advance(50_000);
        assert_eq!(env.state(job), JobState::Running, "what runs is not swept");
        env.ask(|reply| Event::Cancel { reply, job });
        env.advance(59_000);
        assert_eq!(env.state(job), JobState::Cancelled);
        env.advance(1_000);
        assert!(env.machine.job_view(job).is_none());
    }

    #[test]
    fn a_deadline_is_counted_anew() {
        let mut env = Env::new();
        let job = env.submit(4, |proposal| {
            proposal.spec.policy.deadline_ms = Some(5_000);
        });
        env.advance(5_000);
        assert_eq!(env.state(job), JobState::Failed);
        env.advance(60_000);
        let wish = env.wish(job, all());
        assert_eq!(accepted(env.redrive(job, wish)), 4);
        env.restart();
        env.advance(4_000);
        assert_eq!(env.state(job), JobState::Running);
        env.advance(1_000);
        assert_eq!(env.state(job), JobState::Failed);
    }

    #[test]
    fn failures_that_were_left_out_do_not_end_the_redrive_early() {
        let mut env = Env::new();
        env.worker("a", 1);
        let job = env.submit(6, |proposal| {
            proposal.spec.policy.max_attempts = 1;
            proposal.spec.policy.tolerate = Some(Tolerance::Count(1));
        });
        for _ in 0..2 {
            let (lease, open) = env.open("a").remove(0);
            let index = open.first().unwrap();
            let wrong = vec![failed(index, FailureKind::Function)];
            env.report("a", lease, (Ranges::new(), wrong), 10);
        }
        assert_eq!(env.state(job), JobState::Failed);
        let cancelled = Filter {
            cancelled: true,
            ..Filter::default()
        };
        let wish = env.wish(job, cancelled);
        assert_eq!(accepted(env.redrive(job, wish)), 4);
        env.restart();
        env.connect("a");
        env.work_off();
        let view = env.view(job);
        assert_eq!(view.counts.succeeded, 4);
        assert_eq!(view.status.state, JobState::Failed, "two is more than one");
    }

    #[test]
    fn what_a_worker_held_before_does_not_count() {
        let mut env = Env::new();
        env.worker("a", 4);
        let job = env.submit_range(4);
        env.cut("a");
        env.ask(|reply| Event::Cancel { reply, job });
        let wish = env.wish(job, all());
        accepted(env.redrive(job, wish));
        env.connect("a");
        assert_eq!(env.counts(job).leased, 4, "it is granted anew");
        let leases: Vec<_> = env.open("a").into_iter().map(|(lease, _)| lease).collect();
        assert!(leases.iter().all(|lease| lease.number > 1), "{leases:?}");
    }

    #[test]
    fn a_job_that_ended_before_its_seal_is_sealed_with_what_had_arrived() {
        use crate::id::Appender;
        use crate::job::{BlockRef, StartMode};
        let mut env = Env::new();
        let job = env.submit_open(StartMode::AsSealed);
        env.ask(|reply| Event::OpenAppend { reply, job });
        let block = BlockRef {
            first: 0,
            count: 5,
            bytes: 50,
            appender: Appender(1),
        };
        env.ask(|reply| Event::Append { reply, job, block });
        env.ask(|reply| Event::Cancel { reply, job });
        let wish = env.wish(job, all());
        assert_eq!(accepted(env.redrive(job, wish)), 5);
        env.worker("a", 8);
        env.work_off();
        let view = env.view(job);
        assert_eq!(
            (view.status.state, view.counts.succeeded),
            (JobState::Succeeded, 5)
        );
    }
}
