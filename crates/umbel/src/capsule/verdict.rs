//! Whether two outcomes are the same, and what differs.

use bytes::Bytes;

use super::Failure;
use crate::output::{difference, one_line};

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With this output.
    Succeeded(Bytes),
    /// With this failure.
    Failed(Failure),
}

/// What two outcomes say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Whether they are the same: the output to the byte, a failure's kind, type and message.
    pub(crate) same: bool,
    /// Lines that show what differs, `-` of the first, `+` of the second; empty if nothing does.
    pub(crate) difference: String,
}

const WIDTH: usize = 200;

impl Outcome {
    /// The outcome in a line.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Succeeded(output) => {
                let text = String::from_utf8_lossy(output);
                format!("succeeded with {}", one_line(text.trim_end(), WIDTH))
            }
            Self::Failed(failure) => format!(
                "failed: {} {}: {}",
                failure.kind,
                failure.type_,
                one_line(&failure.message, WIDTH)
            ),
        }
    }

    /// The text in which it is compared line by line.
    fn lines(&self) -> String {
        match self {
            Self::Succeeded(output) => match std::str::from_utf8(output) {
                Ok(text) => serde_json::from_str::<serde_json::Value>(text)
                    .ok()
                    .and_then(|json| serde_json::to_string_pretty(&json).ok())
                    .unwrap_or_else(|| text.to_owned()),
                Err(_) => format!("{} bytes that are no text", output.len()),
            },
            Self::Failed(failure) => format!(
                "failure {} {}\n{}",
                failure.kind, failure.type_, failure.message
            ),
        }
    }
}

impl Verdict {
    /// Holds a second outcome against a first.
    pub(crate) fn of(first: &Outcome, second: &Outcome) -> Self {
        if first == second {
            return Self {
                same: true,
                difference: String::new(),
            };
        }
        let (one, other) = (first.lines(), second.lines());
        let difference = if one == other {
            // The same JSON in other spaces, or other bytes that are no text.
            let at = |outcome: &Outcome| match outcome {
                Outcome::Succeeded(output) => output.clone(),
                Outcome::Failed(_) => Bytes::new(),
            };
            let (one, other) = (at(first), at(second));
            let alike = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
            format!(
                "they are written differently from byte {alike} on: {} bytes and {} bytes\n",
                one.len(),
                other.len()
            )
        } else {
            difference(&one, &other)
        };
        Self {
            same: false,
            difference,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(text: &'static str) -> Outcome {
        Outcome::Succeeded(Bytes::from_static(text.as_bytes()))
    }

    fn failure(message: &str) -> Outcome {
        Outcome::Failed(Failure {
            kind: "function".to_owned(),
            type_: "E".to_owned(),
            message: message.to_owned(),
        })
    }

    #[test]
    fn outcomes_are_the_same_to_the_byte() {
        assert!(Verdict::of(&output("a"), &output("a")).same);
        assert!(Verdict::of(&failure("m"), &failure("m")).same);
        for (one, other, shown) in [
            (output("a"), output("b"), "- a\n+ b\n"),
            (
                output(r#"{"a":1,"b":2}"#),
                output(r#"{"a":1,"b":3}"#),
                "-   \"b\": 2\n+   \"b\": 3\n",
            ),
            (output("[1]"), output("[ 1 ]"), "from byte 1 on"),
            (failure("m"), failure("n"), "- m\n+ n\n"),
            (failure("m"), output("m"), "- failure function E\n"),
        ] {
            let verdict = Verdict::of(&one, &other);
            assert!(!verdict.same);
            assert!(verdict.difference.contains(shown), "{}", verdict.difference);
        }
    }
}
