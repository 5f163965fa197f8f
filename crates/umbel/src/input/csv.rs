//! `--format csv`: RFC 4180 with a header; each row becomes a JSON object of strings.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io::{self, Read};
use std::rc::Rc;

use csv::ByteRecord;
use umbel_core::limit::INPUT_BYTES_MAX;

use super::Error;
use super::quotes::Quotes;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The rows of a source, behind its header.
#[derive(Debug)]
pub(super) struct Rows<R> {
    reader: csv::Reader<Watched<R>>,
    watch: Rc<Watch>,
    /// The names of the columns as JSON strings; none before the header was read.
    names: Option<Vec<String>>,
    row: ByteRecord,
    index: u64,
}

/// What must be known of the bytes that went into the parser, which it does not tell.
#[derive(Debug, Default)]
struct Watch {
    /// Bytes that the row at hand may still take: a quote that is never closed would otherwise
    /// read the whole source into memory.
    left: Cell<usize>,
    exhausted: Cell<bool>,
    /// The parser reads ahead, so what is misplaced may belong to a row that is yet to come.
    quotes: RefCell<Quotes>,
    /// The bytes of the last read that had any, and where in the source they end.
    last: RefCell<Vec<u8>>,
    last_end: Cell<u64>,
}

impl Watch {
    /// The byte before this place in the source, which lies in the last read.
    fn before(&self, place: u64) -> Option<u8> {
        let last = self.last.borrow();
        let back = usize::try_from(self.last_end.get().checked_sub(place)?).ok()?;
        last.get(last.len().checked_sub(back)?.checked_sub(1)?)
            .copied()
    }
}

#[derive(Debug)]
struct Watched<R> {
    inner: R,
    watch: Rc<Watch>,
    begun: bool,
}

