//! Copies of what is submitted over an alias run on another version too.

use std::sync::Arc;

use super::step::{self, Out, alias, route};
use crate::change::{Change, JobRecord, JobStatus};
use crate::command::{Command, Refusal, Reply};
use crate::function::{Alias, LIVE, Qualifier};
use crate::id::{JobId, ReplyId};
use crate::job::{JobSpec, Source, StartMode, Target};
use crate::policy::{BASIS_POINTS, Policy, Tolerance};
use crate::shadow::{self, Shadow, ShadowOf, ShadowWish};
use crate::tables::Tables;
use crate::tables::job::{Job, Running, first_status};

pub(crate) fn set(t: &mut Tables, out: &mut Out, to: ReplyId, wish: ShadowWish) {
    if let Err(refusal) = judge(t, &wish) {
        return step::refuse(out, to, refusal);
    }
    let shadow = Shadow {
        to: wish.to,
        sample: wish.sample,
        salt: wish.salt,
        since_ms: t.clock.wall_ms(),
        by: wish.by,
    };
    let known = t.functions.alias(&wish.function, &wish.alias);
    let known = known.and_then(|alias| alias.shadow.as_ref());
    // Said twice is said once.
    let said = |known: &Shadow| (known.to, known.sample) == (shadow.to, shadow.sample);
    if !known.is_some_and(said) {
        alias::shadow(t, out, (&wish.function, &wish.alias), Some(shadow));
    }
    reply(t, out, to, (&wish.function, &wish.alias));
}

fn judge(t: &Tables, wish: &ShadowWish) -> Result<(), Refusal> {
    find(t, (&wish.function, &wish.alias))?;
    let id = route::version(t, &wish.function, wish.to)?;
    let version = t.functions.version(id);
    if !wish.force && version.is_some_and(|version| !version.spec.pure) {
        return Err(Refusal::NotPure {
            function: wish.function.clone(),
            number: wish.to,
        });
    }
    Ok(())
}

fn find(t: &Tables, (function, alias): (&str, &str)) -> Result<(), Refusal> {
    if t.functions.find(function).is_none() {
        return Err(route::unpublished(t, function));
    }
    match t.functions.alias(function, alias) {
        Some(_) => Ok(()),
        None => Err(route::unknown_alias(t, function, alias)),
    }
}

pub(crate) fn stop(t: &mut Tables, out: &mut Out, to: ReplyId, of: (&str, &str)) {
    if let Err(refusal) = find(t, of) {
        return step::refuse(out, to, refusal);
    }
    let known = t.functions.alias(of.0, of.1);
    if known.is_none_or(|alias| alias.shadow.is_none()) {
        let alias = format!("{}@{}", of.0, of.1);
        return step::refuse(out, to, Refusal::NoShadow { alias });
    }
    alias::shadow(t, out, of, None);
    reply(t, out, to, of);
}

fn reply(t: &Tables, out: &mut Out, to: ReplyId, (function, alias): (&str, &str)) {
    if let Some(alias) = t.functions.alias(function, alias) {
        step::reply(out, to, Reply::Alias(Box::new(alias.clone())));
    }
}

/// The alias, if it has a shadow.
pub(crate) fn view(t: &Tables, function: &str, alias: &str) -> Result<Option<Alias>, Refusal> {
    find(t, (function, alias))?;
    let alias = t.functions.alias(function, alias);
    Ok(alias.filter(|alias| alias.shadow.is_some()).cloned())
}

/// A version takes no jobs any more: no copies either.
pub(crate) fn end_of(t: &mut Tables, out: &mut Out, function: &str, number: u32) {
    let known = t.functions.find(function);
    let aliases = known.into_iter().flat_map(|known| known.aliases.values());
    let ended = aliases.filter(|alias| alias.shadow.as_ref().is_some_and(|it| it.to == number));
    let ended: Vec<String> = ended.map(|alias| alias.name.clone()).collect();
    for alias in ended {
        alias::shadow(t, out, (function, &alias), None);
    }
}

