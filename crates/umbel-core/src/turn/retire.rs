//! A version takes no new jobs, and is forgotten once no running job needs it.

use super::step::{self, Out, alias, route};
use crate::change::Change;
use crate::command::{Command, Refusal, Reply};
use crate::function::{FunctionRecord, VersionId};
use crate::id::ReplyId;
use crate::tables::Tables;

/// Retired versions looked at in one turn.
const SWEEP_VERSIONS_MAX: usize = 64;

pub(crate) fn retire(
    t: &mut Tables,
    out: &mut Out,
    to: ReplyId,
    function: &str,
    number: Option<u32>,
) {
    let retired = match number {
        Some(number) => retire_one(t, out, function, number),
        None => retire_all(t, out, function),
    };
    match retired {
        Ok(()) => step::reply(out, to, Reply::Done),
        Err(refusal) => step::refuse(out, to, refusal),
    }
}

fn retire_one(t: &mut Tables, out: &mut Out, name: &str, number: u32) -> Result<(), Refusal> {
    let Some(function) = t.functions.find(name) else {
        return Err(route::unpublished(t, name));
    };
    let id = route::version(t, name, number)?;
    let mut aliases = function.aliases.values();
    if let Some(alias) = aliases.find(|alias| alias.route.to == number) {
        return Err(Refusal::VersionInUse {
            function: name.to_owned(),
            number,
            alias: alias.name.clone(),
        });
    }
    mark(t, out, id);
    Ok(())
}

/// A function is deleted: its aliases stay as long as running jobs name them.
fn retire_all(t: &mut Tables, out: &mut Out, name: &str) -> Result<(), Refusal> {
    let Some(function) = t.functions.find(name) else {
        return Err(route::unpublished(t, name));
    };
    let record = FunctionRecord {
        deleted: true,
        ..function.record.clone()
    };
    let ids: Vec<VersionId> = function.versions.values().copied().collect();
    for id in ids {
        mark(t, out, id);
    }
    t.registry.publish(name, false);
    t.functions.record(record.clone());
    out.push(Command::Persist(Change::Function(record)));
    Ok(())
}

fn mark(t: &mut Tables, out: &mut Out, id: VersionId) {
    let at_ms = t.clock.wall_ms();
    if t.functions.retire(id, at_ms) {
        out.push(Command::Persist(Change::VersionRetired { id, at_ms }));
    }
    t.marks.retired = Some(VersionId(0));
}

/// Forgets retired versions that nothing needs any more, some in each turn.
pub(crate) fn sweep(t: &mut Tables, out: &mut Out) {
    let Some(behind) = t.marks.retired.take() else {
        return;
    };
    let ids = t.functions.retired_behind(behind);
    let ids: Vec<VersionId> = ids.take(SWEEP_VERSIONS_MAX).collect();
    if ids.len() == SWEEP_VERSIONS_MAX {
        t.marks.retired = ids.last().copied();
        t.marks.more = true;
    }
    for id in ids {
        if !is_needed(t, id) {
            forget(t, out, id);
        }
    }
}

/// Whether a running job or an invoke may still run a version.
fn is_needed(t: &Tables, id: VersionId) -> bool {
    let Some(version) = t.functions.version(id) else {
        return false;
    };
    let mut jobs = t.jobs.of_function(&version.function);
    let needs = jobs.any(|job| {
        let running = job.running.as_ref();
        let granted = running.is_some_and(|running| running.versions.contains(&id));
        granted || route::meant(t, job) == Some(id)
    });
    needs || t.invokes.uses(id)
}

fn forget(t: &mut Tables, out: &mut Out, id: VersionId) {
    let Some(version) = t.functions.version(id).cloned() else {
        return;
    };
    let function = t.functions.find_any(&version.function);
    let aliases = function
        .iter()
        .flat_map(|function| function.aliases.values());
    let pointing = aliases.filter(|alias| alias.route.to == version.number);
    let pointing: Vec<String> = pointing.map(|alias| alias.name.clone()).collect();
    for name in pointing {
        let function = version.function.clone();
        t.functions.remove_alias(&function, &name);
        out.push(Command::Persist(Change::AliasRemoved { function, name }));
    }
    let upload = t.functions.remove(id);
    out.push(Command::Persist(Change::VersionRemoved(id)));
    if let Some(upload) = upload {
        out.push(Command::Persist(Change::ArtifactRemoved(upload)));
    }
    alias::touch(t, &version.function);
}

#[cfg(test)]
mod tests {
    use super::super::testing::Env;
    use super::*;
    use crate::function::Runtime;
    use crate::job::JobState;

    #[test]
    fn a_version_that_an_alias_points_at_is_not_retired() {
        let mut env = Env::new();
        env.publish("f", "one", Runtime::Python);
        let refusal = env.try_delete("f", Some(1)).unwrap_err();
        assert!(refusal.to_string().contains("f@live points at version 1"));
        env.publish("f", "two", Runtime::Python);
        env.delete("f", Some(1));
        assert!(env.disk.artifacts.contains("two"));
        assert!(!env.disk.artifacts.contains("one"), "nothing needs it");
        let gone = env.try_point("f", "live", 1).unwrap_err();
        assert!(matches!(gone, Refusal::UnknownVersion { number: 1, .. }));
    }

    #[test]
    fn what_a_running_job_needs_is_kept_until_it_has_ended() {
        let mut env = Env::new();
        env.publish("f", "one", Runtime::Python);
        env.publish("g", "one", Runtime::Python);
        env.worker_with("a", 2, |worker| worker.can([Runtime::Python]));
        let job = env.submit_to("f", 10);
        env.delete("f", None);
        env.restart();
        env.connect("a");
        let gone = env.try_submit_to("f").unwrap_err();
        assert!(matches!(gone, Refusal::UnknownFunction { .. }));
        env.work_off();
        assert_eq!(env.state(job), JobState::Succeeded);
        assert_eq!(env.disk.versions_of(job), [Some(1); 10]);
        env.settle();
        assert_eq!(env.disk.version_len(), 1, "what is left is g's");
        assert!(env.disk.artifacts.contains("one"), "and its artifact");
        env.delete("g", None);
        env.settle();
        assert!(env.disk.artifacts.is_empty());
    }
}
