//! Whether what came of a case is what it expects, and if not, where they differ.

use serde_json::Value;
use umbel_runtime::Failure;

use super::Attempt;
use super::case::{Expected, ExpectedFailure};

/// Nothing if the attempt is as expected; else why not, in lines.
pub(crate) fn judge(expected: &Expected, attempt: &Attempt) -> Result<(), String> {
    match (&attempt.execution.outcome, &expected.failure) {
        (Ok(()), None) => judge_output(expected, &attempt.output),
        (Ok(()), Some(_)) => Err(format!(
            "it should have failed, and succeeded with {}",
            shown(&attempt.output)
        )),
        (Err(failure), None) => Err(format!(
            "it failed: {} {}: {}",
            failure.kind, failure.error_type, failure.message
        )),
        (Err(failure), Some(expected)) => judge_failure(expected, failure),
    }
}

fn judge_output(expected: &Expected, output: &[u8]) -> Result<(), String> {
    let Ok(text) = std::str::from_utf8(output) else {
        return if expected.is_unsaid() {
            Ok(())
        } else {
            Err(format!("the output is no text: {} bytes", output.len()))
        };
    };
    // What is no JSON is the text that it is.
    let actual = value(text);
    if let Some(expected) = &expected.output
        && *expected != actual
        && expected.as_str() != Some(text)
    {
        return Err(difference(expected, &actual));
    }
    if let Some(subset) = &expected.subset {
        let part = part_of(&actual, subset);
        if part != *subset {
            return Err(difference(subset, &part));
        }
    }
    // A text is matched as it is meant, without JSON's quotes.
    let plain = actual.as_str().unwrap_or(text);
    match &expected.matches {
        Some(pattern) if !pattern.is_match(plain) => Err(format!(
            "nothing in the output matches `{pattern}`: {}",
            shown(output)
        )),
        _ => Ok(()),
    }
}

fn judge_failure(expected: &ExpectedFailure, failure: &Failure) -> Result<(), String> {
    let kind = failure.kind.to_string();
    let words = [
        ("kind", expected.kind.as_ref(), &kind),
        ("type", expected.error_type.as_ref(), &failure.error_type),
    ];
    for (word, expected, actual) in words {
        if let Some(expected) = expected.filter(|expected| *expected != actual) {
            return Err(format!(
                "it failed with the {word} `{actual}`, not `{expected}`: {}",
                failure.message
            ));
        }
    }
    match &expected.message {
        Some(pattern) if !pattern.is_match(&failure.message) => Err(format!(
            "nothing in the failure's message matches `{pattern}`: {}",
            failure.message
        )),
        _ => Ok(()),
    }
}

/// An output as a value: JSON, or the text.
pub(crate) fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

/// What `subset` speaks of in `actual`: of an object the keys that it names, of an array each
/// element by its place. An array that is longer or shorter stays so.
fn part_of(actual: &Value, subset: &Value) -> Value {
    match (actual, subset) {
        (Value::Object(actual), Value::Object(subset)) => subset
            .iter()
            .filter_map(|(key, subset)| Some((key.clone(), part_of(actual.get(key)?, subset))))
            .collect(),
        (Value::Array(actual), Value::Array(subset)) => {
            let pairs = actual.iter().enumerate();
            pairs
                .map(|(at, actual)| {
                    subset
                        .get(at)
                        .map_or_else(|| actual.clone(), |subset| part_of(actual, subset))
                })
                .collect()
        }
        _ => actual.clone(),
    }
}

/// The lines that differ, `-` as expected and `+` as it came, with a few around them.
fn difference(expected: &Value, actual: &Value) -> String {
    let [expected, actual] = [expected, actual].map(lines);
    let lines = crate::output::difference(&expected, &actual);
    format!("- expected\n+ as it came\n{}", lines.trim_end())
}

/// A value for people: a text by its own lines, all else as JSON with a line for each part.
fn lines(value: &Value) -> String {
    match value {
        Value::String(text) if text.contains('\n') => text.clone(),
        _ => format!("{value:#}"),
    }
}