impl<R: Read> Watched<R> {
    /// Reads on, without the byte order mark of the source. The parser finds one only when it
    /// comes with more, and takes one that comes alone for a source without rows.
    fn read_text(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.begun {
            return self.inner.read(buffer);
        }
        self.begun = true;
        let mut head = Vec::with_capacity(BYTE_ORDER_MARK.len());
        let mut first = self.inner.by_ref().take(BYTE_ORDER_MARK.len() as u64);
        first.read_to_end(&mut head)?;
        if head == BYTE_ORDER_MARK {
            return self.inner.read(buffer);
        }
        head.as_slice().read(buffer)
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.watch.left.get() == 0 {
            self.watch.exhausted.set(true);
            return Err(io::Error::other("the row is too long"));
        }
        let read = self.read_text(buffer)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        if !bytes.is_empty() {
            let mut last = self.watch.last.borrow_mut();
            last.clear();
            last.extend_from_slice(bytes);
            let end = self.watch.last_end.get() + bytes.len() as u64;
            self.watch.last_end.set(end);
        }
        let mut quotes = self.watch.quotes.borrow_mut();
        quotes.follow(bytes);
        if read == 0 && !buffer.is_empty() {
            quotes.end();
        }
        self.watch
            .left
            .set(self.watch.left.get().saturating_sub(read));
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
                begun: false,
            });
        Self {
            reader,
            watch,
            names: None,
            row: ByteRecord::new(),
            index: 0,
        }
    }

    /// Reads the next row, if there is one.
    fn row(&mut self) -> Result<bool, Error> {
        // Quotes within a field are doubled, and a reader's buffer lies in between.
        self.watch.left.set(2 * INPUT_BYTES_MAX);
        let some = self
            .reader
            .read_byte_record(&mut self.row)
            .map_err(|error| self.error(error))?;
        let place = self.reader.position().byte();
        if let Some(misplaced) = self.watch.quotes.borrow().misplaced_before(place) {
            return Err(Error::malformed(misplaced.line, misplaced.what));
        }
        if some && self.row.iter().any(|field| str::from_utf8(field).is_err()) {
            return Err(self.malformed("the row is not UTF-8, which its JSON must be"));
        }
        Ok(some)
    }

    /// Something is wrong with the row at hand.
    fn malformed(&self, what: impl Into<String>) -> Error {
        Error::malformed(self.line(), what)
    }

    /// The line on which the row at hand begins. The parser's own count stands before the blank
    /// lines that it skips, and before the `\n` of the `\r\n` that ended the row above.
    fn line(&self) -> u64 {
        let after = self.reader.position();
        let ended = self.watch.before(after.byte()) == Some(b'\n');
        let bytes = self.row.iter().flatten();
        let within = bytes.filter(|byte| **byte == b'\n').count() as u64;
        after.line().saturating_sub(within + u64::from(ended))
    }

    fn error(&self, error: csv::Error) -> Error {
        if self.watch.exhausted.get() {
            return Error::TooLarge { index: self.index };
        }
        let line = self.reader.position().line();
        match error.into_kind() {
            csv::ErrorKind::Io(error) => Error::Read(error),
            other => Error::malformed(line, format!("{other:?}")),
        }
    }

    fn header(&mut self) -> Result<Option<Vec<String>>, Error> {
        if !self.row()? {
            return Ok(None);
        }
        let mut seen = HashSet::new();
        let twice = self.row.iter().find(|name| !seen.insert(*name));
        if let Some(name) = twice {
            let name = String::from_utf8_lossy(name);
            return Err(self.malformed(format!("the header names {name:?} twice")));
        }
        Ok(Some(self.row.iter().map(quoted).collect()))
    }

    fn read(&mut self) -> Result<Option<Vec<u8>>, Error> {
        if self.names.is_none() {
            self.names = self.header()?;
        }
        if !self.row()? {
            return Ok(None);
        }
        let Some(names) = &self.names else {
            return Ok(None);
        };
        if self.row.len() != names.len() {
            let fields = |n: usize| format!("{n} field{}", if n == 1 { "" } else { "s" });
            let (has, wants) = (fields(self.row.len()), fields(names.len()));
            return Err(self.malformed(format!("the row has {has}, the header {wants}")));
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

/// A field, which is known to be UTF-8, as a JSON string.
fn quoted(field: &[u8]) -> String {
    serde_json::Value::from(String::from_utf8_lossy(field)).to_string()
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
            (
                "a,b\r\n1,2\r\n3\r\n",
                "line 3 of the inputs: the row has 1 field, the header 2 fields",
            ),
            (
                "a,b\r\n1,2\r\n\r\n\r\n3",
                "line 5 of the inputs: the row has 1 field, the header 2 fields",
            ),
            (
                "a,b\n1,2\n\n\n3\n4,5\n",
                "line 5 of the inputs: the row has 1 field, the header 2 fields",
            ),
            (
                "a\r\n1\r\n\"2\r\n3\r\n",
                "line 3 of the inputs: a quote is opened and never closed",
            ),
            (
                "a\r\n\"x\r\ny\"\r\n\"1\r\n\",2\r\n",
                "line 4 of the inputs: the row has 2 fields, the header 1 field",
            ),
            (
                "a,b\nan\"n,1\n",
                "line 2 of the inputs: a quote stands within a field that does not begin with one",
            ),
            (
                "a\n1\n\"2\"x\n3\n",
                "line 3 of the inputs: text stands behind a closing quote",
            ),
            (
                "a\n\"1\n\"2\"\n",
                "line 3 of the inputs: text stands behind a closing quote",
            ),
            (
                "\r\n\na,b,a\n",
                "line 3 of the inputs: the header names \"a\" twice",
            ),
        ];
        for (text, message) in table {
            assert_eq!(rows(text), Err(message.to_owned()), "{text:?}");
        }
    }

    /// A source that gives so many bytes at a time, as a pipe may.
    struct Drops<'a>(&'a [u8], usize);

    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let end = buffer.len().min(self.1);
            self.0.read(&mut buffer[..end])
        }
    }

    #[test]
    fn where_reads_end_does_not_matter() {
        for text in ["\u{feff}a\r\n1\r\n\r\n2,3\r\n", "\u{feff}a\n1\n\n2,3"] {
            for bytes in 1..12 {
                let mut rows = Rows::new(Drops(text.as_bytes(), bytes));
                assert_eq!(rows.next().unwrap().unwrap(), br#"{"a":"1"}"#, "{bytes}");
                let error = rows.next().unwrap().unwrap_err().to_string();
                assert!(error.starts_with("line 4 of"), "{bytes}: {error}");
            }
        }
    }

    #[test]
    fn rows_before_a_malformed_one_are_given() {
        for text in ["a\n1\n2,3\n", "a\n1\n2\"3\n", "a\n1\n\"2\"3\n", "a\n1\n\"2"] {
            let mut rows = Rows::new(text.as_bytes());
            assert_eq!(rows.next().unwrap().unwrap(), br#"{"a":"1"}"#, "{text:?}");
            assert!(rows.next().unwrap().is_err(), "{text:?}");
        }
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
