//! Results, and the outputs and failures in them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use umbel_client::v1;

use crate::output::text::time_us;

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

/// Bytes as JSON: the text itself, a string, or base64.
#[derive(Debug, Serialize)]
pub(super) struct Output<'a> {
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
    pub(super) const NONE: Self = Self {
        text: None,
        base64: None,
    };

    pub(super) fn of(bytes: &'a [u8]) -> Self {
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
pub(super) struct Failure<'a> {
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

/// What it took to have an instance.
#[derive(Debug, Serialize)]
pub(super) struct ColdStart {
    fetch_us: u64,
    load_us: u64,
    init_us: u64,
    first_call_us: u64,
}

/// At the desk there is nothing to fetch.
impl From<umbel_runtime::ColdStart> for ColdStart {
    fn from(cold_start: umbel_runtime::ColdStart) -> Self {
        Self {
            fetch_us: 0,
            load_us: cold_start.load_us,
            init_us: cold_start.init_us,
            first_call_us: cold_start.first_call_us,
        }
    }
}

impl From<v1::ColdStart> for ColdStart {
    fn from(cold_start: v1::ColdStart) -> Self {
        Self {
            fetch_us: cold_start.fetch_us,
            load_us: cold_start.load_us,
            init_us: cold_start.init_us,
            first_call_us: cold_start.first_call_us,
        }
    }
}

impl<'a> From<&'a umbel_runtime::Failure> for Failure<'a> {
    fn from(failure: &'a umbel_runtime::Failure) -> Self {
        use umbel_runtime::FailureKind as Kind;
        Self {
            kind: match failure.kind {
                Kind::Function => "function",
                Kind::Timeout => "timeout",
                Kind::Crashed => "crashed",
                Kind::Rejected => "rejected",
            },
            type_: &failure.error_type,
            message: &failure.message,
            stderr: &failure.log,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[serde(skip_serializing_if = "str::is_empty")]
    arm: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    worker: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cold_start: Option<ColdStart>,
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
            version: result.version,
            arm: &result.arm,
            worker: &result.worker,
            started_at: (result.started_at_us > 0).then(|| time_us(result.started_at_us)),
            duration_us: result.duration_us,
            cpu_us: result.cpu_us,
            cold_start: result.cold_start.map(ColdStart::from),
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
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[serde(skip_serializing_if = "str::is_empty")]
    arm: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    worker: &'a str,
    duration_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cold_start: Option<ColdStart>,
}

impl<'a> Invoked<'a> {
    /// What `target` answered.
    pub(crate) fn new(target: &'a str, response: &'a v1::InvokeResponse) -> Self {
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
            // A route may have led to another function than was named.
            function: if response.arm.is_empty() {
                target
            } else {
                &response.function
            },
            version: response.version,
            arm: &response.arm,
            worker: &response.worker,
            duration_us: response.duration_us,
            cpu_us: response.cpu_us,
            cold_start: response.cold_start.map(ColdStart::from),
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
}
