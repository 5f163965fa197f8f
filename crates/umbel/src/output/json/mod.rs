//! The shapes in which things are printed as JSON: a promise to scripts.

mod cluster;
mod desk;
mod experiment;
mod function;
mod job;
mod result;
mod rollout;
mod route;
mod shadow;

pub(crate) use cluster::{Status, Worker, Workers};
pub(crate) use desk::DeskResult;
pub(crate) use experiment::Experiment;
pub(crate) use function::{Alias, Functions, Published, PublishedFunction, runtime_word};
pub(crate) use job::{Explanation, Job, Jobs, job_state};
pub(crate) use result::{Invoked, JobResult, failure_kind, invocation_state};
pub(crate) use rollout::Rollout;
pub(crate) use route::{Explained, GotRoute, Simulated};
pub(crate) use shadow::{Shadow, ShadowDifference};

/// A point in time for a table: without fractions of a second.
pub(crate) fn time(time: Option<&prost_types::Timestamp>) -> String {
    let whole = time.map(|time| prost_types::Timestamp { nanos: 0, ..*time });
    shown(whole.as_ref()).unwrap_or_default()
}

/// A point in time, as RFC 3339 in UTC.
fn shown(time: Option<&prost_types::Timestamp>) -> Option<String> {
    time.map(ToString::to_string)
}
