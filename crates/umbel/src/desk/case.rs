//! The cases of a function: what it is given, and what is to come of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use crate::config;
use crate::exit::Exit;

/// The file of cases beside a function's code, and the folder of cases.
const FILE_NAME: &str = "tests.toml";
const FOLDER_NAME: &str = "tests";
/// How a case's input is named in a folder.
const INPUT: &str = ".input.json";

/// One input, and what is to come of it.
#[derive(Debug)]
pub(crate) struct Case {
    /// Unique among its function's cases.
    pub(crate) name: String,
    pub(crate) input: Vec<u8>,
    pub(crate) expected: Expected,
    /// Where it was read from, and what an update changes.
    pub(crate) origin: Origin,
}

/// What is to come of an input. Nothing: any output will do.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    /// The output, all of it.
    pub(crate) output: Option<Value>,
    /// What the output has among other things.
    pub(crate) subset: Option<Value>,
    /// What the output's text matches somewhere.
    pub(crate) matches: Option<Regex>,
    /// That it fails.
    pub(crate) failure: Option<ExpectedFailure>,
}

/// A failure that is meant. What is left out is not looked at.
#[derive(Debug, Default)]
pub(crate) struct ExpectedFailure {
    pub(crate) kind: Option<String>,
    pub(crate) error_type: Option<String>,
    /// What its message matches somewhere.
    pub(crate) message: Option<Regex>,
}

/// Where a case was read from.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// The case of this number, from 0, in a file of them.
    File { path: PathBuf, number: usize },
    /// Files of this folder whose names begin with the case's.
    Folder { path: PathBuf },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    case: Vec<Written>,
}

/// A case as it stands in a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    /// A text is given as it stands, all else as JSON.
    input: Option<toml::Value>,
    /// A file with the input, from the folder of this one on.
    input_file: Option<PathBuf>,
    output: Option<toml::Value>,
    output_subset: Option<toml::Value>,
    output_matches: Option<String>,
    failure: Option<WrittenFailure>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFailure {
    kind: Option<String>,
    #[serde(rename = "type")]
    error_type: Option<String>,
    message: Option<String>,
}

/// Reads the cases of `place`: a file of them, a folder of them, or a function's folder that has
/// either or both.
pub(crate) fn read(place: &Path) -> Result<Vec<Case>, Exit> {
    let mut cases = Vec::new();
    if place.is_file() {
        read_file(place, &mut cases)?;
    } else {
        let (file, inner) = (place.join(FILE_NAME), place.join(FOLDER_NAME));
        if file.exists() {
            read_file(&file, &mut cases)?;
        }
        read_folder(place, &mut cases)?;
        if inner.is_dir() {
            read_folder(&inner, &mut cases)?;
        }
    }
    if cases.is_empty() {
        return Err(Exit::usage(format!(
            "no cases in {}; write [[case]] tables with name, input and output into {FILE_NAME}, or \
             NAME{INPUT} and NAME.output.json into {FOLDER_NAME}/",
            place.display()
        )));
    }
    let mut names = BTreeSet::new();
    match cases.iter().find(|case| !names.insert(&case.name)) {
        Some(twice) => Err(Exit::usage(format!(
            "there are two cases named `{}`",
            twice.name
        ))),
        None => Ok(cases),
    }
}

fn read_file(path: &Path, cases: &mut Vec<Case>) -> Result<(), Exit> {
    let file: File = config::parse(path, &text(path)?)?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    for (number, written) in file.case.into_iter().enumerate() {
        let wrong = |what: String| {
            Exit::usage(format!(
                "{}: case `{}`: {what}",
                path.display(),
                written.name
            ))
        };
        let input = match (&written.input, &written.input_file) {
            (Some(_), Some(_)) => {
                return Err(wrong(
                    "`input` and `input_file` exclude each other".to_owned(),
                ));
            }
            (Some(toml::Value::String(text)), None) => text.clone().into_bytes(),
            (Some(value), None) => json(value).to_string().into_bytes(),
            (None, Some(file)) => bytes(&folder.join(file))?,
            (None, None) => Vec::new(),
        };
        let expected = Expected {
            output: written.output.as_ref().map(json),
            subset: written.output_subset.as_ref().map(json),
            matches: regex(written.output_matches.as_deref()).map_err(wrong)?,
            failure: written
                .failure
                .as_ref()
                .map(WrittenFailure::expected)
                .transpose()
                .map_err(wrong)?,
        };
        expected.check().map_err(wrong)?;
        cases.push(Case {
            expected,
            input,
            origin: Origin::File {
                path: path.to_owned(),
                number,
            },
            name: written.name,
        });
    }
    Ok(())
}