/// A job was accepted: where its alias has a shadow, the job of its copies is too, in the same
/// batch. Its inputs follow as those of the job come in.
pub(crate) fn begin(t: &mut Tables, out: &mut Out, id: JobId) {
    let Some(record) = copies(t, id) else { return };
    let id = record.id;
    let status: JobStatus = first_status(record.source);
    let mut running = Running::joining(&mut t.demands, &record, t.clock.engine_ms());
    running.pace = t.paces.guess(&record.spec.target);
    out.push(Command::Persist(Change::JobCreated(record.clone())));
    out.push(Command::Persist(Change::JobStatus {
        job: id,
        status: status.clone(),
    }));
    t.jobs.insert(Job {
        record,
        status,
        running: Some(Box::new(running)),
    });
    route::regroup(t, id);
    t.show(id);
    out.push(Command::Feed(id));
}

/// The job of the copies of a job; none: its alias has no shadow, or there is no room.
fn copies(t: &Tables, id: JobId) -> Option<Arc<JobRecord>> {
    let job = t.jobs.find(id)?;
    let (function, alias) = match job.target() {
        Target::Function(name) => (name.as_str(), LIVE),
        Target::Version(name, Qualifier::Alias(alias)) => (name.as_str(), alias.as_str()),
        Target::Version(..) | Target::Program(_) => return None,
    };
    let shadow = t.functions.alias(function, alias)?.shadow.as_ref()?;
    let of = ShadowOf {
        job: id,
        function: function.to_owned(),
        alias: alias.to_owned(),
        sample: shadow.sample,
        salt: shadow.salt,
    };
    let is_full = t.jobs.len() + t.requests.len() >= t.config.jobs_max;
    if is_full || t.jobs.find(of.id()).is_some() {
        return None;
    }
    let target = Target::Version(function.to_owned(), Qualifier::Version(shadow.to));
    let spec = &job.record.spec;
    let policy = Policy {
        // A version that fails at everything says so to its end.
        tolerate: Some(Tolerance::BasisPoints(BASIS_POINTS)),
        priority: shadow::PRIORITY,
        deadline_ms: None,
        enough: None,
        pin: false,
        ..spec.policy.clone()
    };
    Some(Arc::new(JobRecord {
        id: of.id(),
        version: route::pin(t, &target, &policy),
        routing: None,
        spec: JobSpec {
            name: String::new(),
            target,
            policy,
            labels: spec.labels.clone(),
            start: StartMode::AsAppended,
        },
        source: Source::Blocks,
        request_id: String::new(),
        content_digest: [0; 32],
        created_ms: t.clock.wall_ms(),
        shadow_of: Some(of),
    }))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Env;
    use super::*;
    use crate::event::Event;
    use crate::function::Runtime;
    use crate::id::Index;
    use crate::job::{BlockRef, JobState};

    fn wish(to: u32, force: bool) -> ShadowWish {
        ShadowWish {
            function: "f".to_owned(),
            alias: "live".to_owned(),
            to,
            sample: 1_000,
            salt: 7,
            force,
            by: "me@desk".to_owned(),
        }
    }

    /// Function `f` with versions 1 to 3, `live` at the first, copies to version 2.
    fn shadowed() -> Env {
        let mut env = Env::with_three_versions();
        env.point("f", "live", 1);
        let wish = Box::new(wish(2, true));
        let reply = env.ask(|reply| Event::SetShadow { reply, wish });
        assert!(matches!(reply, Reply::Alias(_)), "{reply:?}");
        env.worker_with("a", 4, |worker| worker.can([Runtime::Python]));
        env
    }

    fn copies_of(env: &Env, job: JobId) -> JobId {
        let of = |view: &crate::view::JobView| {
            let of = view.record.shadow_of.as_ref();
            of.is_some_and(|of| of.job == job)
        };
        let (found, _) = env.machine.jobs(None, 10, &of);
        assert_eq!(found.len(), 1);
        found[0].record.id
    }

    /// What the shell does with a job of copies.
    fn feed(env: &mut Env, copies: JobId, total: Index) -> Index {
        let of = env.view(copies).record.shadow_of.clone().unwrap();
        let count = u32::try_from((0..total).filter(|index| of.takes(*index)).count()).unwrap();
        let opened = env.ask(|reply| Event::OpenAppend { reply, job: copies });
        let Reply::AppendOpened { appender, .. } = opened else {
            panic!("{opened:?}")
        };
        let block = BlockRef {
            first: 0,
            count,
            bytes: 1,
            appender,
        };
        let job = copies;
        env.ask(|reply| Event::Append { reply, job, block });
        let total = u64::from(count);
        env.ask(|reply| Event::Seal { reply, job, total });
        count
    }

    #[test]
    fn copies_run_as_a_job_of_their_own_behind_all_others() {
        let mut env = shadowed();
        let job = env.submit_to("f", 1_000);
        let copies = copies_of(&env, job);
        assert_eq!(env.fed, [copies]);
        assert_eq!(
            env.machine.find_job("last"),
            Ok(job),
            "nobody submitted copies"
        );
        env.restart();
        assert_eq!(env.machine.fed(), [copies], "both or none are on disk");
        env.connect("a");
        let count = feed(&mut env, copies, 1_000);
        assert!((50..150).contains(&count), "{count} of 1,000 are a tenth");
        assert_eq!(env.counts(copies).leased, 0, "the job itself waits still");
        env.work_off();
        assert_eq!(env.state(job), JobState::Succeeded);
        assert_eq!(env.state(copies), JobState::Succeeded);
        assert_eq!(env.counts(job).total, 1_000);
        assert_eq!(env.disk.versions_of(copies)[0], Some(2));
        assert_eq!(env.disk.versions_of(job)[0], Some(1));
    }

    #[test]
    fn only_what_is_submitted_over_the_alias_from_then_on_is_copied() {
        let mut env = shadowed();
        env.point("f", "other", 3);
        for target in ["f@1", "f@other"] {
            env.submit_to(target, 10);
        }
        assert!(env.fed.is_empty());
        env.submit_to("f@live", 10);
        assert_eq!(env.fed.len(), 1);
        let (function, alias) = ("f".to_owned(), "live".to_owned());
        env.ask(|reply| Event::StopShadow {
            reply,
            function,
            alias,
        });
        env.submit_to("f", 10);
        assert_eq!(env.fed.len(), 1);
        let (function, alias) = ("f".to_owned(), "live".to_owned());
        let refused = env.refused(|reply| Event::StopShadow {
            reply,
            function,
            alias,
        });
        assert!(matches!(refused, Refusal::NoShadow { .. }), "{refused}");
    }

    #[test]
    fn a_version_with_effects_is_refused_and_one_that_goes_takes_its_shadow_along() {
        let mut env = shadowed();
        let refused = env.refused(|reply| Event::SetShadow {
            reply,
            wish: Box::new(wish(3, false)),
        });
        assert!(
            refused.to_string().contains("is not marked pure"),
            "{refused}"
        );
        let unknown = env.refused(|reply| Event::SetShadow {
            reply,
            wish: Box::new(wish(9, true)),
        });
        assert!(unknown.to_string().contains("no version 9"), "{unknown}");
        assert_eq!(env.alias("f", "live").shadow.map(|it| it.to), Some(2));
        env.delete("f", Some(2));
        env.restart();
        assert_eq!(env.alias("f", "live").shadow, None);
    }

    #[test]
    fn copies_wait_for_their_inputs_as_long_as_it_takes() {
        let mut env = shadowed();
        let job = env.submit_to("f", 10);
        let copies = copies_of(&env, job);
        env.work_off();
        env.advance(2 * crate::config::Config::default().upload_idle_timeout_ms);
        assert_eq!(env.state(copies), JobState::Running);
    }
}
