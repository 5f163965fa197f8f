//! Whether two outputs say the same.

use serde_json::Value;

/// Whether two outputs are the same bytes or, where both are JSON, the same value: the order of fields
/// and blanks do not count.
#[must_use]
pub fn same_output(one: &[u8], other: &[u8]) -> bool {
    if one == other {
        return true;
    }
    let parse = |bytes| serde_json::from_slice::<Value>(bytes).ok();
    parse(one).is_some_and(|one| parse(other) == Some(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_compared_by_what_it_says_and_all_else_by_its_bytes() {
        for (one, other, same) in [
            ("", "", true),
            (r#"{"a":1,"b":2}"#, r#"{ "b": 2, "a": 1 }"#, true),
            ("[1,2]", "[2,1]", false),
            ("1", "1.0", false),
            ("a b", "a  b", false),
            ("\"a\"", "a", false),
            ("1", "", false),
        ] {
            assert_eq!(
                same_output(one.as_bytes(), other.as_bytes()),
                same,
                "{one} {other}"
            );
        }
    }
}
