//! A version is published.

use std::sync::Arc;

use super::step::{self, Out, alias};
use crate::change::Change;
use crate::command::{Command, Note, Refusal, Reply};
use crate::event::Publication;
use crate::function::{FunctionRecord, LIVE, MoveKind, Version};
use crate::id::ReplyId;
use crate::limit;
use crate::route::{ArmId, Route};
use crate::tables::Tables;

pub(crate) fn publish(t: &mut Tables, out: &mut Out, to: ReplyId, publication: Publication) {
    let name = &publication.function;
    if let Some(same) = t.functions.same(name, publication.content) {
        let reply = published(t, same.clone(), true);
        return step::reply(out, to, reply);
    }
    if let Err(refusal) = judge(t, &publication) {
        return step::refuse(out, to, refusal);
    }
    let known = t.functions.artifact(publication.artifact.digest);
    if known.is_none() && !publication.staged {
        return step::reply(out, to, Reply::ArtifactMissing);
    }
    let artifact = known.unwrap_or(publication.artifact);
    let record = next(t, name);
    let version = Arc::new(Version {
        id: record.last_id,
        function: record.name.clone(),
        number: record.last_number,
        content: publication.content,
        spec: publication.spec,
        artifact,
        epoch: t.epoch,
        published_ms: t.clock.wall_ms(),
        published_by: publication.by,
    });
    // Who kept the newest id until now may go.
    t.marks.spent.insert(t.functions.last().to_owned());
    t.registry.publish(&record.name, true);
    t.functions.record(record.clone());
    t.functions.insert(version.clone());
    out.push(Command::Persist(Change::Function(record)));
    out.push(Command::Persist(Change::Published(version.clone())));
    out.push(Command::Note(Note::VersionPublished {
        function: version.function.clone(),
        number: version.number,
        by: version.published_by.clone(),
    }));
    follow(t, out, &version);
    let reply = published(t, version, false);
    step::reply(out, to, reply);
}

fn published(t: &Tables, version: Arc<Version>, existed: bool) -> Reply {
    let live = t.functions.live(&version.function);
    Reply::Published {
        live: live.map_or(0, |live| live.number),
        version,
        existed,
    }
}

fn judge(t: &Tables, publication: &Publication) -> Result<(), Refusal> {
    if let Some(refusal) = &publication.refusal {
        return Err(refusal.clone());
    }
    let function = publication.function.clone();
    if t.registry.is_brought(&function) {
        return Err(Refusal::FunctionBrought { function });
    }
    let runtime = publication.spec.runtime;
    let workers = t.roster.session_len() as u64;
    // An interpreter may be installed on a host at any time; what a build lacks it never has. A
    // cluster without workers says nothing of what those that come will have.
    if runtime.is_of_builds() && workers > 0 && !t.roster.ever_ran(runtime) {
        return Err(Refusal::NoRuntime {
            function,
            runtime: runtime.as_str(),
            workers,
        });
    }
    let kept = t.functions.find_any(&function);
    if kept.is_some_and(|kept| kept.versions.len() >= limit::FUNCTION_VERSIONS_MAX) {
        let limit = limit::FUNCTION_VERSIONS_MAX as u64;
        return Err(Refusal::TooManyVersions { function, limit });
    }
    if !t.registry.knows(&function) && t.registry.is_full() {
        let limit = limit::FUNCTIONS_MAX as u64;
        return Err(Refusal::TooManyFunctions { limit });
    }
    Ok(())
}

/// What is kept of the function from this version on.
fn next(t: &Tables, name: &str) -> FunctionRecord {
    let known = t.functions.find_any(name);
    let last = known.map_or(0, |known| known.record.last_number);
    FunctionRecord {
        name: name.to_owned(),
        last_number: last.saturating_add(1),
        last_id: t.functions.next_id(),
        deleted: false,
        last_arm: known.map_or(ArmId(0), |known| known.record.last_arm),
    }
}

