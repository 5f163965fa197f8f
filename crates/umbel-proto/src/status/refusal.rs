//! What the machine refuses, by reason.

use std::fmt::Display;

use umbel_core::command::Refusal;

use super::{Metadata, Reason};

/// The reason of a refusal and what varies in it.
pub(super) fn reason(refusal: &Refusal) -> (Reason, Metadata) {
    match refusal {
        Refusal::UnknownFunction { name, nearest } => of(
            Reason::UnknownFunction,
            &[("function", name), ("nearest", &nearest.join(","))],
        ),
        Refusal::UnknownJob { job } => of(Reason::UnknownJob, &[("job", job)]),
        Refusal::UnknownWorker { name } => of(Reason::UnknownWorker, &[("worker", name)]),
        Refusal::RequestIdReused { request_id, job } => of(
            Reason::RequestIdReused,
            &[("request_id", request_id), ("job", job)],
        ),
        Refusal::AppendGap {
            job,
            next_index,
            first_index,
        } => of(
            Reason::AppendGap,
            &[
                ("job", job),
                ("next_index", next_index),
                ("first_index", first_index),
            ],
        ),
        Refusal::AppendSuperseded { job } => of(Reason::AppendSuperseded, &[("job", job)]),
        Refusal::JobSealed { job, total } => {
            of(Reason::JobSealed, &[("job", job), ("total", total)])
        }
        Refusal::SealMismatch {
            job,
            next_index,
            total,
        } => of(
            Reason::SealMismatch,
            &[("job", job), ("next_index", next_index), ("total", total)],
        ),
        Refusal::JobFinished { job, state } => of(
            Reason::JobFinished,
            &[("job", job), ("state", &state.as_str())],
        ),
        Refusal::JobRunning { job } => of(Reason::JobRunning, &[("job", job)]),
        Refusal::TooManyInputs { count, limit } => {
            of(Reason::TooManyInputs, &[("count", count), ("limit", limit)])
        }
        Refusal::TooManyJobs { limit } => of(Reason::TooManyJobs, &[("limit", limit)]),
        Refusal::NoSlot { target, timeout_ms } => of(
            Reason::NoSlot,
            &[("target", target), ("timeout_ms", timeout_ms)],
        ),
        Refusal::NoAbleWorker {
            target,
            timeout_ms,
            missing,
        } => of(
            Reason::NoAbleWorker,
            &[
                ("target", target),
                ("timeout_ms", timeout_ms),
                ("missing", missing),
            ],
        ),
        Refusal::InvokeTimeout {
            target,
            timeout_ms,
            worker,
        } => of(
            Reason::InvokeTimeout,
            &[
                ("target", target),
                ("timeout_ms", timeout_ms),
                ("worker", worker),
            ],
        ),
        Refusal::InvokeLost { worker } => of(Reason::InvokeLost, &[("worker", worker)]),
        Refusal::WorkerNameTaken { name } => of(Reason::WorkerNameTaken, &[("worker", name)]),
        Refusal::SessionSuperseded { name } => of(Reason::SessionSuperseded, &[("worker", name)]),
        Refusal::ProtocolMismatch { theirs, ours } => of(
            Reason::ProtocolMismatch,
            &[("theirs", theirs), ("ours", ours)],
        ),
        Refusal::ProtocolBroken { what } => of(Reason::ProtocolBroken, &[("problem", what)]),
        Refusal::SessionSilent { silent_ms } => {
            of(Reason::SessionSilent, &[("silent_ms", silent_ms)])
        }
        Refusal::TooManySessions { limit } => of(Reason::TooManyWorkers, &[("limit", limit)]),
    }
}

fn of(reason: Reason, pairs: &[(&str, &dyn Display)]) -> (Reason, Metadata) {
    let pairs = pairs.iter();
    let metadata = pairs.map(|(key, value)| ((*key).to_owned(), value.to_string()));
    (reason, metadata.collect())
}

#[cfg(test)]
mod tests {
    use umbel_core::id::JobId;
    use umbel_core::job::JobState;

    use super::*;

    #[test]
    fn every_refusal_has_the_metadata_that_the_document_promises() {
        let (job, name) = (JobId::default(), String::new());
        let refusals = [
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
        ];
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
