//! Inputs as expressions and keys see them. Of an object only what somebody asks for is kept.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use cel::Value;
use cel::objects::{Key, Map};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The fields of an input that anybody looks at; none: all of them.
pub(crate) type Wanted = Option<BTreeSet<String>>;

/// Reads an input.
///
/// # Errors
///
/// Why it is not JSON, in words.
pub(crate) fn read(input: &[u8], wanted: &Wanted) -> Result<Value, String> {
    let mut json = serde_json::Deserializer::from_slice(input);
    let value = Seed(wanted.as_ref())
        .deserialize(&mut json)
        .map_err(not_json)?;
    json.end().map_err(not_json)?;
    Ok(value)
}

fn not_json(error: serde_json::Error) -> String {
    format!("the input is not JSON: {error}")
}

/// Reads one value; of an object only these fields.
#[derive(Clone, Copy)]
struct Seed<'a>(Option<&'a BTreeSet<String>>);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::UInt(value), Value::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(Arc::new(value.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(value) = seq.next_element_seed(Seed(None))? {
            all.push(value);
        }
        Ok(Value::List(Arc::new(all)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = HashMap::new();
        while let Some(key) = entries.next_key::<String>()? {
            if self.0.is_none_or(|wanted| wanted.contains(&key)) {
                let value = entries.next_value_seed(Seed(None))?;
                map.insert(Key::String(Arc::new(key)), value);
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Value::Map(Map { map: Arc::new(map) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wanted_is_kept_and_the_rest_is_still_checked() {
        let wanted = Some(BTreeSet::from(["a".to_owned()]));
        let value = read(br#"{"a":{"b":[1,2.5,null]},"c":"x"}"#, &wanted).unwrap();
        let Value::Map(map) = &value else {
            panic!("an object: {value:?}");
        };
        assert_eq!(map.map.len(), 1);
        for wrong in [&b"{\"a\":1,\"c\":}"[..], b"{} {}", b"", b"\xff"] {
            let words = read(wrong, &wanted).unwrap_err();
            assert!(words.starts_with("the input is not JSON"), "{words}");
        }
        let deep = "[".repeat(100_000);
        assert!(
            read(deep.as_bytes(), &None).is_err(),
            "and it is no overflow"
        );
    }
}
