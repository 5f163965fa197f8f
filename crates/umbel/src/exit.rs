//! How a command ends when it does not end well: the exit code and the sentence.

use std::io::{self, Write as _};
use std::process::ExitCode;

use umbel_client::Error;

/// A command that did not end well. The codes are a promise to scripts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Exit {
    /// 1: the job failed or was cancelled, or the demo's check found a wrong output.
    #[error("{0}")]
    Failed(String),
    /// 2: bad usage, or a malformed input or config file.
    #[error("{0}")]
    Usage(String),
    /// 3: the coordinator cannot be reached.
    #[error("{0}")]
    Unreachable(String),
    /// 4: refused, or the thing does not exist.
    #[error("{0}")]
    Refused(String),
    /// 130: a signal ended it. The text is a remark, not an error.
    #[error("{0}")]
    Interrupted(String),
    /// 4: something of this machine failed under it: a thread, a file, a socket.
    #[error("{0}")]
    Internal(String),
    /// 4: stdout takes no more, such as a file on a full disk.
    #[error("stdout cannot be written: {0}")]
    Stdout(String),
    /// 0: whoever read stdout has left, so nothing more is worth printing.
    #[error("stdout was closed")]
    StdoutClosed,
}

impl Exit {
    /// 1.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    /// 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// 3.
    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self::Unreachable(message.into())
    }

    /// 4.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::Refused(message.into())
    }

    /// 130.
    pub(crate) fn interrupted(message: impl Into<String>) -> Self {
        Self::Interrupted(message.into())
    }

    /// 4, for what this machine could not do.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::Internal(message.into())
    }

    /// The number that the process ends with.
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::StdoutClosed => 0,
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
            Self::Refused(_) | Self::Internal(_) | Self::Stdout(_) => 4,
            Self::Interrupted(_) => 130,
        }
    }

    /// Says on stderr what was wrong, and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let code = ExitCode::from(self.code());
        let mut stderr = io::stderr().lock();
        // Nobody is left to tell when stderr is closed.
        let _ = match &self {
            Self::StdoutClosed => Ok(()),
            Self::Interrupted(remark) if remark.is_empty() => Ok(()),
            Self::Interrupted(remark) => writeln!(stderr, "{remark}"),
            error => writeln!(stderr, "error: {error}"),
        };
        code
    }
}

impl From<Error> for Exit {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Address { .. } => Self::Usage(message),
            Error::Unreachable { .. } => Self::Unreachable(format!(
                "{message}; `umbel up` starts one on this machine, --coordinator names another"
            )),
            Error::Source(_) | Error::InputTooLarge { .. } => Self::Usage(message),
            Error::Refused(_) => Self::Refused(in_flags(&message)),
            _ => Self::Refused(message),
        }
    }
}

/// A refusal that begins with a field of a request, with the flag that sets the field instead.
fn in_flags(message: &str) -> String {
    let named = message
        .split_once(": ")
        .and_then(|(field, rest)| Some(format!("{}: {rest}", flag(field)?)));
    named.unwrap_or_else(|| message.to_owned())
}

/// The flag that sets a field of a request. Names of both are the same but for units.
fn flag(field: &str) -> Option<String> {
    let name = match field {
        "request_id" => field,
        "filter.types" => "type",
        "filter.arm" => "arm",
        "filter.ranges" => "index",
        "spec.labels" => "label",
        "spec.name" => "name",
        "route.split.key" => "key",
        "within_rate" => "within_failures",
        "within_part" => "within",
        "since" | "baseline" => field,
        _ if field.starts_with("metrics") => "metric",
        "to_version" => "to",
        "from_version" => "from",
        "plan.min_invocations" => "min",
        "plan.bake_ms" => "bake",
        _ if field.starts_with("plan.steps") => "steps",
        _ if field.starts_with("plan.guards") => "guard",
        _ if field.starts_with("route.rules") => "rule",
        _ if field.starts_with("route.split.arms") => "split",
        _ => field.strip_prefix("spec.policy.")?,
    };
    let name = match name {
        "backoff_initial_ms" | "backoff_max_ms" => "backoff",
        "tolerate_count" | "tolerate_basis_points" => "tolerate",
        "log_basis_points" => "logs",
        name => name.strip_suffix("_ms").unwrap_or(name),
    };
    let plain = |c: char| c.is_ascii_lowercase() || c == '_';
    name.chars()
        .all(plain)
        .then(|| format!("--{}", name.replace('_', "-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_field_is_named_by_its_flag() {
        let cases = [
            (
                "spec.policy.max_attempts: it is 5000",
                "--max-attempts: it is 5000",
            ),
            ("spec.policy.backoff_max_ms: no", "--backoff: no"),
            ("spec.labels: 33", "--label: 33"),
            ("filter.types: 40", "--type: 40"),
            ("no job is named \"x\": look", "no job is named \"x\": look"),
            ("route.rules[2].target: \"x\"", "--rule: \"x\""),
            ("route.split.arms[0].name: no", "--split: no"),
            ("metrics[0].pointer: \"x\"", "--metric: \"x\""),
            ("within_rate: it is 2", "--within-failures: it is 2"),
            ("plan.guards[1]: no", "--guard: no"),
            ("spec.start: 7", "spec.start: 7"),
        ];
        for (message, expected) in cases {
            assert_eq!(in_flags(message), expected);
        }
    }

    #[test]
    fn inputs_that_cannot_be_sent_are_bad_usage() {
        let malformed = Error::Source("line 3 is malformed".into());
        assert_eq!(Exit::from(malformed).code(), 2);
        let large = Error::InputTooLarge {
            index: 3,
            bytes: 2,
            max: 1,
        };
        assert_eq!(Exit::from(large).code(), 2);
    }

    #[test]
    fn an_unreachable_coordinator_is_named_with_the_way_out() {
        let error = Error::Unreachable {
            url: "http://there:1".to_owned(),
            cause: "refused".to_owned(),
        };
        let exit = Exit::from(error);
        let text = exit.to_string();
        assert_eq!(exit.code(), 3);
        assert!(
            text.contains("http://there:1") && text.contains("`umbel up`"),
            "{text}"
        );
    }

    #[test]
    fn the_codes_are_those_that_scripts_were_promised() {
        let codes = [
            (Exit::StdoutClosed, 0),
            (Exit::failed(""), 1),
            (Exit::usage(""), 2),
            (Exit::unreachable(""), 3),
            (Exit::refused(""), 4),
            (Exit::internal(""), 4),
            (Exit::interrupted(""), 130),
        ];
        for (exit, code) in codes {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }
}
