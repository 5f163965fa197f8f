//! What it took to run where no warm instance stood ready.

/// The parts of a cold start, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColdStart {
    /// Getting the function's code onto the worker; 0 where it was there.
    pub fetch_us: u64,
    /// From the wish for an instance to its running process or module.
    pub load_us: u64,
    /// From there until it asked for its first invocation.
    pub init_us: u64,
    /// The first call itself.
    pub first_call_us: u64,
}

impl ColdStart {
    /// The names of the parts, in the order of [`Self::parts`].
    pub const PARTS: [&'static str; 4] = ["fetch", "load", "init", "first_call"];

    /// The parts in the order in which they follow each other.
    #[must_use]
    pub fn parts(self) -> [u64; 4] {
        [
            self.fetch_us,
            self.load_us,
            self.init_us,
            self.first_call_us,
        ]
    }

    /// All of it.
    #[must_use]
    pub fn total_us(self) -> u64 {
        self.parts().into_iter().fold(0, u64::saturating_add)
    }

    /// The cold start that has these parts.
    #[must_use]
    pub fn of_parts([fetch_us, load_us, init_us, first_call_us]: [u64; 4]) -> Self {
        Self {
            fetch_us,
            load_us,
            init_us,
            first_call_us,
        }
    }
}
