//! One ended invocation as a file (`proto/CAPSULE.md`).

mod bytes;
mod case;
mod verdict;

use std::path::Path;

use ::bytes::Bytes;
use serde::{Deserialize, Serialize};
use umbel_client::v1;
use umbel_core::limit::{INPUT_BYTES_MAX, OUTPUT_BYTES_MAX};
use umbel_runtime::Runtime;

use crate::exit::Exit;
use crate::manifest::Manifest;
use crate::output::{failure_kind, invocation_state, runtime_word};
use bytes::{InputBytes, OutputBytes};

pub(crate) use case::add_to_tests;
pub(crate) use verdict::{Outcome, Verdict};

/// The number of the format.
const FORMAT: u32 = 1;
/// The longest file: input and output of full length in their longest form, and the rest.
const FILE_BYTES_MAX: u64 = 32 << 20;

/// The file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Capsule {
    umbel_capsule: u32,
    /// The job that it comes from.
    pub(crate) job: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    job_name: String,
    /// Which of its inputs.
    pub(crate) index: u64,
    /// What its job runs.
    pub(crate) target: String,
    /// The program and its arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) program: Option<Vec<String>>,
    /// The published version that ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) function: Option<Function>,
    #[serde(flatten)]
    input: InputBytes,
    /// The number of the final attempt.
    pub(crate) attempt: u32,
    max_attempts: u32,
    /// How long one attempt may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timeout_ms: Option<u64>,
    outcome: Recorded,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    log: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    worker: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    started_at_us: u64,
    /// How long the final attempt ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) duration_us: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cpu_us: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cold_start: Option<ColdStart>,
}

/// A published version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) version: u32,
    /// Of its artifact.
    pub(crate) digest: String,
    runtime: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    handler: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    command: Vec<String>,
    /// The names of its variables, never their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) environment_names: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
}

impl From<v1::Version> for Function {
    fn from(version: v1::Version) -> Self {
        Self {
            runtime: runtime_word(version.runtime()).to_owned(),
            name: version.function,
            version: version.number,
            digest: version.artifact_digest,
            handler: version.handler,
            command: version.command,
            environment_names: version.environment_names,
            memory_bytes: version.memory_bytes,
            timeout_ms: version.timeout_ms,
        }
    }
}

