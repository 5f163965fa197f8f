//! `--format csv`: RFC 4180 with a header; each row becomes a JSON object of strings.

use std::cell::Cell;
use std::collections::HashSet;
use std::io::{self, Read};
use std::rc::Rc;

use csv::StringRecord;
use umbel_core::limit::INPUT_BYTES_MAX;

use super::Error;

/// The rows of a source, behind its header.
#[derive(Debug)]
pub(super) struct Rows<R> {
    reader: csv::Reader<Watched<R>>,
    watch: Rc<Watch>,
    /// The names of the columns as JSON strings; none before the header was read.
    names: Option<Vec<String>>,
    row: StringRecord,
    index: u64,
}

/// What must be known of the bytes that went into the parser, which it does not tell.
#[derive(Debug, Default)]
struct Watch {
    /// Bytes that the row at hand may still take: a quote that is never closed would otherwise
    /// read the whole source into memory.
    left: Cell<usize>,
    exhausted: Cell<bool>,
    /// Whether the number of quotes so far is odd, which at the end means one is not closed.
    in_quotes: Cell<bool>,
    ended: Cell<bool>,
}

#[derive(Debug)]
struct Watched<R> {
    inner: R,
    watch: Rc<Watch>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.watch.left.get() == 0 {
            self.watch.exhausted.set(true);
            return Err(io::Error::other("the row is too long"));
        }
        let read = self.inner.read(buffer)?;
        let quotes = buffer
            .get(..read)
            .unwrap_or_default()
            .iter()
            .filter(|b| **b == b'"')
            .count();
        self.watch
            .in_quotes
            .set(self.watch.in_quotes.get() ^ !quotes.is_multiple_of(2));
        self.watch
            .left
            .set(self.watch.left.get().saturating_sub(read));
        self.watch.ended.set(read == 0 && !buffer.is_empty());
        Ok(read)
    }
}

impl<R: Read> Rows<R> {
    pub(super) fn new(inner: R) -> Self {
        let watch = Rc::new(Watch::default());
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(256 << 10)
            .from_reader(Watched {
                inner,
                watch: Rc::clone(&watch),
            });
        Self {
            reader,
            watch,
            names: None,
            row: StringRecord::new(),
            index: 0,
        }
    }

    /// Reads the next row; tells the line on which it begins.
    fn row(&mut self) -> Result<Option<u64>, Error> {
        // Quotes within a field are doubled, and a reader's buffer lies in between.
        self.watch.left.set(2 * INPUT_BYTES_MAX);
        let line = self.reader.position().line();
        let some = self
            .reader
            .read_record(&mut self.row)
            .map_err(|error| self.error(line, error))?;
        let line = self.row.position().map_or(line, csv::Position::line);
        if some && self.watch.ended.get() && self.watch.in_quotes.get() {
            return Err(Error::malformed(line, "a quote is opened and never closed"));
        }
        Ok(some.then_some(line))
    }

    fn error(&self, line: u64, error: csv::Error) -> Error {
        if self.watch.exhausted.get() {
            return Error::TooLarge { index: self.index };
        }
        if let csv::ErrorKind::Utf8 { pos, .. } = error.kind() {
            let line = pos.as_ref().map_or(line, csv::Position::line);
            return Error::malformed(line, "the row is not UTF-8, which its JSON must be");
        }
        match error.into_kind() {
            csv::ErrorKind::Io(error) => Error::Read(error),
            other => Error::malformed(line, format!("{other:?}")),
        }
    }

    fn header(&mut self) -> Result<Option<Vec<String>>, Error> {
        let Some(line) = self.row()? else {
            return Ok(None);
        };
        let mut seen = HashSet::new();
        let twice = self.row.iter().find(|name| !seen.insert(*name));
        if let Some(name) = twice {
            return Err(Error::malformed(
                line,
                format!("the header names {name:?} twice"),
            ));
        }
        Ok(Some(self.row.iter().map(quoted).collect()))
    }

