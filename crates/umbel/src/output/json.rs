//! The shapes in which things are printed as JSON: a promise to scripts.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use umbel_client::v1;

use super::text::time_us;

fn shown(time: Option<&prost_types::Timestamp>) -> Option<String> {
    time.map(ToString::to_string)
}

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

/// The word for an invocation's state.
pub(crate) const fn invocation_state(state: v1::InvocationState) -> &'static str {
    match state {
        v1::InvocationState::Waiting => "waiting",
        v1::InvocationState::Leased => "leased",
        v1::InvocationState::Succeeded => "succeeded",
        v1::InvocationState::Failed => "failed",
        v1::InvocationState::Cancelled => "cancelled",
        v1::InvocationState::Unspecified => "unknown",
    }
}

/// The word for a failure's kind.
pub(crate) const fn failure_kind(kind: v1::FailureKind) -> &'static str {
    match kind {
        v1::FailureKind::Function => "function",
        v1::FailureKind::Timeout => "timeout",
        v1::FailureKind::Crashed => "crashed",
        v1::FailureKind::Lost => "lost",
        v1::FailureKind::Rejected => "rejected",
        v1::FailureKind::Unspecified => "unknown",
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
        }
    }
}

/// Bytes as JSON: the text itself, a string, or base64.
#[derive(Debug, Serialize)]
struct Output<'a> {
    #[serde(rename = "output", skip_serializing_if = "Option::is_none")]
    text: Option<Text<'a>>,
    #[serde(rename = "output_base64", skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

#[derive(Debug)]
enum Text<'a> {
    Json(Box<RawValue>),
    Plain(&'a str),
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Json(text) => text.serialize(serializer),
            Self::Plain(text) => text.serialize(serializer),
        }
    }
}

impl<'a> Output<'a> {
    const NONE: Self = Self {
        text: None,
        base64: None,
    };

    fn of(bytes: &'a [u8]) -> Self {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Self {
                text: None,
                base64: Some(STANDARD.encode(bytes)),
            };
        };
        // An object must stay on its line. A newline in JSON is only ever space between tokens,
        // since within a string it is escaped.
        let one_line: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
        let valid = serde_json::from_str::<&RawValue>(text).is_ok();
        let json = valid
            .then(|| RawValue::from_string(one_line))
            .and_then(Result::ok);
        Self {
            text: Some(json.map_or(Text::Plain(text), Text::Json)),
            base64: None,
        }
    }
}

/// Why an invocation failed.
#[derive(Debug, Serialize)]
struct Failure<'a> {
    kind: &'static str,
    #[serde(rename = "type", skip_serializing_if = "str::is_empty")]
    type_: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    stderr: &'a str,
}

impl<'a> From<&'a v1::Failure> for Failure<'a> {
    fn from(failure: &'a v1::Failure) -> Self {
        Self {
            kind: failure_kind(failure.kind()),
            type_: &failure.r#type,
            message: &failure.message,
            stderr: &failure.stderr,
        }
    }
}

/// A result.
#[derive(Debug, Serialize)]
pub(crate) struct JobResult<'a> {
    index: u64,
    state: &'static str,
    #[serde(flatten)]
    output: Output<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failure<'a>>,
    attempts: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    function: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    worker: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_us: Option<u64>,
}

impl<'a> From<&'a v1::Result> for JobResult<'a> {
    fn from(result: &'a v1::Result) -> Self {
        let succeeded = result.state() == v1::InvocationState::Succeeded;
        Self {
            index: result.index,
            state: invocation_state(result.state()),
            output: if succeeded {
                Output::of(&result.output)
            } else {
                Output::NONE
            },
            failure: result.failure.as_ref().map(Failure::from),
            attempts: result.attempts,
            function: &result.function,
            worker: &result.worker,
            started_at: (result.started_at_us > 0).then(|| time_us(result.started_at_us)),
            duration_us: result.duration_us,
            cpu_us: result.cpu_us,
        }
    }
}

/// The answer to an invoke: a result without an index.
#[derive(Debug, Serialize)]
pub(crate) struct Invoked<'a> {
    state: &'static str,
    #[serde(flatten)]
    output: Output<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failure<'a>>,
    function: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    worker: &'a str,
    duration_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_us: Option<u64>,
}

