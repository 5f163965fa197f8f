//! Jobs, invocations, workers and the whole, as they are shown.

use std::ops::Range;

use prost_types::Timestamp;
use umbel_core::id::Index;
use umbel_core::job::{Counts, JobState, Usage};
use umbel_core::limit::JOB_INPUTS_MAX;
use umbel_core::view::{ClusterView, InvocationView, JobView, WaitReason, WorkerState, WorkerView};

use super::Invalid;
use super::function::wire_runtimes;
use super::policy::wire_policy;
use crate::v1;

/// A point in time, from milliseconds since 1970.
#[must_use]
pub fn timestamp(ms: u64) -> Timestamp {
    let nanos = (ms % 1_000) * 1_000_000;
    Timestamp {
        seconds: i64::try_from(ms / 1_000).unwrap_or(i64::MAX),
        nanos: i32::try_from(nanos).unwrap_or(0),
    }
}

/// A job.
#[must_use]
pub fn job(view: &JobView) -> v1::Job {
    let (record, status) = (&view.record, &view.status);
    v1::Job {
        id: record.id.to_string(),
        name: record.spec.name.clone(),
        target: view.target().display(),
        state: wire_job_state(status.state).into(),
        sealed: status.sealed.is_some(),
        counts: Some(counts(view.counts)),
        attempts: view.usage.attempts,
        redrives: status.redrives,
        failure: status.failure.as_ref().map(|failure| v1::JobFailure {
            kind: failure.kind.as_str().to_owned(),
            message: failure.message.clone(),
        }),
        usage: Some(usage(view.usage)),
        created_at: Some(timestamp(record.created_ms)),
        started_at: status.started_ms.map(timestamp),
        finished_at: status.finished_ms.map(timestamp),
        labels: record.spec.labels.clone(),
        policy: Some(wire_policy(&record.spec.policy)),
        version: view.version,
        shadow_of: record
            .shadow_of
            .as_ref()
            .map_or_else(String::new, |of| of.job.to_string()),
    }
}

fn wire_job_state(state: JobState) -> v1::JobState {
    match state {
        JobState::Running => v1::JobState::Running,
        JobState::Succeeded => v1::JobState::Succeeded,
        JobState::Failed => v1::JobState::Failed,
        JobState::Cancelled => v1::JobState::Cancelled,
    }
}

/// Reads the state that a list is filtered by; `None`: any.
///
/// # Errors
/// When it is a state that this program does not know.
pub fn job_state(field: &str, wire: i32) -> Result<Option<JobState>, Invalid> {
    match v1::JobState::try_from(wire) {
        Ok(v1::JobState::Unspecified) => Ok(None),
        Ok(v1::JobState::Running) => Ok(Some(JobState::Running)),
        Ok(v1::JobState::Succeeded) => Ok(Some(JobState::Succeeded)),
        Ok(v1::JobState::Failed) => Ok(Some(JobState::Failed)),
        Ok(v1::JobState::Cancelled) => Ok(Some(JobState::Cancelled)),
        Err(_) => Err(Invalid::bad(
            field,
            format!("job state {wire} is not known"),
        )),
    }
}

/// Reads the indices that results are asked for; what lies beyond a job is none.
///
/// # Errors
/// When the range ends before it begins.
pub fn index_range(field: &str, wire: v1::IndexRange) -> Result<Range<Index>, Invalid> {
    let v1::IndexRange { begin, end } = wire;
    if end < begin {
        return Err(Invalid::bad(
            field,
            format!("{begin}..{end} ends before it begins"),
        ));
    }
    let bounded = |index| Index::try_from(index).map_or(JOB_INPUTS_MAX, |i| i.min(JOB_INPUTS_MAX));
    Ok(bounded(begin)..bounded(end))
}

fn counts(counts: Counts) -> v1::Counts {
    v1::Counts {
        total: counts.total,
        waiting: counts.waiting,
        leased: counts.leased,
        succeeded: counts.succeeded,
        failed: counts.failed,
        cancelled: counts.cancelled,
    }
}

fn usage(usage: Usage) -> v1::Usage {
    v1::Usage {
        duration_us: usage.duration_us,
        cpu_us: usage.cpu_us,
        attempts: usage.attempts,
    }
}

/// An invocation as the machine knows it; of a final one only its state.
#[must_use]
pub fn invocation(index: Index, view: InvocationView) -> v1::Invocation {
    let (state, attempts, due_ms) = match view {
        InvocationView::Waiting { history, due_ms } => {
            (v1::InvocationState::Waiting, history.attempts(), due_ms)
        }
        InvocationView::Leased { history } => (v1::InvocationState::Leased, history.attempts(), 0),
        InvocationView::Succeeded => (v1::InvocationState::Succeeded, 0, 0),
        InvocationView::Failed => (v1::InvocationState::Failed, 0, 0),
        InvocationView::Cancelled => (v1::InvocationState::Cancelled, 0, 0),
    };
    v1::Invocation {
        index: index.into(),
        state: state.into(),
        attempts,
        result: None,
        due_at: (due_ms > 0).then(|| timestamp(due_ms)),
    }
}

