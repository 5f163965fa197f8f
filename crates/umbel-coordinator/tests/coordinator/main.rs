//! A coordinator in this process, with real gRPC on a free port and a scripted worker.

#![allow(missing_docs, reason = "tests say what they are about in their names")]

mod jobs;
mod port;
mod restart;
mod sessions;
mod support;
mod uploads;
