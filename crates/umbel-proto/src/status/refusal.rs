//! What the machine refuses, by reason.

use std::fmt::Display;

use umbel_core::command::Refusal;

use super::{Metadata, Reason};

/// One match over all refusals, so that one that is forgotten here does not compile: each has a
/// reason, and a value for each of the reason's keys, in their order.
macro_rules! refusals {
    ($($variant:ident $fields:tt $reason:ident [$($value:expr),*];)*) => {
        /// The reason of a refusal and what varies in it.
        pub(super) fn reason(refusal: &Refusal) -> (Reason, Metadata) {
            match refusal {
                $(Refusal::$variant $fields => of(Reason::$reason, &[$(&$value),*]),)*
            }
        }
    };
}

refusals! {
    UnknownFunction { name, nearest, .. } UnknownFunction [name, nearest.join(",")];
    UnknownVersion { function, number, newest } UnknownVersion
        [function, number, newest.map(|newest| newest.to_string()).unwrap_or_default()];
    PinnedVersionGone { job, function } PinnedVersionGone [job, function];
    UnknownAlias { function, alias, aliases } UnknownAlias [function, alias, aliases.join(",")];
    NotPublished { function } NotPublished [function];
    FunctionBrought { function } FunctionBrought [function];
    FunctionPublished { function } FunctionPublished [function];
    NoRuntime { function, runtime, workers } NoRuntime [function, runtime, workers];
    TooManyVersions { function, limit } TooManyVersions [function, limit];
    TooManyFunctions { limit } TooManyFunctions [limit];
    TooManyAliases { function, limit } TooManyAliases [function, limit];
    VersionInUse { function, number, alias } VersionInUse [function, number, alias];
    RouteInUse { alias, target } RouteInUse [alias, target];
    NoExperiment { alias } NoExperiment [alias];
    RouteLoop { alias, through } RouteLoop [alias, through.join(",")];
    RouteTooLong { alias, limit } RouteTooLong [alias, limit];
    RouteTooLarge { alias, bytes, limit } RouteTooLarge [alias, bytes, limit];
    RouteWayTooLarge { alias, bytes, limit } RouteTooLarge [alias, bytes, limit];
    NothingToRollBack { function, alias } NothingToRollBack [function, alias];
    RolloutUnderWay { alias, to } RolloutUnderWay [alias, to];
    NoRollout { alias } NoRollout [alias];
    RolloutOver { alias, to, state } RolloutOver [alias, to, state];
    RolloutImpossible { alias, to, why } RolloutImpossible [alias, to, why];
    NotPure { function, number } NotPure [function, number];
    NoShadow { alias } NoShadow [alias];
    UnknownJob { job } UnknownJob [job];
    UnknownWorker { name } UnknownWorker [name];
    RequestIdReused { request_id, job } RequestIdReused [request_id, job];
    RequestIdSpent { request_id, job } RequestIdReused [request_id, job];
    StoreFull { data_dir, option, bytes, limit, .. } StoreFull [data_dir, option, bytes, limit];
    TooManyStreams { kind, limit } TooManyStreams [kind, limit];
    AppendGap { job, next_index, first_index } AppendGap [job, next_index, first_index];
    AppendSuperseded { job } AppendSuperseded [job];
    JobSealed { job, total } JobSealed [job, total];
    SealMismatch { job, next_index, total } SealMismatch [job, next_index, total];
    JobFinished { job, state } JobFinished [job, state.as_str()];
    JobRunning { job } JobRunning [job];
    NotRedrivable { job, state } NotRedrivable [job, state.as_str()];
    NothingToRedrive { job, failed, cancelled } NothingToRedrive [job, failed, cancelled];
    RedriveTooLarge { job, runs, limit } RedriveTooLarge [job, runs, limit];
    TooManyRedrives { job, limit } TooManyRedrives [job, limit];
    JobChanged { job } JobChanged [job];
    TooManyInputs { count, limit } TooManyInputs [count, limit];
    TooManyJobs { limit } TooManyJobs [limit];
    NoSlot { target, timeout_ms } NoSlot [target, timeout_ms];
    NoAbleWorker { target, timeout_ms, missing } NoAbleWorker [target, timeout_ms, missing];
    InvokeTimeout { target, timeout_ms, worker } InvokeTimeout [target, timeout_ms, worker];
    InvokeLost { worker } InvokeLost [worker];
    WorkerNameTaken { name } WorkerNameTaken [name];
    SessionSuperseded { name } SessionSuperseded [name];
    ProtocolMismatch { theirs, ours } ProtocolMismatch [theirs, ours];
    ProtocolBroken { what } ProtocolBroken [what];
    SessionSilent { silent_ms } SessionSilent [silent_ms];
    TooManySessions { limit } TooManyWorkers [limit];
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
                deleted: false,
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
            Refusal::PinnedVersionGone {
                job: JobId::default(),
                function: name.clone(),
            },
            Refusal::NoExperiment {
                alias: name.clone(),
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
            Refusal::NoRuntime {
                function: name.clone(),
                runtime: "wasm",
                workers: 1,
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
