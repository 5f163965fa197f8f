//! Where quotes may stand in CSV. The parser takes what RFC 4180 does not allow, so the bytes that
//! go into it are looked at on the way.

/// The place at which a source stops being CSV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Misplaced {
    /// The offset of the byte that must not stand there; the opening quote, if none closes it.
    pub(super) byte: u64,
    /// The line of that byte, counted from 1.
    pub(super) line: u64,
    /// What is wrong with it.
    pub(super) what: &'static str,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    FieldStart,
    Unquoted,
    Quoted,
    /// Behind a quote in a quoted field: it closes the field, or another one follows.
    Closing,
}

/// Follows the quotes of a source, however its bytes are cut.
#[derive(Debug)]
pub(super) struct Quotes {
    state: State,
    byte: u64,
    line: u64,
    /// Where the quoted field at hand begins: byte and line.
    opened: (u64, u64),
    first: Option<Misplaced>,
}

impl Default for Quotes {
    fn default() -> Self {
        Self {
            state: State::default(),
            byte: 0,
            line: 1,
            opened: (0, 1),
            first: None,
        }
    }
}

impl Quotes {
    /// Follows the next bytes. Behind the first misplaced one the rest means nothing.
    pub(super) fn follow(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.first.is_some() {
                return;
            }
            self.step(*byte);
        }
    }

    fn step(&mut self, byte: u8) {
        self.state = match (self.state, byte) {
            (State::FieldStart, b'"') => {
                self.opened = (self.byte, self.line);
                State::Quoted
            }
            (State::Closing, b'"') | (State::Quoted, b'\0'..=b'!' | b'#'..) => State::Quoted,
            (State::Quoted, b'"') => State::Closing,
            (_, b',' | b'\r' | b'\n') => State::FieldStart,
            (State::Unquoted, b'"') => {
                self.misplaced("a quote stands within a field that does not begin with one")
            }
            (State::Closing, _) => self.misplaced("text stands behind a closing quote"),
            (State::FieldStart | State::Unquoted, _) => State::Unquoted,
        };
        self.byte += 1;
        self.line += u64::from(byte == b'\n');
    }

    fn misplaced(&mut self, what: &'static str) -> State {
        self.first = Some(Misplaced {
            byte: self.byte,
            line: self.line,
            what,
        });
        self.state
    }

    /// The source has no more bytes.
    pub(super) fn end(&mut self) {
        if self.first.is_none() && self.state == State::Quoted {
            let (byte, line) = self.opened;
            let what = "a quote is opened and never closed";
            self.first = Some(Misplaced { byte, line, what });
        }
    }

    /// The first misplaced byte, if it lies before this place in the source.
    pub(super) fn misplaced_before(&self, place: u64) -> Option<Misplaced> {
        self.first.filter(|first| first.byte < place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(parts: &[&str]) -> Option<(u64, u64)> {
        let mut quotes = Quotes::default();
        for part in parts {
            quotes.follow(part.as_bytes());
        }
        quotes.end();
        let found = quotes.misplaced_before(u64::MAX);
        found.map(|found| (found.byte, found.line))
    }

    #[test]
    fn quotes_that_open_close_and_double_are_in_place() {
        for text in [
            "",
            "a,b\r\n1,2",
            "\"\"",
            "\"a\n\"\"b\"\"\",\"\"\r\"c\"\n",
            "\"\"\"\"\n",
        ] {
            assert_eq!(first(&[text]), None, "{text:?}");
        }
    }

    #[test]
    fn a_misplaced_byte_is_found_wherever_the_bytes_are_cut() {
        let table = [
            ("a\nan\"n,1\n", (4, 2)),
            ("a\n\"1\"x\n", (5, 2)),
            ("a\n\"1\n\" ,\n", (6, 3)),
            ("a\n1,\"2\n3\n", (4, 2)),
        ];
        for (text, place) in table {
            for cut in 0..text.len() {
                let (head, tail) = text.split_at(cut);
                assert_eq!(first(&[head, tail]), Some(place), "{text:?} cut at {cut}");
            }
        }
    }
}
