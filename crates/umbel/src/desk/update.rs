//! Writes down what came as what is expected from now on.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
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
    // A text that is no JSON, or holds numbers that a value would round, is what it is.
    let output = if holds_as_value(text) {
        value(text)
    } else {
        Value::from(text)
    };
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
            let Some(case) = document
                .get_mut("case")
                .and_then(Item::as_array_of_tables_mut)
                .and_then(|cases| cases.get_mut(*number))
            else {
                return Ok(false);
            };
            // What TOML has not is written as the text that came.
            let output = toml_of(&output).unwrap_or_else(|| text.into());
            case.insert("output", Item::Value(output));
            write(path, &document.to_string())?;
            Ok(true)
        }
    }
}

/// Whether each whole number in a text of JSON has its place in 64 bits; others would be rounded.
fn holds_as_value(text: &str) -> bool {
    // Every second part is a string, whose quotes are told from escaped ones.
    let (mut in_text, mut escaped) = (false, false);
    let outside = text.chars().map(|char| {
        let is_quote = char == '"' && !escaped;
        escaped = in_text && char == '\\' && !escaped;
        if is_quote {
            in_text = !in_text;
        }
        if in_text || is_quote { ' ' } else { char }
    });
    let outside: String = outside.collect();
    outside
        .split(|char: char| !(char.is_ascii_alphanumeric() || "+-.".contains(char)))
        .filter(|word| {
            let digits = word.strip_prefix('-').unwrap_or(word);
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
        })
        .all(|word| word.parse::<i64>().is_ok() || word.parse::<u64>().is_ok())
}

/// Puts a file in the place of an earlier one, whole or not at all; who may read it stays.
fn write(path: &Path, text: &str) -> Result<(), Exit> {
    let replace = || -> io::Result<()> {
        // A link leads to the file that is meant.
        let place = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let folder = place.parent().unwrap_or_else(|| Path::new("."));
        // Less what the user's mask takes away.
        let mut file = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        if let Ok(earlier) = fs::metadata(&place) {
            file.as_file().set_permissions(earlier.permissions())?;
        }
        file.as_file().sync_all()?;
        file.persist(place)?;
        Ok(())
    };
    replace().map_err(|error| Exit::internal(format!("cannot write {}: {error}", path.display())))
}

/// The value in TOML, which has no null, and no whole number beyond 63 bits.
fn toml_of(value: &Value) -> Option<toml_edit::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(truth) => (*truth).into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            // A larger whole number would be rounded.
            None if number.is_u64() => return None,
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

        // What TOML has not, and what a value would round, is kept as the text that it is.
        for exact in [
            "null",
            "[1,null]",
            "18446744073709551615",
            r#"{"n":123456789012345678901234567890}"#,
        ] {
            assert!(update(&cases[0], exact.as_bytes()).expect("written"));
            let cases = case::read(folder.path()).expect("cases");
            assert_eq!(cases[0].expected.output, Some(Value::from(exact)));
        }
        assert!(update(&cases[0], b"-9223372036854775808").expect("written"));
        let updated = fs::read_to_string(&path).expect("a file");
        assert!(
            updated.contains("output = -9223372036854775808\n"),
            "{updated}"
        );
        assert!(!update(&cases[1], b"1").expect("a pattern stays"));
    }

    #[test]
    fn whole_numbers_that_do_not_fit_are_seen_and_digits_in_texts_are_not() {
        for (text, holds) in [
            ("18446744073709551615", true),
            ("18446744073709551616", false),
            ("-9223372036854775809", false),
            ("1.5e300", true),
            (
                r#"{"99999999999999999999999": [1, "99999999999999999999999\\"]}"#,
                true,
            ),
            (r#"["\"", 99999999999999999999999]"#, false),
        ] {
            assert_eq!(holds_as_value(text), holds, "{text}");
        }
    }

    #[test]
    fn a_link_and_the_rights_of_a_file_stay_as_they_are() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().expect("a folder");
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "before").expect("a file");
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).expect("chmod");
        symlink("real", &link).expect("a link");
        write(&link, "after").expect("written");
        assert!(fs::symlink_metadata(&link).expect("a link").is_symlink());
        assert_eq!(fs::read_to_string(&real).expect("a file"), "after");
        let mode = fs::metadata(&real).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2);
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
