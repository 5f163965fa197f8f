//! What umbel remembers.
//!
//! [`Store`] is what the coordinator uses: the changes of a turn go in as one batch, a restart gets
//! them back, and results are read straight from it. Below it lies an ordered key-value engine
//! behind a small trait, and the one engine that there is today, on sled.
//!
//! [`Engine`] takes atomic [`WriteBatch`]es in order and tells a [`Listener`] how far they are
//! durable; reads come in bounded [`Page`]s. Nothing of sled leaks out of [`SledEngine`], so that
//! another engine can join it. [`MemoryEngine`] forgets everything at its end: it serves tests and
//! the simulation, which decides itself what a crash keeps.

pub mod backup;
mod census;
pub mod check;
mod commit;
mod directory;
mod engine;
mod error;
mod format;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod key;
mod live;
mod lock;
mod mark;
mod memory;
mod open;
mod recover;
mod results;
mod sled_engine;
mod store;
mod sync;
#[cfg(test)]
mod testing;
mod waker;

pub use census::{Census, census};
pub use engine::{
    Commit, Direction, Engine, Entry, FOLLOWED_BYTES_MAX, Followed, Listener, Page, Refused, Scan,
    Stats, Write, WriteBatch,
};
pub use error::Error;
pub use memory::MemoryEngine;
pub use open::Settings;
pub use results::{
    AsCompleted, CompletedPage, Cursor, Found, Gaps, InOrder, LogPage, LogReader, LogRow,
    OrderedPage, Outcome, Reached, ResultRow, ResultsInColumns, Timing, Wanted,
};
pub use sled_engine::SledEngine;
pub use store::{Changes, Opened, Store};

/// The largest value in bytes; what is larger is cut into parts under consecutive keys.
///
/// Sled splits its leaves by count (at most 16 entries stay together), not by size: seventeen such
/// values stay under a quarter of a segment, above which sled would write the leaf to a file of its
/// own that it never syncs.
pub const VALUE_BYTES_MAX: usize = 64 << 10;
