//! The worker: a session with the coordinator around a runtime.
//!
//! It is also the library for functions written in Rust: a program registers
//! functions of its own, and is a worker.
//!
//! ```no_run
//! # async fn example() -> Result<(), umbel_worker::Error> {
//! umbel_worker::Worker::builder()
//!     .coordinator("http://127.0.0.1:7600")
//!     .function("size", |input: &[u8]| Ok::<_, String>(input.len().to_string()))
//!     .run()
//!     .await
//! # }
//! ```
//!
//! What a worker decides, its machine decides ([`umbel_core::worker`]). Around it
//! stand one thread for each slot (`slot`), which runs pieces in a plain loop, a
//! thread that watches over those that run long (`watch`), and one async task that
//! speaks with the coordinator (`link`, `session`). They meet on the `floor`.

mod backoff;
mod builder;
mod clock;
mod config;
mod error;
mod failure;
mod floor;
mod handle;
mod lane;
mod link;
mod report;
mod session;
mod shelf;
mod slot;
mod version;
mod watch;
mod work;

pub use builder::{Builder, Worker};
pub use config::Config;
pub use error::Error;
pub use handle::Handle;
pub use shelf::CacheConfig;
pub use version::runtimes;

pub use umbel_runtime as runtime;

/// Runs pieces without a coordinator, to measure what one slot can do.
#[doc(hidden)]
pub mod measure;

/// A worker whose network and slots somebody else drives.
#[doc(hidden)]
pub mod inline;