    fn read(&mut self) -> Result<Option<Vec<u8>>, Error> {
        if self.names.is_none() {
            self.names = self.header()?;
        }
        let Some(line) = self.row()? else {
            return Ok(None);
        };
        let Some(names) = &self.names else {
            return Ok(None);
        };
        if self.row.len() != names.len() {
            let fields = |n: usize| format!("{n} field{}", if n == 1 { "" } else { "s" });
            let (has, wants) = (fields(self.row.len()), fields(names.len()));
            return Err(Error::malformed(
                line,
                format!("the row has {has}, the header {wants}"),
            ));
        }
        let mut object = String::from("{");
        for (name, value) in names.iter().zip(&self.row) {
            if object.len() > 1 {
                object.push(',');
            }
            object.push_str(name);
            object.push(':');
            object.push_str(&quoted(value));
        }
        object.push('}');
        if object.len() > INPUT_BYTES_MAX {
            return Err(Error::TooLarge { index: self.index });
        }
        self.index += 1;
        Ok(Some(object.into_bytes()))
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl<R: Read> Iterator for Rows<R> {
    type Item = Result<Vec<u8>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Result<Vec<String>, String> {
        Rows::new(text.as_bytes())
            .map(|row| {
                row.map(|row| String::from_utf8(row).unwrap())
                    .map_err(|e| e.to_string())
            })
            .collect()
    }

    #[test]
    fn rows_become_objects_of_strings() {
        let table: [(&str, &[&str]); 9] = [
            ("", &[]),
            ("a,b\n", &[]),
            ("a,b\n1,2\n", &[r#"{"a":"1","b":"2"}"#]),
            ("b,a\r\n1,2", &[r#"{"b":"1","a":"2"}"#]),
            ("a\n007\ntrue\n", &[r#"{"a":"007"}"#, r#"{"a":"true"}"#]),
            ("a,b\n,\n", &[r#"{"a":"","b":""}"#]),
            ("a\n\"x,\"\"y\"\"\nz\"\n", &[r#"{"a":"x,\"y\"\nz"}"#]),
            ("\"a \"\"b\"\"\"\n1\n", &[r#"{"a \"b\"":"1"}"#]),
            ("\u{feff}a\nü\n", &["{\"a\":\"ü\"}"]),
        ];
        for (text, expected) in table {
            let expected = expected.iter().map(|&row| row.to_owned()).collect();
            assert_eq!(rows(text), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn what_is_malformed_is_named_by_its_line() {
        let table = [
            (
                "a,b\n1,2\n3\n",
                "line 3 of the inputs: the row has 1 field, the header 2 fields",
            ),
            (
                "a\n1\n2,3\n",
                "line 3 of the inputs: the row has 2 fields, the header 1 field",
            ),
            (
                "a\n\"x\ny\"\n1,2\n",
                "line 4 of the inputs: the row has 2 fields, the header 1 field",
            ),
            (
                "a,b,a\n",
                "line 1 of the inputs: the header names \"a\" twice",
            ),
            (
                "a\n1\n\"2\n3\n",
                "line 3 of the inputs: a quote is opened and never closed",
            ),
        ];
        for (text, message) in table {
            assert_eq!(rows(text), Err(message.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn rows_before_a_malformed_one_are_given() {
        let mut rows = Rows::new(&b"a\n1\n2,3\n"[..]);
        assert_eq!(rows.next().unwrap().unwrap(), br#"{"a":"1"}"#);
        assert!(rows.next().unwrap().is_err());
    }

    #[test]
    fn a_row_that_is_not_text_is_named() {
        let error = Rows::new(&b"a\nok\n\xff\n"[..])
            .find_map(Result::err)
            .unwrap();
        assert_eq!(
            error.to_string(),
            "line 3 of the inputs: the row is not UTF-8, which its JSON must be"
        );
    }

    #[test]
    fn an_unclosed_quote_does_not_read_a_source_without_end() {
        let endless = io::Read::chain(&b"a\n1\n\""[..], io::repeat(b'x'));
        let error = Rows::new(endless).find_map(Result::err).unwrap();
        assert!(matches!(error, Error::TooLarge { index: 1 }), "{error}");
    }
}
