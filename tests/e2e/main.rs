//! End to end: real coordinators, real workers, real kills, the real command line.
//!
//! Each module tells one story. All of them run processes of the binary that this
//! build made, on free ports and in directories of their own, so they run side by
//! side. Waiting is always for a fact, with a bound.

#![allow(
    clippy::expect_used,
    reason = "a test that cannot go on says why and ends"
)]

mod admin;
mod bad_functions;
mod bad_input;
mod capsule;
mod cli;
mod clients;
mod cluster;
mod confine;
mod crash;
mod desk;
mod drain;
mod drill;
mod elastic;
mod examples;
mod experiment;
mod functions;
mod local;
mod logs;
mod long_run;
mod policy;
mod publish;
mod real_clients;
mod redrive;
mod restart;
mod rollout;
mod route;
mod runtimes;
mod shadow;
mod storm;
mod upload;
mod warm;
