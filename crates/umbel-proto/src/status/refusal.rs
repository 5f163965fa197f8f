//! What the machine refuses, by reason.

use std::fmt::Display;

use umbel_core::command::Refusal;

use super::{Metadata, Reason};

/// The reason of a refusal and what varies in it.
pub(super) fn reason(refusal: &Refusal) -> (Reason, Metadata) {
    match refusal {
        Refusal::UnknownFunction { name, nearest } => {
            of(Reason::UnknownFunction, &[name, &nearest.join(",")])
        }
        Refusal::UnknownVersion { .. }
        | Refusal::UnknownAlias { .. }
        | Refusal::NotPublished { .. }
        | Refusal::FunctionBrought { .. }
        | Refusal::FunctionPublished { .. }
        | Refusal::TooManyVersions { .. }
        | Refusal::TooManyFunctions { .. }
        | Refusal::TooManyAliases { .. }
        | Refusal::VersionInUse { .. }
        | Refusal::NothingToRollBack { .. } => of_function(refusal),
        Refusal::UnknownJob { job } => of(Reason::UnknownJob, &[job]),
        Refusal::UnknownWorker { name } => of(Reason::UnknownWorker, &[name]),
        Refusal::RequestIdReused { request_id, job } => {
            of(Reason::RequestIdReused, &[request_id, job])
        }
        Refusal::RequestIdSpent { request_id, job } => {
            of(Reason::RequestIdReused, &[request_id, job])
        }
        Refusal::StoreFull {
            data_dir,
            option,
            bytes,
            limit,
            ..
        } => of(Reason::StoreFull, &[data_dir, option, bytes, limit]),
        Refusal::TooManyStreams { kind, limit } => of(Reason::TooManyStreams, &[kind, limit]),
        Refusal::AppendGap {
            job,
            next_index,
            first_index,
        } => of(Reason::AppendGap, &[job, next_index, first_index]),
        Refusal::AppendSuperseded { job } => of(Reason::AppendSuperseded, &[job]),
        Refusal::JobSealed { job, total } => of(Reason::JobSealed, &[job, total]),
        Refusal::SealMismatch {
            job,
            next_index,
            total,
        } => of(Reason::SealMismatch, &[job, next_index, total]),
        Refusal::JobFinished { job, state } => of(Reason::JobFinished, &[job, &state.as_str()]),
        Refusal::JobRunning { job } => of(Reason::JobRunning, &[job]),
        Refusal::NotRedrivable { job, state } => of(Reason::NotRedrivable, &[job, &state.as_str()]),
        Refusal::NothingToRedrive {
            job,
            failed,
            cancelled,
        } => of(Reason::NothingToRedrive, &[job, failed, cancelled]),
        Refusal::RedriveTooLarge { job, runs, limit } => {
            of(Reason::RedriveTooLarge, &[job, runs, limit])
        }
        Refusal::TooManyRedrives { job, limit } => of(Reason::TooManyRedrives, &[job, limit]),
        Refusal::JobChanged { job } => of(Reason::JobChanged, &[job]),
        Refusal::TooManyInputs { count, limit } => of(Reason::TooManyInputs, &[count, limit]),
        Refusal::TooManyJobs { limit } => of(Reason::TooManyJobs, &[limit]),
        Refusal::NoSlot { .. }
        | Refusal::NoAbleWorker { .. }
        | Refusal::InvokeTimeout { .. }
        | Refusal::InvokeLost { .. }
        | Refusal::WorkerNameTaken { .. }
        | Refusal::SessionSuperseded { .. }
        | Refusal::ProtocolMismatch { .. }
        | Refusal::ProtocolBroken { .. }
        | Refusal::SessionSilent { .. }
        | Refusal::TooManySessions { .. } => of_session(refusal),
    }
}

/// The same of invokes and of sessions.
fn of_session(refusal: &Refusal) -> (Reason, Metadata) {
    match refusal {
        Refusal::NoSlot { target, timeout_ms } => of(Reason::NoSlot, &[target, timeout_ms]),
        Refusal::NoAbleWorker {
            target,
            timeout_ms,
            missing,
        } => of(Reason::NoAbleWorker, &[target, timeout_ms, missing]),
        Refusal::InvokeTimeout {
            target,
            timeout_ms,
            worker,
        } => of(Reason::InvokeTimeout, &[target, timeout_ms, worker]),
        Refusal::InvokeLost { worker } => of(Reason::InvokeLost, &[worker]),
        Refusal::WorkerNameTaken { name } => of(Reason::WorkerNameTaken, &[name]),
        Refusal::SessionSuperseded { name } => of(Reason::SessionSuperseded, &[name]),
        Refusal::ProtocolMismatch { theirs, ours } => of(Reason::ProtocolMismatch, &[theirs, ours]),
        Refusal::ProtocolBroken { what } => of(Reason::ProtocolBroken, &[what]),
        Refusal::SessionSilent { silent_ms } => of(Reason::SessionSilent, &[silent_ms]),
        Refusal::TooManySessions { limit } => of(Reason::TooManyWorkers, &[limit]),
        // All others are told apart above.
        other => of(Reason::BadRequest, &[&"", other]),
    }
}

