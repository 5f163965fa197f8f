//! A coordinator in this process, with real gRPC on a free port and a scripted worker.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy knows the tests here, but not what they share"
)]

mod errors;
mod failing;
mod hostile;
mod jobs;
mod port;
mod published;
mod redrives;
mod restart;
mod rollouts;
mod room;
mod routes;
mod sessions;
mod slow_readers;
mod support;
mod uploads;
