//! The coordinator: the shell that waits. gRPC services, the engine's thread, sessions and HTTP,
//! around the machine of `umbel-core` and the store.
//!
//! [`Coordinator::start`] opens the data and serves; [`Running::drain`] ends in order.
//!
//! One thread, the *engine*, owns the machine. What happens comes to it as mail; it turns: drain,
//! handle, hand all durable changes of the turn to the commit thread as one batch, carry out. What
//! shows or promises state is held until its turn is durable; a grant of work waits for nothing.

mod api;
mod clock;
mod config;
mod coordinator;
mod door;
mod engine;
mod error;
mod experiment;
mod http;
mod incarnation;
mod keeper;
mod metrics;
mod port;
mod refusals;
mod rollout;
mod room;
mod session;
mod shadow;
mod sorter;
mod store;
mod streams;
mod sweep;

pub use config::Config;
#[doc(hidden)]
pub use coordinator::Assembled;
pub use coordinator::{Coordinator, Running};
#[doc(hidden)]
pub use engine::Turns;
pub use error::Error;
pub use room::Bounds;
#[doc(hidden)]
pub use store::Opener;
pub use streams::StreamsMax;
