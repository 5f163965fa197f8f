//! What a process says about an error of its function.

use serde::Deserialize;
use serde_json::Value;

use crate::failure::Failure;

/// What an error without a type is called.
const TYPE_DEFAULT: &str = "Error";
/// What a function that could not begin fails with.
const INIT_ERROR: &str = "InitError";

/// The body of an error, as the clients of the three languages write it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Report {
    error_type: String,
    error_message: String,
    /// Lines, in whatever form the language has them.
    #[serde(alias = "trace")]
    stack_trace: Vec<Value>,
}

impl Report {
    /// Reads the body. `header` is the type as the header has it, which is coarser; a body that
    /// is none of the kind is the message as it stands.
    pub(super) fn read(body: &[u8], header: Option<&str>) -> Self {
        let mut report: Self = serde_json::from_slice(body).unwrap_or_else(|_| Self {
            error_message: String::from_utf8_lossy(body).into_owned(),
            ..Self::default()
        });
        if report.error_type.is_empty() {
            report.error_type = header.unwrap_or(TYPE_DEFAULT).to_owned();
        }
        report
    }

    /// The failure of an invocation.
    pub(super) fn into_failure(self) -> Failure {
        Failure::function(self.error_type, self.error_message)
    }

    /// The failure of an instance that could not begin.
    pub(super) fn into_init_failure(self) -> Failure {
        init_failure(format!("{}: {}", self.error_type, self.error_message))
    }

    /// The stack as lines, each with its end. A language whose stacks do not name the error (as
    /// Python's do at their end, but not in this form) has it named below.
    pub(super) fn stack(&self) -> String {
        let mut lines = String::new();
        for line in &self.stack_trace {
            match line {
                Value::String(line) => lines.push_str(line.trim_end_matches('\n')),
                other => lines.push_str(&other.to_string()),
            }
            lines.push('\n');
        }
        if !lines.is_empty() && !lines.contains(&self.error_message) {
            lines.push_str(&format!("{}: {}\n", self.error_type, self.error_message));
        }
        lines
    }
}

/// A function that could not begin.
pub(super) fn init_failure(message: impl Into<String>) -> Failure {
    Failure::function(INIT_ERROR, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_language_has_its_own_form_of_a_stack() {
        let body = br#"{"errorType":"KeyError","errorMessage":"'a'","stackTrace":["  File x\n"]}"#;
        let python = Report::read(body, Some("Function.Unknown"));
        assert_eq!(python.stack(), "  File x\nKeyError: 'a'\n");
        let failure = python.into_failure();
        assert_eq!(failure.to_string(), "KeyError (function): 'a'");

        let node = Report::read(
            br#"{"errorType":"E","errorMessage":"m","trace":["E: m"," at b"]}"#,
            None,
        );
        assert_eq!(node.stack(), "E: m\n at b\n");

        let rust = Report::read(br#"{"errorType":"E","errorMessage":"m"}"#, None);
        assert_eq!(rust.stack(), "");
    }

    #[test]
    fn a_body_of_no_known_form_is_the_message() {
        let failure = Report::read(b"it broke", Some("Function.Broken")).into_failure();
        assert_eq!(failure.to_string(), "Function.Broken (function): it broke");
        let failure = Report::read(b"", None).into_init_failure();
        assert_eq!(failure.to_string(), "InitError (function): Error: ");
    }
}
