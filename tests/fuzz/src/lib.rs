//! What the fuzzers call: each target takes any bytes, reads them as something that comes from
//! outside, and holds what was understood against what it means. A panic is a finding.
//!
//! `fuzz/` runs the targets under libFuzzer; `tests/replay.rs` runs the corpus through the same
//! functions with every `cargo test`.

#![allow(
    clippy::expect_used,
    reason = "a target that cannot go on has found something, and says what"
)]

mod client;
mod disk;
mod input;
mod seeds;
mod session;

pub use seeds::seeds;

/// A target: tells whether the bytes meant something.
pub type Target = fn(&[u8]) -> bool;

/// All targets, by the names that `cargo fuzz run` knows.
pub const TARGETS: &[(&str, Target)] = &[
    ("client", client::request),
    ("results", client::results),
    ("session_in", session::to_coordinator),
    ("session_out", session::to_worker),
    ("disk", disk::record),
    ("block", disk::block),
    ("columns", disk::columns),
    ("key", umbel_store::fuzzing::key),
    ("backup", disk::backup),
    ("artifact", disk::artifact),
    ("lines", input::lines),
    ("csv", input::csv),
    ("json", input::json),
];

/// Runs bytes through a target.
///
/// # Panics
/// When there is no such target, and when the target found something.
#[must_use]
pub fn run(target: &str, bytes: &[u8]) -> bool {
    let found = TARGETS.iter().find(|(name, _)| *name == target);
    let (_, run) = found.unwrap_or_else(|| panic!("there is no target {target}"));
    run(bytes)
}
