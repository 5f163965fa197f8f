//! Writes down what came as what is expected from now on.

use std::fs;
use std::path::Path;

use serde_json::Value;
use toml_edit::{DocumentMut, InlineTable, Item};

use super::case::{Case, Origin};
use super::judge::value;
use crate::exit::Exit;

/// Makes an output the expected one of its case. Only what is exact can be written down: a case
/// that speaks of a part, a pattern or a failure is its writer's statement.
///
/// Answers whether it could be done.
pub(crate) fn update(case: &Case, output: &[u8]) -> Result<bool, Exit> {
    let exact = case.expected.output.is_some() || case.expected.is_unsaid();
    let Some(text) = std::str::from_utf8(output).ok().filter(|_| exact) else {
        return Ok(false);
    };
    let output = value(text);
    match &case.origin {
        Origin::Folder { path } => {
            let path = path.join(format!("{}.output.json", case.name));
            write(&path, &format!("{output:#}\n"))?;
            Ok(true)
        }
        Origin::File { path, number } => {
            let unreadable = |error: &dyn std::fmt::Display| {
                Exit::usage(format!("cannot read {}: {error}", path.display()))
            };
            let written = fs::read_to_string(path).map_err(|error| unreadable(&error))?;
            let mut document: DocumentMut = written
                .parse()
                .map_err(|error: toml_edit::TomlError| unreadable(&error))?;
            let (Some(output), Some(case)) = (
                toml_of(&output),
                document
                    .get_mut("case")
                    .and_then(Item::as_array_of_tables_mut)
                    .and_then(|cases| cases.get_mut(*number)),
            ) else {
                return Ok(false);
            };
            case.insert("output", Item::Value(output));
            write(path, &document.to_string())?;
            Ok(true)
        }
    }
}

fn write(path: &Path, text: &str) -> Result<(), Exit> {
    fs::write(path, text)
        .map_err(|error| Exit::internal(format!("cannot write {}: {error}", path.display())))
}

/// The value in TOML, which has no null.
fn toml_of(value: &Value) -> Option<toml_edit::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(truth) => (*truth).into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64()?.into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(values) => {
            let values: Option<Vec<_>> = values.iter().map(toml_of).collect();
            toml_edit::Value::Array(values?.into_iter().collect())
        }
        Value::Object(object) => {
            let pairs: Option<Vec<_>> = object
                .iter()
                .map(|(key, value)| Some((key.as_str(), toml_of(value)?)))
                .collect();
            toml_edit::Value::InlineTable(pairs?.into_iter().collect::<InlineTable>())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::case;

    #[test]
    fn an_output_is_written_into_its_case_and_nothing_else_moves() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tests.toml");
        let text = "# words\n[[case]]\nname = \"a\" # why\ninput = 1\noutput = 2\n\n[[case]]\nname = \"b\"\noutput_matches = \"x\"\n";
        fs::write(&path, text).expect("a file");
        let cases = case::read(folder.path()).expect("cases");

        assert!(update(&cases[0], br#"{"a":[1.5,"x"]}"#).expect("written"));
        let updated = fs::read_to_string(&path).expect("a file");
        assert_eq!(
            updated,
            text.replace("output = 2", "output = { a = [1.5, \"x\"] }")
        );

        assert!(!update(&cases[0], b"null").expect("TOML has none"));
        assert!(!update(&cases[1], b"1").expect("a pattern stays"));
    }

    #[test]
    fn a_case_of_a_folder_gets_a_file_for_its_output() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("one.input.json"), "1").expect("a file");
        let cases = case::read(folder.path()).expect("cases");
        assert!(update(&cases[0], b"[1]").expect("written"));
        let cases = case::read(folder.path()).expect("cases");
        assert_eq!(cases[0].expected.output, Some(value("[1]")));
    }
}
