//! Time is a number handed in; no machine ever asks for it.

/// What time it is, on both clocks, as the shell hands it in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Milliseconds of a clock that never goes back and starts anywhere. Leases
    /// and graces are measured with it.
    pub mono_ms: u64,
    /// Milliseconds since 1970. Deadlines and backoffs are, since they outlive
    /// the process.
    pub wall_ms: u64,
}