/// A final invocation with its result.
#[must_use]
pub fn invocation_of_result(result: v1::Result) -> v1::Invocation {
    v1::Invocation {
        index: result.index,
        state: result.state,
        attempts: result.attempts,
        result: Some(result),
        due_at: None,
    }
}

/// A worker.
#[must_use]
pub fn worker(view: WorkerView) -> v1::Worker {
    let state = match view.state {
        WorkerState::Ready => v1::WorkerState::Ready,
        WorkerState::Draining => v1::WorkerState::Draining,
        WorkerState::Away => v1::WorkerState::Away,
    };
    v1::Worker {
        name: view.name,
        state: state.into(),
        slots: view.slots,
        leases: view.leases,
        invocations: view.invocations,
        labels: view.labels,
        functions: view.functions,
        version: view.version,
        connected_at: Some(timestamp(view.connected_ms)),
        runtimes: wire_runtimes(view.runtimes),
    }
}

/// The whole, as far as the machine knows it: the shell adds when it began, its
/// epoch, and where and how much it stores.
#[must_use]
pub fn cluster_status(view: ClusterView) -> v1::GetClusterStatusResponse {
    v1::GetClusterStatusResponse {
        version: crate::VERSION.to_owned(),
        workers: view.workers,
        slots: view.slots,
        slots_used: view.slots_used,
        jobs_running: view.jobs_running,
        jobs_kept: view.jobs_kept,
        invocations_waiting: view.invocations_waiting,
        invocations_leased: view.invocations_leased,
        ..v1::GetClusterStatusResponse::default()
    }
}

/// Why some invocations wait.
#[must_use]
pub fn wait_reason(reason: WaitReason) -> v1::WaitReason {
    v1::WaitReason {
        reason: reason.reason.to_owned(),
        message: reason.message,
        invocations: reason.invocations,
        until: reason.until_ms.map(timestamp),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use umbel_core::change::{JobRecord, JobStatus};
    use umbel_core::history::History;
    use umbel_core::id::JobId;
    use umbel_core::job::{JobFailure, JobFailureKind, JobSpec, Source, StartMode, Target};
    use umbel_core::policy::{Labels, Policy};

    use super::*;

    #[test]
    fn a_job_shows_its_words_and_times() {
        let view = JobView {
            record: Arc::new(JobRecord {
                id: JobId([1; 16]),
                spec: JobSpec {
                    name: "nightly".into(),
                    target: Target::Program(vec!["tr".into(), "a-z".into()]),
                    policy: Policy::default(),
                    labels: Labels::new(),
                    start: StartMode::AsSealed,
                },
                source: Source::Blocks,
                routing: None,
                request_id: String::new(),
                content_digest: [0; 32],
                created_ms: 1_500,
                version: None,
                shadow_of: None,
            }),
            status: JobStatus {
                state: JobState::Failed,
                sealed: Some(3),
                failure: Some(JobFailure {
                    kind: JobFailureKind::Tolerance,
                    message: "2 failed".into(),
                }),
                started_ms: None,
                finished_ms: Some(2_000),
                redrives: 1,
                redriven: None,
                pinned: None,
                routing: None,
                summary: None,
            },
            counts: Counts {
                total: 3,
                failed: 2,
                cancelled: 1,
                ..Counts::default()
            },
            usage: Usage {
                duration_us: 5,
                cpu_us: 4,
                attempts: 2,
            },
            version: None,
        };
        let job = job(&view);
        assert_eq!(job.target, "exec:tr");
        assert_eq!(
            (job.state(), job.sealed, job.attempts),
            (v1::JobState::Failed, true, 2)
        );
        assert_eq!(job.failure.unwrap().kind, "tolerance");
        assert_eq!(
            job.created_at,
            Some(Timestamp {
                seconds: 1,
                nanos: 500_000_000
            })
        );
        assert_eq!(job.started_at, None);
        assert_eq!(job.policy.unwrap().timeout_ms, Some(900_000));
    }

    #[test]
    fn a_waiting_invocation_shows_its_attempts_and_when_it_is_due() {
        let history = History {
            failed: 2,
            lost: 1,
            ..History::FRESH
        };
        let shown = invocation(
            4,
            InvocationView::Waiting {
                history,
                due_ms: 9_000,
            },
        );
        assert_eq!((shown.index, shown.attempts), (4, 3));
        assert_eq!(shown.due_at.unwrap().seconds, 9);
    }

    #[test]
    fn filters_are_read_or_refused() {
        assert_eq!(job_state("state", 0), Ok(None));
        assert_eq!(job_state("state", 2), Ok(Some(JobState::Succeeded)));
        assert_eq!(job_state("state", 77).unwrap_err().field, "state");
        let range = |begin, end| index_range("range", v1::IndexRange { begin, end });
        assert_eq!(range(3, u64::MAX), Ok(3..JOB_INPUTS_MAX));
        assert_eq!(range(3, 2).unwrap_err().field, "range");
    }
}
