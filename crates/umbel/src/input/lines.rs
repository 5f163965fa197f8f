//! `--format lines`: split at `\n` only; the last newline ends a line.

use std::io::{BufRead, Read as _};

use umbel_core::limit::INPUT_BYTES_MAX;

use super::Error;

/// The lines of a source. Blank ones are inputs, and `\r` is kept.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: R,
    index: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) const fn new(reader: R) -> Self {
        Self { reader, index: 0 }
    }

    fn read(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let mut line = Vec::new();
        // One more than the limit and the newline tells a line that is too long.
        let bytes_max = INPUT_BYTES_MAX as u64 + 1;
        let read = self
            .reader
            .by_ref()
            .take(bytes_max)
            .read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if line.len() > INPUT_BYTES_MAX {
            return Err(Error::TooLarge { index: self.index });
        }
        self.index += 1;
        Ok(Some(line))
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Vec<u8>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<Vec<u8>> {
        Lines::new(text).map(Result::unwrap).collect()
    }

    #[test]
    fn lines_end_at_newlines_and_nowhere_else() {
        let table: [(&str, &[&str]); 8] = [
            ("", &[]),
            ("\n", &[""]),
            ("a", &["a"]),
            ("a\n", &["a"]),
            ("a\nb", &["a", "b"]),
            ("a\n\n\nb\n", &["a", "", "", "b"]),
            ("a\r\nb\r", &["a\r", "b\r"]),
            (" {\"x\": 1}\u{2028}\n", &[" {\"x\": 1}\u{2028}"]),
        ];
        for (text, expected) in table {
            assert_eq!(
                lines(text.as_bytes()),
                expected.iter().map(|l| l.as_bytes()).collect::<Vec<_>>(),
                "{text:?}"
            );
        }
        assert_eq!(lines(b"\xff\0\n"), [b"\xff\0"], "bytes need be no text");
    }

    #[test]
    fn a_line_at_the_limit_passes_and_one_over_it_is_named() {
        let mut text = vec![b'a'; INPUT_BYTES_MAX];
        text.push(b'\n');
        assert_eq!(lines(&text)[0].len(), INPUT_BYTES_MAX);
        let mut over = b"short\n".to_vec();
        over.extend(vec![b'a'; INPUT_BYTES_MAX + 1]);
        let mut lines = Lines::new(over.as_slice());
        assert!(lines.next().unwrap().is_ok());
        assert!(matches!(
            lines.next(),
            Some(Err(Error::TooLarge { index: 1 }))
        ));
    }
}