/// The same of what is about published functions.
fn of_function(refusal: &Refusal) -> (Reason, Metadata) {
    match refusal {
        Refusal::UnknownVersion {
            function,
            number,
            newest,
        } => {
            let newest = newest.map(|newest| newest.to_string()).unwrap_or_default();
            of(Reason::UnknownVersion, &[function, number, &newest])
        }
        Refusal::UnknownAlias {
            function,
            alias,
            aliases,
        } => of(Reason::UnknownAlias, &[function, alias, &aliases.join(",")]),
        Refusal::NotPublished { function } => of(Reason::NotPublished, &[function]),
        Refusal::FunctionBrought { function } => of(Reason::FunctionBrought, &[function]),
        Refusal::FunctionPublished { function } => of(Reason::FunctionPublished, &[function]),
        Refusal::TooManyVersions { function, limit } => {
            of(Reason::TooManyVersions, &[function, limit])
        }
        Refusal::TooManyFunctions { limit } => of(Reason::TooManyFunctions, &[limit]),
        Refusal::TooManyAliases { function, limit } => {
            of(Reason::TooManyAliases, &[function, limit])
        }
        Refusal::VersionInUse {
            function,
            number,
            alias,
        } => of(Reason::VersionInUse, &[function, number, alias]),
        Refusal::NothingToRollBack { function, alias } => {
            of(Reason::NothingToRollBack, &[function, alias])
        }
        // All others are told apart above.
        other => of(Reason::BadRequest, &[&"", other]),
    }
}

/// With the values of a reason's keys, in their order.
fn of(reason: Reason, values: &[&dyn Display]) -> (Reason, Metadata) {
    let pairs = reason.keys().iter().zip(values);
    let metadata = pairs.map(|(key, value)| ((*key).to_owned(), value.to_string()));
    (reason, metadata.collect())
}

#[cfg(test)]
mod tests {
    use umbel_core::id::JobId;
    use umbel_core::job::JobState;

    use super::*;

    fn of_redrives() -> Vec<Refusal> {
        let job = JobId::default();
        vec![
            Refusal::NotRedrivable {
                job,
                state: JobState::Succeeded,
            },
            Refusal::NothingToRedrive {
                job,
                failed: 1,
                cancelled: 2,
            },
            Refusal::RedriveTooLarge {
                job,
                runs: 2,
                limit: 1,
            },
            Refusal::TooManyRedrives { job, limit: 1 },
            Refusal::JobChanged { job },
        ]
    }

    fn of_jobs() -> Vec<Refusal> {
        let (job, name) = (JobId::default(), String::new());
        vec![
            Refusal::UnknownFunction {
                name: name.clone(),
                nearest: vec![],
            },
            Refusal::UnknownJob { job: name.clone() },
            Refusal::UnknownWorker { name: name.clone() },
            Refusal::RequestIdReused {
                request_id: name.clone(),
                job,
            },
            Refusal::RequestIdSpent {
                request_id: name.clone(),
                job,
            },
            Refusal::StoreFull {
                data_dir: name.clone(),
                option: "o",
                problem: name,
                way_out: "",
                bytes: 2,
                limit: 1,
            },
            Refusal::TooManyStreams {
                kind: "uploads",
                limit: 1,
            },
            Refusal::AppendGap {
                job,
                next_index: 1,
                first_index: 2,
            },
            Refusal::AppendSuperseded { job },
            Refusal::JobSealed { job, total: 1 },
            Refusal::SealMismatch {
                job,
                next_index: 1,
                total: 2,
            },
            Refusal::JobFinished {
                job,
                state: JobState::Failed,
            },
            Refusal::JobRunning { job },
            Refusal::TooManyInputs { count: 2, limit: 1 },
            Refusal::TooManyJobs { limit: 1 },
        ]
    }

    fn of_functions() -> Vec<Refusal> {
        let name = String::new();
        vec![
            Refusal::UnknownVersion {
                function: name.clone(),
                number: 1,
                newest: None,
            },
            Refusal::UnknownAlias {
                function: name.clone(),
                alias: name.clone(),
                aliases: vec![],
            },
            Refusal::NotPublished {
                function: name.clone(),
            },
            Refusal::FunctionBrought {
                function: name.clone(),
            },
            Refusal::FunctionPublished {
                function: name.clone(),
            },
            Refusal::TooManyVersions {
                function: name.clone(),
                limit: 1,
            },
            Refusal::TooManyFunctions { limit: 1 },
            Refusal::TooManyAliases {
                function: name.clone(),
                limit: 1,
            },
            Refusal::VersionInUse {
                function: name.clone(),
                number: 1,
                alias: name.clone(),
            },
            Refusal::NothingToRollBack {
                function: name.clone(),
                alias: name,
            },
        ]
    }

    fn of_workers() -> Vec<Refusal> {
        let name = String::new();
        vec![
            Refusal::NoSlot {
                target: name.clone(),
                timeout_ms: 1,
            },
            Refusal::NoAbleWorker {
                target: name.clone(),
                timeout_ms: 1,
                missing: name.clone(),
            },
            Refusal::InvokeTimeout {
                target: name.clone(),
                timeout_ms: 1,
                worker: name.clone(),
            },
            Refusal::InvokeLost {
                worker: name.clone(),
            },
            Refusal::WorkerNameTaken { name: name.clone() },
            Refusal::SessionSuperseded { name: name.clone() },
            Refusal::ProtocolMismatch { theirs: 2, ours: 1 },
            Refusal::ProtocolBroken { what: name },
            Refusal::SessionSilent { silent_ms: 1 },
            Refusal::TooManySessions { limit: 1 },
        ]
    }

    #[test]
    fn every_refusal_has_the_metadata_that_the_document_promises() {
        let refusals = [of_jobs(), of_redrives(), of_functions(), of_workers()].concat();
        for refusal in &refusals {
            let (reason, metadata) = reason(refusal);
            let mut keys = reason.keys().to_vec();
            keys.sort_unstable();
            assert!(
                metadata.keys().map(String::as_str).eq(keys),
                "{refusal:?} has {metadata:?}"
            );
        }
    }
}
