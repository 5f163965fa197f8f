//! `--format json`: an array, streamed; each element's own text is an input.

use std::io::BufRead;

use serde_json::value::RawValue;
use umbel_core::limit::INPUT_BYTES_MAX;

use super::Error;

/// The elements of an array.
#[derive(Debug)]
pub(super) struct Elements<R> {
    reader: R,
    /// The line of the byte that comes next, from 1.
    line: u64,
    index: u64,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Before,
    Within,
    Behind,
}

/// Where a scan through an element's text is.
#[derive(Debug, Default)]
struct Scan {
    depth: u32,
    in_string: bool,
    escaped: bool,
}

impl Scan {
    /// Whether this byte is the one that ends the element.
    const fn ends_at(&mut self, byte: u8) -> bool {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'[' | b'{' => self.depth += 1,
            b',' | b']' if self.depth == 0 => return true,
            b']' | b'}' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        false
    }
}

impl<R: BufRead> Elements<R> {
    pub(super) const fn new(reader: R) -> Self {
        Self {
            reader,
            line: 1,
            index: 0,
            place: Place::Before,
        }
    }

    fn malformed(&self, what: impl Into<String>) -> Error {
        Error::malformed(self.line, what)
    }

    fn peek(&mut self) -> Result<Option<u8>, Error> {
        Ok(self.reader.fill_buf()?.first().copied())
    }

    fn step(&mut self, byte: u8) {
        self.line += u64::from(byte == b'\n');
        self.reader.consume(1);
    }

    /// The next byte that is no space, which is left in place.
    fn token(&mut self) -> Result<Option<u8>, Error> {
        while let Some(byte) = self.peek()? {
            if !is_space(byte) {
                return Ok(Some(byte));
            }
            self.step(byte);
        }
        Ok(None)
    }

    fn open(&mut self) -> Result<(), Error> {
        match self.token()? {
            Some(b'[') => self.step(b'['),
            _ => return Err(self.malformed("it does not begin with [; it must be one JSON array")),
        }
        self.place = Place::Within;
        if self.token()? == Some(b']') {
            self.close()?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Error> {
        self.step(b']');
        self.place = Place::Behind;
        match self.token()? {
            None => Ok(()),
            Some(_) => Err(self.malformed("there is more behind the array's end")),
        }
    }

    /// The text up to the comma or bracket that ends the element, which is left in place.
    fn text(&mut self) -> Result<Vec<u8>, Error> {
        let mut text = Vec::new();
        let mut scan = Scan::default();
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                return Err(self.malformed("the array is not closed"));
            }
            let end = buffer.iter().position(|&byte| scan.ends_at(byte));
            let taken = end.unwrap_or(buffer.len());
            let part = buffer.get(..taken).unwrap_or_default();
            self.line += part.iter().filter(|byte| **byte == b'\n').count() as u64;
            text.extend_from_slice(part);
            self.reader.consume(taken);
            if text.len() > INPUT_BYTES_MAX {
                // Space behind the element is read with it, but does not count.
                let bytes = trimmed(&text);
                if scan.in_string || bytes > INPUT_BYTES_MAX {
                    return Err(Error::TooLarge { index: self.index });
                }
                text.truncate(bytes + 1);
            }
            if end.is_some() {
                text.truncate(trimmed(&text));
                return Ok(text);
            }
        }
    }

    fn read(&mut self) -> Result<Option<Vec<u8>>, Error> {
        if self.place == Place::Before {
            self.open()?;
        }
        if self.place == Place::Behind {
            return Ok(None);
        }
        self.token()?;
        let line = self.line;
        let text = self.text()?;
        if let Err(error) = serde_json::from_slice::<&RawValue>(&text) {
            let line = line + (error.line() as u64).saturating_sub(1);
            let what = format!(
                "element {} is no JSON: {}",
                self.index,
                without_place(&error)
            );
            return Err(Error::malformed(line, what));
        }
        if self.peek()? == Some(b',') {
            self.step(b',');
        } else {
            self.close()?;
        }
        self.index += 1;
        Ok(Some(text))
    }
}

/// What JSON takes for a space: less than ASCII does, which has form feeds too.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// How long a text is without the spaces behind it.
fn trimmed(text: &[u8]) -> usize {
    let last = text.iter().rposition(|&byte| !is_space(byte));
    last.map_or(0, |last| last + 1)
}

/// The error without `at line 1 column 5`, which counts from the element's begin.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ")
        .next()
        .unwrap_or_default()
        .to_owned()
}

impl<R: BufRead> Iterator for Elements<R> {
    type Item = Result<Vec<u8>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = self.read();
        if read.is_err() {
            self.place = Place::Behind;
        }
        read.transpose()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, BufReader};

    use super::*;

    fn elements(text: &str) -> Result<Vec<String>, String> {
        // A buffer of three bytes cuts every token somewhere.
        Elements::new(BufReader::with_capacity(3, text.as_bytes()))
            .map(|item| {
                item.map(|i| String::from_utf8(i).unwrap())
                    .map_err(|e| e.to_string())
            })
            .collect()
    }

    #[test]
    fn each_element_keeps_its_own_text() {
        let table: [(&str, &[&str]); 7] = [
            ("[]", &[]),
            (" [ ] \n", &[]),
            ("[1]", &["1"]),
            (
                "[1.50, 12345678901234567890123 ,null]",
                &["1.50", "12345678901234567890123", "null"],
            ),
            (
                r#"[{"b": 1, "a": [2, 3]}, "x"]"#,
                &[r#"{"b": 1, "a": [2, 3]}"#, r#""x""#],
            ),
            (
                r#"["],[", "\"]", "\\"]"#,
                &[r#""],[""#, r#""\"]""#, r#""\\""#],
            ),
            ("[\n[\n],\n{}\n]\n", &["[\n]", "{}"]),
        ];
        for (text, expected) in table {
            let expected = expected.iter().map(|&element| element.to_owned()).collect();
            assert_eq!(elements(text), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn what_is_malformed_is_named_by_its_line() {
        let table = [
            (
                "",
                "line 1 of the inputs: it does not begin with [; it must be one JSON array",
            ),
            (
                "{}",
                "line 1 of the inputs: it does not begin with [; it must be one JSON array",
            ),
            ("[1,\n2", "line 2 of the inputs: the array is not closed"),
            (
                "[1,\n x]",
                "line 2 of the inputs: element 1 is no JSON: expected value",
            ),
            (
                "[1,]",
                "line 1 of the inputs: element 1 is no JSON: EOF while parsing a value",
            ),
            (
                "[1 2]",
                "line 1 of the inputs: element 0 is no JSON: trailing characters",
            ),
            (
                "[1\u{c}]",
                "line 1 of the inputs: element 0 is no JSON: trailing characters",
            ),
            (
                "[1]\n[2]",
                "line 2 of the inputs: there is more behind the array's end",
            ),
        ];
        for (text, message) in table {
            assert_eq!(elements(text), Err(message.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn an_element_without_end_is_named_before_it_fills_the_memory() {
        let endless = io::Read::chain(&b"[1,\""[..], io::repeat(b'x'));
        let error = Elements::new(BufReader::new(endless))
            .find_map(Result::err)
            .unwrap();
        assert!(matches!(error, Error::TooLarge { index: 1 }), "{error}");
    }
}
