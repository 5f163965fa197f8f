//! Reads a config file, and says exactly where it is wrong.

use std::path::Path;

#[cfg(test)]
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Error;

/// Reads the file, or gives the defaults if there is none.
pub(super) fn read<T: DeserializeOwned + Default>(path: Option<&Path>) -> Result<T, Error> {
    let Some(path) = path else {
        return Ok(T::default());
    };
    let text = std::fs::read_to_string(path).map_err(|error| Error::Read {
        path: path.to_owned(),
        error,
    })?;
    parse(path, &text)
}

/// Reads the text of the file at `path`.
pub(crate) fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, Error> {
    toml::from_str(text).map_err(|error| {
        let path = path.to_owned();
        let place = error.span().unwrap_or_default();
        let line = 1 + text
            .get(..place.start)
            .unwrap_or_default()
            .matches('\n')
            .count();
        let message = error.message().to_owned();
        match (expected_in_place(&message), text.get(place)) {
            (Some(options), Some(key)) => {
                let key = key.trim().to_owned();
                let hint = hint(&key, &options);
                Error::UnknownKey {
                    path,
                    line,
                    key,
                    hint,
                }
            }
            _ => Error::Malformed {
                path,
                line,
                message,
            },
        }
    })
}

/// The options of the table that an unknown one stands in, as serde's words about it name them:
/// "unknown field `a`, expected one of `b`, `c`".
fn expected_in_place(message: &str) -> Option<Vec<String>> {
    let (_, expected) = message.strip_prefix("unknown field")?.split_once(", ")?;
    let mut options: Vec<String> = expected
        .split('`')
        .skip(1)
        .step_by(2)
        .map(ToOwned::to_owned)
        .collect();
    options.sort();
    Some(options)
}

fn hint(key: &str, options: &[String]) -> String {
    let nearest = options
        .iter()
        .map(|option| (strsim::levenshtein(key, option), option))
        .filter(|(distance, option)| *distance <= option.len().max(key.len()) / 3)
        .min();
    match nearest {
        Some((_, option)) => format!("did you mean `{option}`?"),
        None => format!("the options are {}", options.join(", ")),
    }
}

/// Tells whether a file of the repository shows every option of `T`, each at its default.
#[cfg(test)]
pub(super) fn assert_shows_defaults<T>(text: &str)
where
    T: DeserializeOwned + Serialize + Default + PartialEq + std::fmt::Debug,
{
    // Options are commented as `#option = value`, words about them as `# words`.
    let mut options = String::new();
    for line in text.lines() {
        let option = line
            .strip_prefix('#')
            .filter(|rest| rest.starts_with(char::is_alphabetic));
        let prose = line.is_empty() || line.starts_with("# ") || line == "#";
        assert!(
            option.is_some() || prose,
            "neither a commented option nor words: {line}"
        );
        options.extend(option);
        options.push('\n');
    }
    let shown: toml::Table = toml::from_str(&options).expect("the options are TOML");
    let table = toml::Table::try_from(T::default()).expect("the defaults are TOML");
    for option in table.keys() {
        assert!(
            shown.contains_key(option),
            "the file does not show `{option}`"
        );
    }
    let parsed: T = parse(Path::new("config"), &options).expect("the file's options are known");
    assert_eq!(
        parsed,
        T::default(),
        "the file shows other values than the defaults"
    );
    let untouched: T = parse(Path::new("config"), text).expect("the file as it is");
    assert_eq!(untouched, T::default());
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Options {
        listen: String,
        heartbeat_ms: u64,
    }

    fn complaint(text: &str) -> String {
        parse::<Options>(Path::new("a.toml"), text)
            .expect_err("it is wrong")
            .to_string()
    }

    #[test]
    fn an_unknown_option_is_named_with_its_line_and_the_nearest_one() {
        assert_eq!(
            complaint("listen = \"x\"\n\nheartbeat = 5\n"),
            "a.toml:3: unknown option `heartbeat`; did you mean `heartbeat_ms`?"
        );
        assert_eq!(
            complaint("frobnicate = 5\n"),
            "a.toml:1: unknown option `frobnicate`; the options are heartbeat_ms, listen"
        );
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_named_with_its_line() {
        let said = complaint("listen = \"x\"\nheartbeat_ms = \"often\"\n");
        assert!(
            said.starts_with("a.toml:2: invalid type: string \"often\""),
            "{said}"
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read::<Options>(Some(Path::new("/nowhere/c.toml"))).expect_err("no such file");
        assert!(
            error
                .to_string()
                .starts_with("cannot read the config /nowhere/c.toml: "),
            "{error}"
        );
    }
}