fn shown(output: &[u8]) -> String {
    crate::output::one_line(&String::from_utf8_lossy(output), 400)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use regex::Regex;
    use serde_json::json;
    use umbel_runtime::Execution;

    use super::*;

    fn succeeded(output: &str) -> Attempt {
        let mut attempt = failed("", "");
        attempt.execution.outcome = Ok(());
        attempt.output = output.as_bytes().to_vec();
        attempt
    }

    fn failed(error_type: &str, message: &str) -> Attempt {
        Attempt {
            output: Vec::new(),
            execution: Execution::failed(Failure::function(error_type, message)),
            duration: Duration::ZERO,
        }
    }

    fn output(expected: Value) -> Expected {
        Expected {
            output: Some(expected),
            ..Expected::default()
        }
    }

    #[test]
    fn an_exact_output_is_the_same_value_or_the_same_text() {
        for (expected, came, same) in [
            (json!({"a": 1, "b": [2]}), r#"{"b":[2],"a":1}"#, true),
            (json!("640x480"), "640x480", true),
            (json!("640x480"), "\"640x480\"", true),
            (json!("5"), "5", true),
            (json!(5), "5", true),
            (json!(5), "5.0", false),
            (json!({"a": 1}), r#"{"a":1,"b":2}"#, false),
            (json!(""), "", true),
        ] {
            let judged = judge(&output(expected.clone()), &succeeded(came));
            assert_eq!(judged.is_ok(), same, "{expected} {came}: {judged:?}");
        }
    }

    #[test]
    fn a_subset_looks_only_at_what_it_names() {
        let subset = |value| Expected {
            subset: Some(value),
            ..Expected::default()
        };
        let came = succeeded(r#"{"id":7,"at":"noon","parts":[{"n":1,"t":5},{"n":2,"t":6}]}"#);
        for (value, same) in [
            (json!({"id": 7}), true),
            (json!({"parts": [{"n": 1}, {"n": 2}]}), true),
            (json!({"parts": [{"n": 1}]}), false),
            (json!({"id": 8}), false),
            (json!({"gone": 1}), false),
        ] {
            let judged = judge(&subset(value.clone()), &came);
            assert_eq!(judged.is_ok(), same, "{value}: {judged:?}");
        }
        let why = judge(&subset(json!({"id": 8})), &came).expect_err("differs");
        assert_eq!(
            why,
            "- expected\n+ as it came\n  {\n-   \"id\": 8\n+   \"id\": 7\n  }"
        );
    }

    #[test]
    fn a_pattern_may_match_anywhere_in_the_text() {
        let pattern = |pattern| Expected {
            matches: Some(Regex::new(pattern).expect("a pattern")),
            ..Expected::default()
        };
        for came in ["640x480", "\"640x480\""] {
            assert!(judge(&pattern(r"^\d+x\d+$"), &succeeded(came)).is_ok());
        }
        let why = judge(&pattern("^x"), &succeeded("640x480")).expect_err("no match");
        assert_eq!(why, "nothing in the output matches `^x`: 640x480");
    }

    #[test]
    fn a_failure_can_be_what_is_expected() {
        let failing = |error_type: &str, message: &str| Expected {
            failure: Some(ExpectedFailure {
                kind: Some("function".to_owned()),
                error_type: Some(error_type.to_owned()),
                message: Some(Regex::new(message).expect("a pattern")),
            }),
            ..Expected::default()
        };
        let came = failed("EmptyImage", "0x1080");
        assert!(judge(&failing("EmptyImage", "^0x"), &came).is_ok());
        let why = judge(&failing("KeyError", ""), &came).expect_err("another type");
        assert_eq!(
            why,
            "it failed with the type `EmptyImage`, not `KeyError`: 0x1080"
        );
        assert!(judge(&failing("EmptyImage", "^1"), &came).is_err());
        let why = judge(&failing("EmptyImage", ""), &succeeded("1")).expect_err("no failure");
        assert_eq!(why, "it should have failed, and succeeded with 1");
        let why = judge(&output(json!(1)), &came).expect_err("a failure");
        assert_eq!(why, "it failed: function EmptyImage: 0x1080");
    }
}