impl<'a> Invoked<'a> {
    /// What `function` answered.
    pub(crate) fn new(function: &'a str, response: &'a v1::InvokeResponse) -> Self {
        use v1::invoke_response::Outcome;
        let (state, output, failure) = match &response.outcome {
            Some(Outcome::Output(output)) => ("succeeded", Output::of(output), None),
            Some(Outcome::Failure(failure)) => ("failed", Output::NONE, Some(failure.into())),
            None => ("unknown", Output::NONE, None),
        };
        Self {
            state,
            output,
            failure,
            function,
            worker: &response.worker,
            duration_us: response.duration_us,
            cpu_us: response.cpu_us,
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

/// A worker.
#[derive(Debug, Serialize)]
pub(crate) struct Worker<'a> {
    name: &'a str,
    state: &'static str,
    slots: u32,
    leases: u32,
    invocations: u64,
    labels: &'a BTreeMap<String, String>,
    functions: &'a [String],
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    connected_at: Option<String>,
}

impl Worker<'_> {
    /// The word for a worker's state.
    pub(crate) const fn state(state: v1::WorkerState) -> &'static str {
        match state {
            v1::WorkerState::Ready => "ready",
            v1::WorkerState::Draining => "draining",
            v1::WorkerState::Away => "away",
            v1::WorkerState::Unspecified => "unknown",
        }
    }
}

impl<'a> From<&'a v1::Worker> for Worker<'a> {
    fn from(worker: &'a v1::Worker) -> Self {
        Self {
            name: &worker.name,
            state: Self::state(worker.state()),
            slots: worker.slots,
            leases: worker.leases,
            invocations: worker.invocations,
            labels: &worker.labels,
            functions: &worker.functions,
            version: &worker.version,
            connected_at: shown(worker.connected_at.as_ref()),
        }
    }
}

/// A function.
#[derive(Debug, Serialize)]
pub(crate) struct Function<'a> {
    name: &'a str,
    workers: u32,
}

impl<'a> From<&'a v1::Function> for Function<'a> {
    fn from(function: &'a v1::Function) -> Self {
        Self {
            name: &function.name,
            workers: function.workers,
        }
    }
}

/// How the cluster stands.
#[derive(Debug, Serialize)]
pub(crate) struct Status<'a> {
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    epoch: u32,
    workers: u32,
    slots: u32,
    slots_used: u32,
    jobs_running: u64,
    jobs_kept: u64,
    invocations_waiting: u64,
    invocations_leased: u64,
    disk_bytes: u64,
    data_dir: &'a str,
}

impl<'a> From<&'a v1::GetClusterStatusResponse> for Status<'a> {
    fn from(status: &'a v1::GetClusterStatusResponse) -> Self {
        Self {
            version: &status.version,
            started_at: shown(status.started_at.as_ref()),
            epoch: status.epoch,
            workers: status.workers,
            slots: status.slots,
            slots_used: status.slots_used,
            jobs_running: status.jobs_running,
            jobs_kept: status.jobs_kept,
            invocations_waiting: status.invocations_waiting,
            invocations_leased: status.invocations_leased,
            disk_bytes: status.disk_bytes,
            data_dir: &status.data_dir,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(bytes: &[u8]) -> String {
        serde_json::to_string(&Output::of(bytes)).unwrap()
    }

    #[test]
    fn json_keeps_its_digits_and_its_order() {
        let text = r#"{"b":1.50,"a":12345678901234567890123,"c":[]}"#;
        assert_eq!(output(text.as_bytes()), format!(r#"{{"output":{text}}}"#));
        assert_eq!(output(b"42\n"), r#"{"output":42}"#);
        assert_eq!(output(b"{\n  \"a\": 1\r\n}"), r#"{"output":{  "a": 1}}"#);
    }

    #[test]
    fn what_is_no_json_is_a_string_and_what_is_no_text_is_base64() {
        assert_eq!(output(b""), r#"{"output":""}"#);
        assert_eq!(output(b"a \"b\"\n"), r#"{"output":"a \"b\"\n"}"#);
        assert_eq!(output(b"1 2"), r#"{"output":"1 2"}"#);
        assert_eq!(output(b"\xff\xfe"), r#"{"output_base64":"//4="}"#);
    }

    #[test]
    fn a_failed_result_has_a_failure_and_no_output() {
        let failure = v1::Failure {
            kind: v1::FailureKind::Function as i32,
            r#type: "ValueError".to_owned(),
            message: "no".to_owned(),
            stderr: String::new(),
        };
        let result = v1::Result {
            index: 7,
            state: v1::InvocationState::Failed as i32,
            failure: Some(failure),
            attempts: 3,
            ..v1::Result::default()
        };
        assert_eq!(
            serde_json::to_string(&JobResult::from(&result)).unwrap(),
            r#"{"index":7,"state":"failed","failure":{"kind":"function","type":"ValueError","message":"no"},"attempts":3}"#
        );
    }

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
