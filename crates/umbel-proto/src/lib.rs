//! The wire and disk schema of umbel, and the conversions to and from core words.
//!
//! Parse, don't validate: what comes from outside becomes core words here or is
//! refused here, in words that name the field and the limit, so that everything
//! behind these doors is well formed.
//!
//! - [`v1`]: the messages and services, as generated from `proto/umbel/v1`.
//! - [`block`], [`columns`]: runs of inputs and outputs that are encoded once and
//!   moved without being opened (`proto/BLOCK.md`).
//! - [`results`]: results on their way to a client, encoded without a struct for each.
//! - [`convert`]: wire to core words and back, for both ends of every wire.
//! - [`status`]: refusals as `google.rpc.Status` (`proto/ERRORS.md`).
//! - [`disk`]: records on disk to core words and back.

pub mod block;
mod cold_starts;
pub mod columns;
pub mod convert;
pub mod disk;
mod generated;
mod histogram;
pub mod logs;
mod packed;
pub mod results;
pub mod status;
mod varint;

pub use generated::v1;

/// The file descriptors of both packages and what they import, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/umbel.descriptors.bin"));

/// The version of umbel that both ends of a wire tell each other.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