/// Each `NAME.input.json` is a case; what is to come of it stands in `NAME.output.json`,
/// `NAME.subset.json`, `NAME.matches` or `NAME.failure.json`.
fn read_folder(path: &Path, cases: &mut Vec<Case>) -> Result<(), Exit> {
    let unreadable =
        |error: std::io::Error| Exit::usage(format!("cannot read {}: {error}", path.display()));
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        if let Some(name) = name.to_str().and_then(|name| name.strip_suffix(INPUT)) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    for name in names {
        let file =
            |ending: &str| Some(path.join(format!("{name}{ending}"))).filter(|it| it.exists());
        let wrong =
            |what: String| Exit::usage(format!("{}: case `{name}`: {what}", path.display()));
        let failure = file(".failure.json")
            .map(|it| parsed::<WrittenFailure>(&it))
            .transpose()?;
        let matches = file(".matches").map(|it| text(&it)).transpose()?;
        let expected = Expected {
            output: file(".output.json").map(|it| parsed(&it)).transpose()?,
            subset: file(".subset.json").map(|it| parsed(&it)).transpose()?,
            matches: regex(matches.as_deref().map(str::trim_end)).map_err(wrong)?,
            failure: failure
                .as_ref()
                .map(WrittenFailure::expected)
                .transpose()
                .map_err(wrong)?,
        };
        expected.check().map_err(wrong)?;
        cases.push(Case {
            input: bytes(&path.join(format!("{name}{INPUT}")))?,
            expected,
            origin: Origin::Folder {
                path: path.to_owned(),
            },
            name,
        });
    }
    Ok(())
}

impl Expected {
    fn check(&self) -> Result<(), String> {
        let output = self.output.is_some() || self.subset.is_some() || self.matches.is_some();
        if output && self.failure.is_some() {
            return Err("it expects an output and a failure; only one of them can come".to_owned());
        }
        Ok(())
    }

    /// Whether anything is said at all.
    pub(crate) const fn is_unsaid(&self) -> bool {
        self.output.is_none()
            && self.subset.is_none()
            && self.matches.is_none()
            && self.failure.is_none()
    }
}

impl WrittenFailure {
    fn expected(&self) -> Result<ExpectedFailure, String> {
        Ok(ExpectedFailure {
            kind: self.kind.clone(),
            error_type: self.error_type.clone(),
            message: regex(self.message.as_deref())?,
        })
    }
}

fn regex(pattern: Option<&str>) -> Result<Option<Regex>, String> {
    pattern
        .map(|pattern| Regex::new(pattern).map_err(|error| error.to_string()))
        .transpose()
}

fn text(path: &Path) -> Result<String, Exit> {
    fs::read_to_string(path)
        .map_err(|error| Exit::usage(format!("cannot read {}: {error}", path.display())))
}

/// A file without its final newline, which editors add.
fn bytes(path: &Path) -> Result<Vec<u8>, Exit> {
    let mut bytes = fs::read(path)
        .map_err(|error| Exit::usage(format!("cannot read {}: {error}", path.display())))?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Ok(bytes)
}

fn parsed<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Exit> {
    serde_json::from_str(&text(path)?)
        .map_err(|error| Exit::usage(format!("{}: {error}", path.display())))
}

/// A value of TOML as one of JSON; a time is its text.
fn json(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::from(text.as_str()),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Float(number) => Value::from(*number),
        toml::Value::Boolean(truth) => Value::from(*truth),
        toml::Value::Datetime(time) => Value::from(time.to_string()),
        toml::Value::Array(values) => values.iter().map(json).collect(),
        toml::Value::Table(table) => table
            .iter()
            .map(|(key, value)| (key.clone(), json(value)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join(FOLDER_NAME)).expect("a folder");
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("a file");
        }
        folder
    }

    fn refused(files: &[(&str, &str)]) -> String {
        let folder = folder(files);
        read(folder.path()).expect_err("it is wrong").to_string()
    }

    #[test]
    fn cases_stand_in_a_file_and_in_a_folder() {
        let folder = folder(&[
            (
                FILE_NAME,
                "[[case]]\nname = \"text\"\ninput = \"as it stands\"\noutput_matches = \"^a\"\n\
                 [[case]]\nname = \"json\"\ninput = { b = 1, a = [true] }\noutput = 2\n\
                 [[case]]\nname = \"bad\"\ninput = 0\nfailure = { type = \"Empty\", message = \"no\" }\n",
            ),
            ("tests/one.input.json", "{\"x\": 1}\n"),
            ("tests/one.output.json", "\"1\"\n"),
            ("tests/two.input.json", "2"),
        ]);
        let cases = read(folder.path()).expect("cases");
        let names: Vec<_> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names, ["text", "json", "bad", "one", "two"]);
        assert_eq!(cases[0].input, b"as it stands");
        assert_eq!(cases[1].input, br#"{"a":[true],"b":1}"#);
        assert_eq!(cases[3].input, br#"{"x": 1}"#);
        assert_eq!(cases[3].expected.output, Some(Value::from("1")));
        assert!(cases[4].expected.is_unsaid());
    }

    #[test]
    fn a_case_that_makes_no_sense_is_named_with_its_place() {
        for (file, said) in [
            (
                "[[case]]\nname = \"a\"\noutptu = 1\n",
                "tests.toml:3: unknown option `outptu`; did you mean `output`?",
            ),
            (
                "[[case]]\nname = \"a\"\noutput = 1\nfailure = {}\n",
                "case `a`: it expects an output and a failure",
            ),
            (
                "[[case]]\nname = \"a\"\noutput_matches = \"(\"\n",
                "case `a`: regex",
            ),
            (
                "[[case]]\nname = \"a\"\n[[case]]\nname = \"a\"\n",
                "two cases named `a`",
            ),
            ("", "no cases in "),
        ] {
            let text = refused(&[(FILE_NAME, file)]);
            assert!(text.contains(said), "{text}");
        }
        let text = refused(&[("tests/a.input.json", ""), ("tests/a.output.json", "{\n")]);
        assert!(
            text.contains("a.output.json: EOF while parsing an object at line 2"),
            "{text}"
        );
    }
}
