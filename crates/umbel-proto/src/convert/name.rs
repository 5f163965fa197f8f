//! Names and labels.

use umbel_core::job::Target;
use umbel_core::limit::{
    LABEL_KEY_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_MAX, NAME_BYTES_MAX, PROGRAM_BYTES_MAX,
    REDRIVE_PROGRAM_BYTES_MAX,
};
use umbel_core::policy::Labels;

use super::function::qualifier;
use super::{Invalid, job_id};
use crate::v1;

/// Whether a function may be named so; no name looks like `function@alias` or
/// `exec:PROGRAM`.
pub(super) fn is_function_name(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// A job's or worker's name in people's words.
pub(super) fn check_plain(field: &str, name: &str) -> Result<(), Invalid> {
    if name.len() > NAME_BYTES_MAX {
        let length = name.len();
        return Err(Invalid::bad(
            field,
            format!("it has {length} bytes, the limit is {NAME_BYTES_MAX}"),
        ));
    }
    if name.chars().any(char::is_control) {
        return Err(Invalid::bad(field, "it holds control characters"));
    }
    Ok(())
}

/// A job's name must not be what names a job otherwise.
pub(super) fn check_job_name(field: &str, name: &str) -> Result<(), Invalid> {
    check_plain(field, name)?;
    if name == "last" || job_id(name).is_some() {
        return Err(Invalid::bad(
            field,
            format!("{name:?} already means a job by its id or the newest one; choose another"),
        ));
    }
    Ok(())
}

pub(super) fn check_labels(field: &str, labels: &Labels) -> Result<(), Invalid> {
    if labels.len() > LABELS_MAX {
        let count = labels.len();
        return Err(Invalid::bad(
            field,
            format!("there are {count} labels, the limit is {LABELS_MAX}"),
        ));
    }
    for (key, value) in labels {
        for (what, text, limit) in [
            ("key", key, LABEL_KEY_BYTES_MAX),
            ("value", value, LABEL_VALUE_BYTES_MAX),
        ] {
            if text.len() > limit {
                let (shown, length) = (super::head(key, LABEL_KEY_BYTES_MAX), text.len());
                return Err(Invalid::bad(
                    field,
                    format!(
                        "the {what} of label {shown:?} has {length} bytes, the limit is {limit}"
                    ),
                ));
            }
            if text.chars().any(char::is_control) {
                return Err(Invalid::bad(
                    field,
                    format!("the {what} of label {key:?} holds control characters"),
                ));
            }
        }
        if key.is_empty() {
            return Err(Invalid::bad(field, "a label's key is empty"));
        }
    }
    Ok(())
}

/// What runs: a function's name or a program. `prefix` leads to the two fields.
pub(super) fn target(
    prefix: &str,
    function: String,
    program: Option<v1::Program>,
) -> Result<Target, Invalid> {
    let field = format!("{prefix}target");
    match program {
        Some(_) if !function.is_empty() => Err(Invalid::bad(
            field,
            "there is a target and a program; give one of them",
        )),
        Some(program) => check_program(&format!("{prefix}program"), program.argv),
        None if is_function_name(&function) => Ok(Target::Function(function)),
        None if function.contains('@') => qualified(field, &function),
        None => Err(bad_function(field, &function)),
    }
}

/// Where a route leads: a published function, by name, alias or version.
pub(super) fn lead(field: &str, text: &str) -> Result<Target, Invalid> {
    match text {
        "" => Err(Invalid::bad(field, "where it leads is missing")),
        _ if is_function_name(text) => Ok(Target::Function(text.to_owned())),
        _ if text.contains('@') => qualified(field.to_owned(), text),
        _ => Err(bad_function(field.to_owned(), text)),
    }
}

/// `NAME@NUMBER` or `NAME@ALIAS`.
fn qualified(field: String, text: &str) -> Result<Target, Invalid> {
    let (name, which) = text.split_once('@').unwrap_or((text, ""));
    if !is_function_name(name) {
        return Err(bad_function(field, name));
    }
    let Some(which) = qualifier(which) else {
        let shown = super::head(which, NAME_BYTES_MAX);
        return Err(Invalid::bad(
            field,
            format!(
                "{shown:?} behind the `@` is neither the number of a version nor an alias; write {name}@7 or {name}@live"
            ),
        ));
    };
    Ok(Target::Version(name.to_owned(), which))
}

fn bad_function(field: String, name: &str) -> Invalid {
    let shown = super::head(name, NAME_BYTES_MAX);
    if name.is_empty() {
        return Invalid::bad(field, "name a function, or give a program");
    }
    Invalid::bad(
        field,
        format!(
            "{shown:?} cannot name a function: at most {NAME_BYTES_MAX} letters, digits, `.`, `_` and `-`, a letter first"
        ),
    )
}

/// What a job is redriven to has less room than what it began with.
pub(super) fn redriven_target(
    name: String,
    program: Option<v1::Program>,
) -> Result<Target, Invalid> {
    let target = target("", name, program)?;
    if let Target::Program(argv) = &target {
        // As many as a record of it takes at most.
        let bytes = argv_bytes(argv) + 3 * argv.len();
        within("program", bytes, REDRIVE_PROGRAM_BYTES_MAX)?;
    }
    Ok(target)
}

/// One byte for the end of each argument, as the operating system counts.
fn argv_bytes(argv: &[String]) -> usize {
    argv.iter().map(|argument| argument.len() + 1).sum()
}

fn within(field: &str, length: usize, limit: usize) -> Result<(), Invalid> {
    if length <= limit {
        return Ok(());
    }
    let message = format!("program and arguments have {length} bytes, the limit is {limit}");
    Err(Invalid::bad(field, message))
}

fn check_program(field: &str, argv: Vec<String>) -> Result<Target, Invalid> {
    if argv.first().is_none_or(String::is_empty) {
        return Err(Invalid::bad(field, "it names no program"));
    }
    within(field, argv_bytes(&argv), PROGRAM_BYTES_MAX)?;
    if argv.iter().any(|argument| argument.contains('\0')) {
        return Err(Invalid::bad(
            field,
            "an argument holds a NUL byte, which no program can take",
        ));
    }
    Ok(Target::Program(argv))
}

/// The two fields of the wire for what runs.
pub(super) fn wire_target(target: Target) -> (String, Option<v1::Program>) {
    match target {
        Target::Function(_) | Target::Version(..) => (target.display(), None),
        Target::Program(argv) => (String::new(), Some(v1::Program { argv })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str) -> Result<Target, Invalid> {
        target("spec.", name.to_owned(), None)
    }

    #[test]
    fn a_target_is_a_function_or_a_program() {
        assert!(function("umbel.echo").is_ok());
        for bad in ["", "7up", "a b", "exec:sh", &"x".repeat(256)] {
            assert_eq!(function(bad).unwrap_err().field, "spec.target", "{bad:?}");
        }
        let both = target(
            "",
            "f".into(),
            Some(v1::Program {
                argv: vec!["sh".into()],
            }),
        );
        assert!(both.unwrap_err().message.contains("give one of them"));
    }

    #[test]
    fn behind_the_at_stands_a_version_or_an_alias() {
        for text in ["resize@7", "resize@live"] {
            let target = function(text).unwrap();
            assert_eq!(target.display(), text);
            assert_eq!(target.function(), Some("resize"));
            assert_eq!(wire_target(target).0, text);
        }
        let error = function("resize@0").unwrap_err();
        assert!(error.message.ends_with("write resize@7 or resize@live"));
        assert!(function("7up@live").is_err() && function("@live").is_err());
    }

    #[test]
    fn a_program_is_bounded() {
        for argv in [
            vec![],
            vec![String::new()],
            vec!["x".repeat(PROGRAM_BYTES_MAX)],
        ] {
            let error = target("", String::new(), Some(v1::Program { argv })).unwrap_err();
            assert_eq!(error.field, "program");
        }
    }

    #[test]
    fn labels_are_bounded_and_the_bad_one_is_named() {
        let one = |key: &str, value: &str| Labels::from([(key.to_owned(), value.to_owned())]);
        assert!(check_labels("labels", &one(&"k".repeat(63), &"v".repeat(255))).is_ok());
        assert!(check_labels("labels", &one(&"k".repeat(64), "")).is_err());
        assert!(check_labels("labels", &one("", "v")).is_err());
        let error = check_labels("labels", &one("zone", &"v".repeat(256))).unwrap_err();
        assert_eq!(
            error.message,
            "labels: the value of label \"zone\" has 256 bytes, the limit is 255"
        );
        let many = (0..33).map(|i| (format!("k{i}"), String::new())).collect();
        assert!(check_labels("labels", &many).is_err());
    }

    #[test]
    fn a_job_cannot_be_named_like_another_way_to_name_a_job() {
        assert!(check_job_name("name", "nightly").is_ok());
        assert!(check_job_name("name", "last").is_err());
        assert!(check_job_name("name", "0192abcd-ef01-7234-89ab-000102030405").is_err());
        assert!(check_job_name("name", "a\nb").is_err());
    }
}
