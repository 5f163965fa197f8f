//! Where a native function puts its output.

use std::io;

use crate::failure::Failure;

/// The output of one invocation, appended to a buffer that many invocations share.
///
/// Sharing the buffer is what spares the allocation for each invocation; that a function can only
/// append keeps it away from its neighbours' outputs. Bytes over the limit are counted and not
/// stored, so a function that writes without end does not fill the memory.
#[derive(Debug)]
pub struct Output<'a> {
    buffer: &'a mut Vec<u8>,
    begin: usize,
    bytes_max: usize,
    too_large: bool,
}

impl<'a> Output<'a> {
    /// An empty output at the end of `buffer`.
    pub fn new(buffer: &'a mut Vec<u8>, bytes_max: usize) -> Self {
        let begin = buffer.len();
        Self {
            buffer,
            begin,
            bytes_max,
            too_large: false,
        }
    }

    /// Appends bytes. Over the limit they are dropped, and the attempt fails when its function
    /// returns.
    #[inline]
    pub fn append(&mut self, bytes: &[u8]) {
        if self.len() + bytes.len() > self.bytes_max {
            self.too_large = true;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// How many bytes this invocation has appended.
    #[inline]
    pub fn len(&self) -> usize {
        self.buffer.len() - self.begin
    }

    /// Whether nothing was appended yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the attempt: a failed one leaves no bytes behind.
    pub(crate) fn close(self, outcome: Result<(), Failure>) -> Result<(), Failure> {
        let outcome = match outcome {
            Ok(()) if self.too_large => Err(Failure::output_too_large(self.bytes_max)),
            other => other,
        };
        if outcome.is_err() {
            self.buffer.truncate(self.begin);
        }
        outcome
    }
}

/// So that `write!(output, ...)` works; it never fails.
impl io::Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
