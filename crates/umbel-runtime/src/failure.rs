//! How an attempt fails: a kind, a type, a message and what the program said last.

use std::fmt;

use crate::tail::last_lines;

/// A failure's message is cut at this many bytes.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// A failure's type is cut at this many bytes.
const ERROR_TYPE_BYTES_MAX: usize = 255;
/// So much of what was printed is repeated in a message.
const MESSAGE_LINES_MAX: usize = 5;
const MESSAGE_LOG_BYTES_MAX: usize = 2 * 1024;

/// Who is to blame, and so whether another attempt may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The function said so: an error, a panic, an exit code other than 0, too much output.
    Function,
    /// The attempt outran its timeout.
    Timeout,
    /// The program ended without an answer of its own, or could not be started just now.
    Crashed,
    /// Nothing ran, and nothing would at the next attempt either.
    Rejected,
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Function => "function",
            Self::Timeout => "timeout",
            Self::Crashed => "crashed",
            Self::Rejected => "rejected",
        })
    }
}

/// Why an attempt failed. Every text in it is bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// Who is to blame.
    pub kind: FailureKind,
    /// One word for machines, such as `InvalidInput`, `ExitCode` or the name of an error type.
    pub error_type: String,
    /// A sentence for people, at most 64 KiB.
    pub message: String,
    /// The last of what was printed: on stderr by a program, on stdout too by an instance. Empty
    /// for a native function.
    pub log: String,
}

impl Failure {
    /// A failure of any kind; overlong texts are cut.
    pub fn new(
        kind: FailureKind,
        error_type: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            error_type: cut(error_type.into(), ERROR_TYPE_BYTES_MAX),
            message: cut(message.into(), MESSAGE_BYTES_MAX),
            log: String::new(),
        }
    }

    /// A failure that the function itself reports.
    pub fn function(error_type: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(FailureKind::Function, error_type, message)
    }

    /// Nothing ran, and another attempt would not help.
    pub(crate) fn rejected(error_type: &str, message: impl Into<String>) -> Self {
        Self::new(FailureKind::Rejected, error_type, message)
    }

    pub(crate) fn cancelled() -> Self {
        Self::function("Cancelled", "ended because the work was cancelled")
    }

    pub(crate) fn output_too_large(output_bytes_max: usize) -> Self {
        Self::function(
            "OutputTooLarge",
            format!(
                "the output is over the limit of {output_bytes_max} bytes; keep what is large elsewhere and return its address"
            ),
        )
    }

    /// Keeps what was printed, and repeats its end in the message: it mostly says why.
    pub(crate) fn with_last_lines(mut self, log: String) -> Self {
        let lines = last_lines(&log, MESSAGE_LINES_MAX, MESSAGE_LOG_BYTES_MAX);
        if !lines.is_empty() {
            self.message.push('\n');
            self.message.push_str(lines);
        }
        self.with_log(log)
    }

    pub(crate) fn with_log(mut self, log: String) -> Self {
        self.log = log;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.error_type, self.kind, self.message)
    }
}

impl std::error::Error for Failure {}

/// Cuts a text at a character's edge, without another allocation.
fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        let edge = (0..=bytes_max)
            .rev()
            .find(|&at| text.is_char_boundary(at))
            .unwrap_or(0);
        text.truncate(edge);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_at_64_kib_and_at_the_edge_of_a_character() {
        let failure = Failure::function("Long", "ü".repeat(MESSAGE_BYTES_MAX));
        assert_eq!(failure.message.len(), MESSAGE_BYTES_MAX);

        let failure = Failure::function("Long", format!("x{}", "ü".repeat(MESSAGE_BYTES_MAX)));
        assert_eq!(failure.message.len(), MESSAGE_BYTES_MAX - 1);
    }

    #[test]
    fn a_failure_reads_as_one_sentence() {
        let failure = Failure::rejected("ProgramNotFound", "no program `x`");
        assert_eq!(
            failure.to_string(),
            "ProgramNotFound (rejected): no program `x`"
        );
    }
}
