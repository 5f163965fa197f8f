//! A capsule as a case of a function's tests.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{Capsule, Outcome};
use crate::exit::Exit;

/// The folder of cases beside a function's code.
const FOLDER: &str = "tests";

/// Adds a case to the tests of the function in `folder`: the recorded input, and the outcome that
/// it has here. Gives the case's name.
pub(crate) fn add_to_tests(
    folder: &Path,
    capsule: &Capsule,
    found: &Outcome,
) -> Result<String, Exit> {
    let cases = if folder.file_name().is_some_and(|name| name == FOLDER) {
        folder.to_owned()
    } else {
        folder.join(FOLDER)
    };
    if !folder.is_dir() {
        let shown = folder.display();
        return Err(Exit::usage(format!("{shown} is no folder of a function")));
    }
    // The file may come from anywhere: only what cannot lead out of the folder becomes a name.
    let job = capsule.job.chars().filter(char::is_ascii_alphanumeric);
    let job: String = job.take(12).collect();
    let name = format!("job-{job}-{}", capsule.index);
    let expected = match found {
        Outcome::Succeeded(output) => {
            let text = std::str::from_utf8(output).map_err(|_| {
                Exit::usage("its output is no text, which no case can hold".to_owned())
            })?;
            let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
            (".output.json", value)
        }
        Outcome::Failed(failure) => {
            let message = format!("^{}$", regex::escape(&failure.message));
            let value = json!({"kind": failure.kind, "type": failure.type_, "message": message});
            (".failure.json", value)
        }
    };
    let written = |error: std::io::Error| {
        Exit::internal(format!(
            "the case cannot be written to {}: {error}",
            cases.display()
        ))
    };
    fs::create_dir_all(&cases).map_err(written)?;
    let (ending, value) = expected;
    let input = cases.join(format!("{name}.input.json"));
    if input.exists() {
        return Err(Exit::usage(format!(
            "there is a case {name} already; remove {} and what lies beside it to add it anew",
            input.display()
        )));
    }
    // A reader takes one final newline off.
    let mut bytes = capsule.input().to_vec();
    bytes.push(b'\n');
    fs::write(&input, bytes).map_err(written)?;
    fs::write(
        cases.join(format!("{name}{ending}")),
        format!("{value:#}\n"),
    )
    .map_err(written)?;
    Ok(name)
}
