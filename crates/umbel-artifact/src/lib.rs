//! Artifacts, the bytes of published functions: packed at the desk from a file, a folder or a
//! zip, checked at the coordinator's door, unpacked into a worker's cache.
//!
//! The form is `proto/ARTIFACT.md`: a tar archive of nothing but files, compressed by gzip, and
//! addressed by the SHA-256 of the archive before its compression. What is packed twice is the
//! same bytes. What comes from elsewhere is read without trust: every name, count and length is
//! bounded before anything is written.

mod cache;
mod error;
mod pack;
mod path;
mod read;
mod zipped;

pub use cache::{Cache, Cached, digest_of};
pub use error::Error;
pub use pack::{LEFT_OUT, Packed, is_zip, pack};
pub use read::{Contents, check, unpack};
