//! The last bytes of a stream, in bounded memory.

use std::os::fd::BorrowedFd;

use rustix::buffer::spare_capacity;
use rustix::io::{Errno, read};

/// How much is read at once.
const READ_BYTES: usize = 16 * 1024;

/// Keeps the last `bytes_max` bytes of what it reads.
#[derive(Debug)]
pub(crate) struct Tail {
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl Tail {
    pub(crate) const fn new(bytes_max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            bytes_max,
        }
    }

    /// Reads once; 0 is the stream's end.
    pub(crate) fn read_from(&mut self, stream: BorrowedFd<'_>) -> Result<usize, Errno> {
        self.fill(|bytes| read(stream, spare_capacity(bytes)))
    }

    /// Reads once, by whatever appends to the bytes and answers how many it appended.
    pub(crate) fn fill<E>(
        &mut self,
        read: impl FnOnce(&mut Vec<u8>) -> Result<usize, E>,
    ) -> Result<usize, E> {
        self.bytes.reserve(READ_BYTES);
        let count = read(&mut self.bytes)?;
        // Cut only at twice the bound, so that a byte is moved once and not at every read.
        if self.bytes.len() > 2 * self.bytes_max {
            self.cut();
        }
        Ok(count)
    }

    /// Adds bytes that were read elsewhere.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.cut();
    }

    /// Forgets what it kept.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// The kept bytes, and none kept from now on.
    pub(crate) fn take_text(&mut self) -> String {
        let bytes_max = self.bytes_max;
        std::mem::replace(self, Self::new(bytes_max)).into_text()
    }

    /// The kept bytes; what is no UTF-8 (a character cut in two at the front) is replaced.
    pub(crate) fn into_text(mut self) -> String {
        self.cut();
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    fn cut(&mut self) {
        let excess = self.bytes.len().saturating_sub(self.bytes_max);
        self.bytes.drain(..excess);
    }
}

/// The last lines of a text, for a message: at most `lines_max` of them and `bytes_max` bytes.
pub(crate) fn last_lines(text: &str, lines_max: usize, bytes_max: usize) -> &str {
    let text = text.trim_end();
    let from = text
        .rmatch_indices('\n')
        .nth(lines_max - 1)
        .map_or(0, |(at, _)| at + 1);
    let earliest = text.len().saturating_sub(bytes_max);
    let from = (from.max(earliest)..=text.len())
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(text.len());
    &text[from..]
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn only_the_end_of_a_long_stream_is_kept() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut tail = Tail::new(10);
        for round in 0..1_000 {
            writeln!(writer, "line {round}").unwrap();
            tail.read_from(reader.as_fd()).unwrap();
            assert!(tail.bytes.len() <= 20);
        }
        assert_eq!(tail.into_text(), "\nline 999\n");
    }

    #[test]
    fn the_last_lines_are_bounded_in_lines_and_bytes() {
        assert_eq!(last_lines("a\nb\nc\n\n", 2, 100), "b\nc");
        assert_eq!(last_lines("a", 2, 100), "a");
        assert_eq!(last_lines("", 2, 100), "");
        assert_eq!(last_lines("aaaaüb", 2, 2), "b");
    }
}