/// `live` goes along, unless it was pointed elsewhere.
fn follow(t: &mut Tables, out: &mut Out, version: &Version) {
    let function = t.functions.find_any(&version.function);
    let live = function.and_then(|function| function.aliases.get(LIVE));
    if live.is_none_or(|live| live.follows) {
        let to = Route {
            to: version.number,
            plan: live.and_then(|live| live.route.plan.clone()),
        };
        let step = alias::Step {
            kind: MoveKind::Published,
            to,
            by: version.published_by.clone(),
        };
        alias::move_to(t, out, &version.function, LIVE, step);
    } else {
        alias::touch(t, &version.function);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Env;
    use super::*;
    use crate::function::Runtime;
    use crate::job::JobState;

    #[test]
    fn versions_are_numbered_and_the_same_content_is_the_same_version() {
        let mut env = Env::new();
        let first = env.publish("f", "one", Runtime::Python);
        assert_eq!((first.number, env.live("f")), (1, 1));
        let second = env.publish("f", "two", Runtime::Python);
        assert_eq!((second.number, env.live("f")), (2, 2));
        let again = env.publish("f", "one", Runtime::Python);
        assert_eq!(again.id, first.id, "the same version");
        assert_eq!(env.live("f"), 2, "nothing moved");
        let other = env.publish("g", "one", Runtime::Python);
        assert_eq!(other.number, 1, "numbered by function");
        assert_eq!(
            other.artifact.upload, first.artifact.upload,
            "an artifact is stored once"
        );
        let spec = env.publish("f", "one", Runtime::Node);
        assert_eq!(spec.number, 3, "with another spec it is another version");
    }

    #[test]
    fn numbers_are_not_used_again_after_a_delete_and_a_restart() {
        let mut env = Env::new();
        env.publish("f", "one", Runtime::Python);
        let last = env.publish("f", "two", Runtime::Python);
        env.delete("f", None);
        env.settle();
        env.restart();
        let next = env.publish("f", "two", Runtime::Python);
        assert_eq!(next.number, 3);
        assert!(next.id > last.id);
        assert_eq!(env.live("f"), 3);
    }

    #[test]
    fn an_artifact_that_is_not_there_is_asked_for() {
        let mut env = Env::new();
        let unstaged = |publication: &mut Publication| publication.staged = false;
        let reply = env.try_publish("f", "one", Runtime::Python, unstaged);
        assert_eq!(reply, Reply::ArtifactMissing);
        let first = env.publish("f", "one", Runtime::Python);
        let reply = env.try_publish("g", "one", Runtime::Python, unstaged);
        let Reply::Published { version, .. } = reply else {
            panic!("{reply:?}")
        };
        assert_eq!(version.artifact, first.artifact, "another version has it");
    }

    #[test]
    fn a_full_store_refuses_a_new_version_and_answers_a_repeat() {
        let mut env = Env::new();
        let first = env.publish("f", "one", Runtime::Python);
        let full = Refusal::StoreFull {
            data_dir: "/data".to_owned(),
            option: "store_bytes_max",
            problem: "it is full".to_owned(),
            way_out: "raise it",
            bytes: 10,
            limit: 9,
        };
        let no_room = |publication: &mut Publication| publication.refusal = Some(full.clone());
        let refused = env.try_publish("f", "two", Runtime::Python, no_room);
        assert_eq!(refused, Reply::Refused(full.clone()));
        let repeat = env.try_publish("f", "one", Runtime::Python, no_room);
        let Reply::Published {
            version, existed, ..
        } = repeat
        else {
            panic!("{repeat:?}")
        };
        assert_eq!((version.id, existed), (first.id, true));
    }

    #[test]
    fn a_name_is_the_workers_or_published() {
        let mut env = Env::new();
        env.worker_with("a", 1, |worker| worker.functions.push("mine".to_owned()));
        let reply = env.try_publish("mine", "one", Runtime::Python, |_| {});
        let function = || "mine".to_owned();
        let brought = Refusal::FunctionBrought {
            function: function(),
        };
        assert_eq!(reply, Reply::Refused(brought));
        env.kill("a");
        env.publish("mine", "one", Runtime::Exec);
        env.worker_with("b", 1, |worker| worker.functions.push("mine".to_owned()));
        let published = Refusal::FunctionPublished {
            function: function(),
        };
        assert_eq!(env.closed, [published], "now it is not a worker's any more");
    }

    #[test]
    fn webassembly_is_refused_where_no_worker_ever_could_run_it() {
        let mut env = Env::new();
        env.publish("early", "one", Runtime::Wasm);
        env.worker_with("a", 1, |worker| worker.can([Runtime::Exec]));
        let reply = env.try_publish("f", "one", Runtime::Wasm, |_| {});
        let refusal = Refusal::NoRuntime {
            function: "f".to_owned(),
            runtime: "wasm",
            workers: 1,
        };
        assert_eq!(reply, Reply::Refused(refusal));
        env.publish("f", "one", Runtime::Python);
        env.worker_with("b", 1, |worker| worker.can([Runtime::Wasm]));
        env.kill("b");
        env.publish("f", "one", Runtime::Wasm);
    }

    #[test]
    fn a_published_function_is_fanned_out_over_those_that_have_its_runtime() {
        let mut env = Env::new();
        env.publish("f", "one", Runtime::Python);
        env.worker_with("a", 2, |worker| worker.can([Runtime::Python]));
        env.worker_with("b", 2, |worker| worker.can([Runtime::Node]));
        let job = env.submit_to("f", 10);
        assert_eq!((env.open_len("a"), env.open_len("b")), (2, 0));
        env.work_off();
        assert_eq!(env.state(job), JobState::Succeeded);
        assert!(env.disk.versions_of(job).iter().all(|v| *v == Some(1)));
        assert_eq!(env.workers["a"].told.len(), 1, "it is told once");
    }
}
