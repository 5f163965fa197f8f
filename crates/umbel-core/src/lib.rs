//! Every decision of umbel, and nothing impure within reach: no clock, socket,
//! disk, thread, randomness or log.
//!
//! Two pure machines live here. [`machine::Machine`] is the coordinator's: facts
//! come in as [`event::Event`]s, effects go out as [`command::Command`]s, and the
//! time is a number handed in. `worker` is the other end of the wire. Around each
//! stands a shell that waits, so that a simulation can run whole clusters on one
//! thread from one seed.
//!
//! Three storeys: `words` (plain data), `tables` (private fields, own invariants),
//! `turn` (one family of events a file). A turn may touch many tables; a table
//! never touches another; a turn never calls a turn: what several turns need is a
//! `step`.

pub mod config;
pub mod machine;
mod tables;
mod turn;
mod words;
pub mod worker;

pub use words::{
    arm, change, cold_start, command, event, function, guard, histogram, history, id, index_set,
    job, limit, message, outcome, policy, ranges, redrive, rollout, route, shadow, size, time,
    view,
};
