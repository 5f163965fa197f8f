//! Jobs, and why they wait.

use std::collections::BTreeMap;

use serde::Serialize;
use umbel_client::v1;

use super::shown;

/// The word for a job's state.
pub(crate) const fn job_state(state: v1::JobState) -> &'static str {
    match state {
        v1::JobState::Running => "running",
        v1::JobState::Succeeded => "succeeded",
        v1::JobState::Failed => "failed",
        v1::JobState::Cancelled => "cancelled",
        v1::JobState::Unspecified => "unknown",
    }
}

/// A job.
#[derive(Debug, Serialize)]
pub(crate) struct Job<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    target: &'a str,
    state: &'static str,
    sealed: bool,
    counts: Counts,
    attempts: u64,
    redrives: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<JobFailure<'a>>,
    usage: Usage,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<String>,
    labels: &'a BTreeMap<String, String>,
    /// The version that the job keeps to, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    /// The job whose inputs it runs copies of, if it does.
    #[serde(skip_serializing_if = "str::is_empty")]
    shadow_of: &'a str,
}

#[derive(Debug, Serialize)]
struct Counts {
    total: u64,
    waiting: u64,
    leased: u64,
    succeeded: u64,
    failed: u64,
    cancelled: u64,
}

#[derive(Debug, Serialize)]
struct JobFailure<'a> {
    kind: &'a str,
    message: &'a str,
}

#[derive(Debug, Serialize)]
struct Usage {
    duration_us: u64,
    cpu_us: u64,
    attempts: u64,
}

impl<'a> From<&'a v1::Job> for Job<'a> {
    fn from(job: &'a v1::Job) -> Self {
        let counts = job.counts.unwrap_or_default();
        let usage = job.usage.unwrap_or_default();
        Self {
            id: &job.id,
            name: &job.name,
            target: &job.target,
            state: job_state(job.state()),
            sealed: job.sealed,
            counts: Counts {
                total: counts.total,
                waiting: counts.waiting,
                leased: counts.leased,
                succeeded: counts.succeeded,
                failed: counts.failed,
                cancelled: counts.cancelled,
            },
            attempts: job.attempts,
            redrives: job.redrives,
            failure: job.failure.as_ref().map(|failure| JobFailure {
                kind: &failure.kind,
                message: &failure.message,
            }),
            usage: Usage {
                duration_us: usage.duration_us,
                cpu_us: usage.cpu_us,
                attempts: usage.attempts,
            },
            created_at: shown(job.created_at.as_ref()),
            started_at: shown(job.started_at.as_ref()),
            finished_at: shown(job.finished_at.as_ref()),
            labels: &job.labels,
            version: job.version,
            shadow_of: &job.shadow_of,
        }
    }
}

/// Jobs, newest first.
#[derive(Debug, Serialize)]
pub(crate) struct Jobs<'a> {
    jobs: Vec<Job<'a>>,
}

impl<'a> From<&'a [v1::Job]> for Jobs<'a> {
    fn from(jobs: &'a [v1::Job]) -> Self {
        Self {
            jobs: jobs.iter().map(Job::from).collect(),
        }
    }
}

/// Why a job waits.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation<'a> {
    job: Option<Job<'a>>,
    reasons: Vec<WaitReason<'a>>,
}

#[derive(Debug, Serialize)]
struct WaitReason<'a> {
    reason: &'a str,
    message: &'a str,
    invocations: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

impl<'a> From<&'a v1::ExplainJobResponse> for Explanation<'a> {
    fn from(response: &'a v1::ExplainJobResponse) -> Self {
        let reasons = response.reasons.iter().map(|reason| WaitReason {
            reason: &reason.reason,
            message: &reason.message,
            invocations: reason.invocations,
            until: shown(reason.until.as_ref()),
        });
        Self {
            job: response.job.as_ref().map(Job::from),
            reasons: reasons.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_has_the_names_that_scripts_know() {
        let job = v1::Job {
            id: "x".to_owned(),
            target: "umbel.echo".to_owned(),
            state: v1::JobState::Running as i32,
            ..v1::Job::default()
        };
        assert_eq!(
            serde_json::to_string(&Job::from(&job)).unwrap(),
            concat!(
                r#"{"id":"x","target":"umbel.echo","state":"running","sealed":false,"#,
                r#""counts":{"total":0,"waiting":0,"leased":0,"succeeded":0,"failed":0,"cancelled":0},"#,
                r#""attempts":0,"redrives":0,"usage":{"duration_us":0,"cpu_us":0,"attempts":0},"labels":{}}"#
            )
        );
    }
}
