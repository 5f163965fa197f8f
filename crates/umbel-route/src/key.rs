//! Routing keys: which part of an input keeps its owner on one arm.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use cel::Value;
use cel::objects::KeyRef;

/// A JSON pointer (RFC 6901) that is well formed and points into something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    text: String,
    tokens: Vec<String>,
}

impl Pointer {
    /// Reads a pointer.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix('/') else {
            return Err(if text.is_empty() {
                "a pointer to the key is missing; write one such as \"/user/id\"".to_owned()
            } else {
                format!("{text:?} is no JSON pointer: it begins with \"/\", as in \"/user/id\"")
            });
        };
        let tokens = path.split('/').map(|token| {
            let mut rest = token;
            while let Some(at) = rest.find('~') {
                rest = &rest[at + 1..];
                if !rest.starts_with(['0', '1']) {
                    return Err(format!(
                        "{text:?} is no JSON pointer: \"~\" is written \"~0\", and \"/\" in a name \"~1\""
                    ));
                }
            }
            Ok(token.replace("~1", "/").replace("~0", "~"))
        });
        let tokens = tokens.collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            text: text.to_owned(),
            tokens,
        })
    }

    /// The number that it points at in JSON, if there is one; a number is what JSON writes as one.
    #[must_use]
    pub fn number(&self, json: &[u8]) -> Option<f64> {
        let wanted = BTreeSet::from([self.first().to_owned()]);
        let value = crate::json::read(json, &Some(wanted)).ok()?;
        match self.at(&value)? {
            Value::Int(number) => Some(*number as f64),
            Value::UInt(number) => Some(*number as f64),
            Value::Float(number) => Some(*number).filter(|number| number.is_finite()),
            _ => None,
        }
    }

    fn at<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        self.tokens.iter().try_fold(value, |at, token| match at {
            Value::Map(map) => map.get(&KeyRef::String(token)),
            Value::List(list) => index(token).and_then(|place| list.get(place)),
            _ => None,
        })
    }

    /// The field of an input that it goes through first.
    pub(crate) fn first(&self) -> &str {
        self.tokens.first().map_or("", String::as_str)
    }

    /// The key in an input.
    pub(crate) fn find<'a>(&self, input: &'a Value) -> Result<Cow<'a, str>, NoKey> {
        let at = self.at(input);
        let at = at.ok_or_else(|| NoKey::Missing(self.text.clone()))?;
        text(at).ok_or_else(|| match at {
            Value::Null => NoKey::Missing(self.text.clone()),
            other => NoKey::NoScalar(self.text.clone(), kind(other)),
        })
    }
}

/// An index as a pointer writes it: without leading zeros.
fn index(token: &str) -> Option<usize> {
    let plain = token == "0" || !token.starts_with(['0', '+']);
    token.parse().ok().filter(|_| plain)
}

/// What the hash is taken of: strings as they are, whole numbers and booleans as JSON writes
/// them. A number with a fraction has more than one way to be written, so it is no key.
fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text.as_str())),
        Value::Int(number) => Some(Cow::Owned(number.to_string())),
        Value::UInt(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
        _ => None,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Map(_) => "an object",
        Value::List(_) => "an array",
        Value::Float(_) => "a number with a fraction",
        _ => "something else",
    }
}

/// Why an input has no routing key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoKey {
    Unkeyed,
    Missing(String),
    NoScalar(String, &'static str),
    NoLabel(String),
    NoJson(String),
}

impl fmt::Display for NoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unkeyed => f.write_str("the split has no routing key"),
            Self::Missing(pointer) => write!(f, "the input has nothing at {pointer}"),
            Self::NoScalar(pointer, kind) => write!(
                f,
                "{pointer} is {kind}, and a key is a string, a whole number or a boolean"
            ),
            Self::NoLabel(label) => write!(f, "the job has no label {label:?}"),
            Self::NoJson(why) => f.write_str(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn pointers_follow_the_rfc() {
        let input = br#"{"user":{"id":42},"a/b":{"~":"x"},"l":[true,1.5],"n":null,"":"empty"}"#;
        let input = json::read(input, &None).unwrap();
        let find = |pointer: &str| {
            let found = Pointer::parse(pointer)
                .unwrap()
                .find(&input)
                .map(Cow::into_owned);
            found.map_err(|why| why.to_string())
        };
        assert_eq!(find("/user/id").as_deref(), Ok("42"));
        assert_eq!(find("/a~1b/~0").as_deref(), Ok("x"));
        assert_eq!(find("/l/0").as_deref(), Ok("true"));
        assert_eq!(find("/").as_deref(), Ok("empty"));
        for (pointer, why) in [
            ("/user", "/user is an object, and a key is"),
            ("/l/1", "/l/1 is a number with a fraction"),
            ("/l/00", "the input has nothing at /l/00"),
            ("/n", "the input has nothing at /n"),
            ("/user/id/x", "the input has nothing at"),
        ] {
            let found = find(pointer).unwrap_err();
            assert!(found.starts_with(why), "{found}");
        }
        for (wrong, why) in [
            ("", "is missing"),
            ("user.id", "begins with \"/\""),
            ("/a~2", "\"~\" is written \"~0\""),
            ("/a~", "\"~\" is written \"~0\""),
        ] {
            let found = Pointer::parse(wrong).unwrap_err();
            assert!(found.contains(why), "{found}");
        }
    }
}