impl Function {
    /// How its code is run, as far as a capsule says it.
    pub(crate) fn manifest(&self) -> Manifest {
        Manifest {
            name: self.name.clone(),
            runtime: Runtime::from_word(&self.runtime),
            handler: Some(self.handler.clone()).filter(|handler| !handler.is_empty()),
            command: self.command.clone(),
            ..Manifest::default()
        }
    }
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Recorded {
    state: String,
    #[serde(flatten)]
    output: OutputBytes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure: Option<Failure>,
}

/// Why it failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) kind: String,
    #[serde(rename = "type", default)]
    pub(crate) type_: String,
    #[serde(default)]
    pub(crate) message: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ColdStart {
    fetch_us: u64,
    load_us: u64,
    init_us: u64,
    first_call_us: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Capsule {
    /// Makes the file of what the coordinator has.
    pub(crate) fn new(capsule: umbel_client::Capsule) -> Self {
        let umbel_client::Capsule {
            head,
            input,
            output,
        } = capsule;
        let result = head.result.unwrap_or_default();
        let policy = head.policy.unwrap_or_default();
        let succeeded = result.state() == v1::InvocationState::Succeeded;
        let outcome = Recorded {
            state: invocation_state(result.state()).to_owned(),
            output: OutputBytes::of(succeeded.then_some(&output)),
            failure: result.failure.as_ref().map(|failure| Failure {
                kind: failure_kind(failure.kind()).to_owned(),
                type_: failure.r#type.clone(),
                message: failure.message.clone(),
            }),
        };
        Self {
            umbel_capsule: FORMAT,
            job: head.job_id,
            job_name: head.job_name,
            index: result.index,
            target: head.target,
            program: head.program.map(|program| program.argv),
            function: head.version.map(Function::from),
            input: InputBytes::of(Some(&input)),
            attempt: result.attempts,
            max_attempts: policy.max_attempts.unwrap_or(1),
            timeout_ms: policy.timeout_ms.filter(|&timeout_ms| timeout_ms > 0),
            outcome,
            log: head.log,
            worker: result.worker,
            started_at_us: result.started_at_us,
            duration_us: result.duration_us,
            cpu_us: result.cpu_us,
            cold_start: result.cold_start.map(|cold| ColdStart {
                fetch_us: cold.fetch_us,
                load_us: cold.load_us,
                init_us: cold.init_us,
                first_call_us: cold.first_call_us,
            }),
        }
    }

    /// The file's text.
    pub(crate) fn text(&self) -> Result<String, Exit> {
        let text = serde_json::to_string_pretty(self);
        text.map_err(|error| Exit::internal(format!("the capsule cannot be written: {error}")))
    }

    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self, Exit> {
        let shown = path.display();
        let unread = |error| Exit::usage(format!("cannot read the capsule {shown}: {error}"));
        let length = std::fs::metadata(path).map_err(unread)?.len();
        if length > FILE_BYTES_MAX {
            return Err(Exit::usage(format!(
                "{shown} has {length} bytes; a capsule has at most {FILE_BYTES_MAX}"
            )));
        }
        let text = std::fs::read(path).map_err(unread)?;
        Self::parse(&text).map_err(|what| Exit::usage(format!("{shown} is no capsule: {what}")))
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        /// The format is looked at first: the rest may mean anything in another.
        #[derive(Deserialize)]
        struct Format {
            umbel_capsule: u32,
        }
        let format: Format = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if format.umbel_capsule != FORMAT {
            let found = format.umbel_capsule;
            return Err(format!(
                "its format is {found}, this umbel reads {FORMAT}; run the umbel that wrote it"
            ));
        }
        let capsule: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        capsule.input.check("input", INPUT_BYTES_MAX)?;
        capsule.outcome.output.check("output", OUTPUT_BYTES_MAX)?;
        if capsule.input.bytes().is_none() {
            return Err("it has no `input`".to_owned());
        }
        let outcome = &capsule.outcome;
        let sound = match outcome.state.as_str() {
            "succeeded" => outcome.output.bytes().is_some() && outcome.failure.is_none(),
            "failed" => outcome.output.bytes().is_none() && outcome.failure.is_some(),
            "cancelled" => outcome.output.bytes().is_none() && outcome.failure.is_none(),
            state => return Err(format!("its outcome is {state:?}, which is no state")),
        };
        if sound {
            Ok(capsule)
        } else {
            let state = &outcome.state;
            Err(format!(
                "its outcome is {state:?} and does not hold what that has"
            ))
        }
    }

    /// The input.
    pub(crate) fn input(&self) -> Bytes {
        self.input.bytes().unwrap_or_default()
    }

    /// How it ended; none: with its job, before it had run.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        match (&self.outcome.failure, self.outcome.output.bytes()) {
            (Some(failure), _) => Some(Outcome::Failed(failure.clone())),
            (None, Some(output)) => Some(Outcome::Succeeded(output)),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(output: &'static [u8], state: v1::InvocationState) -> umbel_client::Capsule {
        let failure = v1::Failure {
            kind: v1::FailureKind::Function.into(),
            r#type: "EmptyImage".to_owned(),
            message: "0x1080".to_owned(),
            stderr: "the log lies beside it".to_owned(),
        };
        let failed = state == v1::InvocationState::Failed;
        let result = v1::Result {
            index: 7,
            state: state.into(),
            attempts: 2,
            failure: failed.then_some(failure),
            duration_us: Some(40),
            cold_start: Some(v1::ColdStart::default()),
            ..v1::Result::default()
        };
        umbel_client::Capsule {
            head: v1::Capsule {
                job_id: "x".to_owned(),
                target: "resize".to_owned(),
                result: Some(result),
                policy: Some(v1::Policy::default()),
                log: "printed\n".to_owned(),
                ..v1::Capsule::default()
            },
            input: Bytes::from_static(b"\xffin"),
            output: Bytes::from_static(output),
        }
    }

    #[test]
    fn a_capsule_comes_back_from_its_file() {
        for (output, state) in [
            (&b"{\"a\": 1}\n"[..], v1::InvocationState::Succeeded),
            (b"", v1::InvocationState::Succeeded),
            (b"\x00\xfe", v1::InvocationState::Succeeded),
            (b"", v1::InvocationState::Failed),
            (b"", v1::InvocationState::Cancelled),
        ] {
            let capsule = Capsule::new(recorded(output, state));
            let text = capsule.text().expect("text");
            let back = Capsule::parse(text.as_bytes()).expect("a capsule");
            assert_eq!(back, capsule, "{text}");
            assert_eq!(&back.input()[..], b"\xffin");
            match (state, back.outcome()) {
                (v1::InvocationState::Succeeded, Some(Outcome::Succeeded(found))) => {
                    assert_eq!(&found[..], output);
                }
                (v1::InvocationState::Failed, Some(Outcome::Failed(failure))) => {
                    assert_eq!(failure.type_, "EmptyImage");
                }
                (v1::InvocationState::Cancelled, None) => {}
                (_, outcome) => panic!("{text}: {outcome:?}"),
            }
        }
    }

    #[test]
    fn what_is_no_capsule_is_refused_with_the_reason() {
        let good = Capsule::new(recorded(b"out", v1::InvocationState::Succeeded));
        let good = good.text().expect("text");
        let cut = &good[..good.len() / 2];
        let deep = format!("{{\"umbel_capsule\": 1, \"job\": {}", "[".repeat(100_000));
        for (text, said) in [
            ("", "EOF"),
            ("{}", "umbel_capsule"),
            (cut, "EOF"),
            (&deep, "EOF"),
            (
                &good.replace("\"umbel_capsule\": 1", "\"umbel_capsule\": 2"),
                "its format is 2",
            ),
            (&good.replace("input_base64", "other"), "no `input`"),
            (
                &good.replace("\"input_base64\": \"", "\"input_base64\": \"!"),
                "input_base64",
            ),
            (
                &good.replace("\"index\": 7", "\"index\": -7"),
                "invalid value",
            ),
            (&good.replace("succeeded", "failed"), "does not hold"),
            (&good.replace("succeeded", "won"), "is no state"),
            (
                &good.replace("\"input_base64\"", "\"input\": \"a\", \"input_base64\""),
                "both",
            ),
        ] {
            let refused = Capsule::parse(text.as_bytes()).expect_err("it is none");
            assert!(refused.contains(said), "{said}: {refused}");
        }
        let long = "a".repeat(INPUT_BYTES_MAX + 1);
        let long = good.replace(
            "\"input_base64\": \"/2lu\"",
            &format!("\"input\": \"{long}\""),
        );
        let refused = Capsule::parse(long.as_bytes()).expect_err("it is too long");
        assert!(refused.contains("the limit is"), "{refused}");
    }
}
