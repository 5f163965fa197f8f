//! The input formats of the command line. They belong to its binary and are no library's, so they
//! are taken in by path.

use std::io::{BufReader, Read};

#[path = "../../../crates/umbel/src/input/json.rs"]
mod elements;
#[path = "../../../crates/umbel/src/input/error.rs"]
mod error;
#[path = "../../../crates/umbel/src/input/quotes.rs"]
mod quotes;
#[path = "../../../crates/umbel/src/input/csv.rs"]
mod rows;
#[path = "../../../crates/umbel/src/input/lines.rs"]
mod split;

use error::Error;

/// A source that gives few bytes at a time.
struct Slow<'a>(&'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let some = buffer.len().min(3);
        self.0.read(&mut buffer[..some])
    }
}

/// All inputs before the first error, and that one's words.
fn all(inputs: impl Iterator<Item = Result<Vec<u8>, Error>>) -> (Vec<Vec<u8>>, Option<String>) {
    let mut good = Vec::new();
    for input in inputs {
        match input {
            Ok(input) => good.push(input),
            Err(error) => return (good, Some(error.to_string())),
        }
    }
    (good, None)
}

/// Lines joined again are the file.
pub(crate) fn lines(bytes: &[u8]) -> bool {
    let (lines, error) = all(split::Lines::new(bytes));
    assert_eq!(
        all(split::Lines::new(BufReader::new(Slow(bytes)))),
        (lines.clone(), error.clone())
    );
    let mut joined = lines.join(&b'\n');
    if bytes.ends_with(b"\n") {
        joined.push(b'\n');
    }
    assert_eq!(joined, bytes);
    error.is_none()
}

/// Each row is a JSON object, whatever stood in the file.
pub(crate) fn csv(bytes: &[u8]) -> bool {
    let (rows, error) = all(rows::Rows::new(bytes));
    assert_eq!(
        all(rows::Rows::new(Slow(bytes))),
        (rows.clone(), error.clone())
    );
    for row in &rows {
        let row: serde_json::Value = serde_json::from_slice(row).expect("a row is JSON");
        assert!(row.is_object(), "{row}");
    }
    error.is_none()
}

/// Elements are JSON, and as many as the array has.
pub(crate) fn json(bytes: &[u8]) -> bool {
    let (elements, error) = all(elements::Elements::new(bytes));
    let slow = all(elements::Elements::new(BufReader::new(Slow(bytes))));
    assert_eq!(slow.0, elements);
    assert_eq!(slow.1.is_some(), error.is_some());
    for element in &elements {
        let element = serde_json::from_slice::<&serde_json::value::RawValue>(element);
        assert!(element.is_ok(), "{element:?}");
    }
    if error.is_some() {
        return false;
    }
    let array: Vec<&serde_json::value::RawValue> =
        serde_json::from_slice(bytes).expect("it was read as an array");
    assert_eq!(array.len(), elements.len());
    true
}
