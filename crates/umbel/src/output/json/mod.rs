//! The shapes in which things are printed as JSON: a promise to scripts.

mod cluster;
mod desk;
mod job;
mod result;

pub(crate) use cluster::{Functions, Status, Worker, Workers};
pub(crate) use desk::DeskResult;
pub(crate) use job::{Explanation, Job, Jobs, job_state};
pub(crate) use result::{Invoked, JobResult, failure_kind, invocation_state};

/// A point in time, as RFC 3339 in UTC.
fn shown(time: Option<&prost_types::Timestamp>) -> Option<String> {
    time.map(ToString::to_string)
}
