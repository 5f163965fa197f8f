//! What happened, for eyes and as one number.

use std::fmt::Debug;

/// A running hash over everything that happens and every message and write; two runs
/// of a seed must give the same.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    verbose: bool,
    now_ms: u64,
}

impl Trace {
    pub(crate) fn new(verbose: bool) -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            verbose,
            now_ms: 0,
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    fn number(&mut self, number: u64) {
        self.hash = (self.hash ^ number).wrapping_mul(0x0100_0000_01b3);
        self.hash ^= self.hash >> 29;
    }

    /// Something happens.
    pub(crate) fn happens(&mut self, now_ms: u64, what: &impl Debug) {
        self.now_ms = now_ms;
        self.number(now_ms);
        if self.verbose {
            self.say(&|| format!("{what:?}"));
        }
    }

    /// Bytes went over the wire or to the disk.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        for part in bytes.chunks(8) {
            let mut number = [0; 8];
            number[..part.len()].copy_from_slice(part);
            self.number(u64::from_le_bytes(number));
        }
    }

    /// A line for eyes.
    #[expect(clippy::print_stdout, reason = "this is what -v asks for")]
    pub(crate) fn say(&self, words: &dyn Fn() -> String) {
        if self.verbose {
            println!("{:>8} {}", self.now_ms, words());
        }
    }
}
