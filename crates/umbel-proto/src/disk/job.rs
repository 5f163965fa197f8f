//! A job as it was accepted, where it stands, and its blocks of inputs.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use umbel_core::change::{JobRecord, JobStatus, Summary};
use umbel_core::function::{Qualifier, VersionId};
use umbel_core::id::{Appender, Index, JobId, LeaseId};
use umbel_core::job::{
    BlockRef, Counts, JobFailure, JobFailureKind, JobSpec, JobState, Source, StartMode, Target,
    Usage,
};
use umbel_core::policy::{Policy, Tolerance};
use umbel_core::redrive::Redriven;
use umbel_core::shadow::ShadowOf;

use super::function::sample;
use super::{Error, parse, route, wire};

/// Encodes a job; its id is its key.
#[must_use]
pub fn encode_job(job: &JobRecord) -> Bytes {
    let spec = &job.spec;
    let (function, argv) = encode_target(&spec.target);
    let (range_begin, range_count) = match job.source {
        Source::Blocks => (None, 0),
        Source::Range { begin, count } => (Some(begin), count),
    };
    let record = wire::JobRecord {
        name: spec.name.clone(),
        function,
        argv,
        policy: Some(encode_policy(&spec.policy)),
        labels: spec.labels.clone().into_iter().collect(),
        start_as_appended: spec.start == StartMode::AsAppended,
        range_begin,
        range_count,
        request_id: job.request_id.clone(),
        content_digest: job.content_digest.to_vec().into(),
        created_ms: job.created_ms,
        version_id: job.version.map_or(0, |version| version.0),
        routing: job
            .routing
            .as_deref()
            .map(route::encode_routing)
            .unwrap_or_default(),
        shadow_of: job.shadow_of.as_ref().map(|of| wire::ShadowOfRecord {
            job: of.job.0.to_vec().into(),
            function: of.function.clone(),
            alias: of.alias.clone(),
            sample: of.sample.into(),
            salt: of.salt,
        }),
    };
    record.encode_to_vec().into()
}

/// Decodes the job `id`.
///
/// # Errors
///
/// When the bytes are no such record.
pub fn decode_job(id: JobId, bytes: Bytes) -> Result<JobRecord, Error> {
    const KIND: &str = "JobRecord";
    let record: wire::JobRecord = parse(KIND, bytes)?;
    let target = decode_target(KIND, record.function, record.argv)?
        .ok_or_else(|| Error::new(KIND, "it names neither function nor program"))?;
    let policy = record
        .policy
        .ok_or_else(|| Error::new(KIND, "it has no policy"))?;
    let source = match record.range_begin {
        Some(begin) => Source::Range {
            begin,
            count: record.range_count,
        },
        None => Source::Blocks,
    };
    let start = if record.start_as_appended {
        StartMode::AsAppended
    } else {
        StartMode::AsSealed
    };
    let content_digest = <[u8; 32]>::try_from(&record.content_digest[..])
        .map_err(|_| Error::new(KIND, "its digest has not 32 bytes"))?;
    Ok(JobRecord {
        id,
        spec: JobSpec {
            name: record.name,
            target,
            policy: decode_policy(KIND, policy)?,
            labels: record.labels.into_iter().collect(),
            start,
        },
        source,
        request_id: record.request_id,
        content_digest,
        created_ms: record.created_ms,
        version: Some(VersionId(record.version_id)).filter(|version| version.0 > 0),
        routing: route::decode_routing(KIND, record.routing)?,
        shadow_of: record.shadow_of.map(decode_shadow_of).transpose()?,
    })
}

fn decode_shadow_of(record: wire::ShadowOfRecord) -> Result<ShadowOf, Error> {
    const KIND: &str = "ShadowOfRecord";
    let job = <[u8; 16]>::try_from(&record.job[..])
        .map_err(|_| Error::new(KIND, "its job has not 16 bytes"))?;
    Ok(ShadowOf {
        job: JobId(job),
        function: record.function,
        alias: record.alias,
        sample: sample(KIND, record.sample)?,
        salt: record.salt,
    })
}

fn encode_target(target: &Target) -> (String, Vec<String>) {
    match target {
        // No name holds an `@`.
        Target::Function(_) | Target::Version(..) => (target.display(), Vec::new()),
        Target::Program(argv) => (String::new(), argv.clone()),
    }
}

pub(super) fn decode_target(
    kind: &'static str,
    function: String,
    argv: Vec<String>,
) -> Result<Option<Target>, Error> {
    match (function.is_empty(), argv.is_empty()) {
        (true, true) => Ok(None),
        (false, true) => Ok(Some(named(function))),
        (true, false) => Ok(Some(Target::Program(argv))),
        (false, false) => Err(Error::new(kind, "it names a function and a program")),
    }
}

/// `NAME`, `NAME@NUMBER` or `NAME@ALIAS`; an alias begins with a letter.
fn named(text: String) -> Target {
    let Some((name, which)) = text.split_once('@') else {
        return Target::Function(text);
    };
    let which = match which.parse() {
        Ok(number) => Qualifier::Version(number),
        Err(_) => Qualifier::Alias(which.to_owned()),
    };
    Target::Version(name.to_owned(), which)
}

fn encode_redriven(redriven: &Redriven) -> wire::Redriven {
    let target = redriven.target.as_ref().map(encode_target);
    let (function, argv) = target.unwrap_or_default();
    wire::Redriven {
        at_ms: redriven.at_ms,
        function,
        argv,
        invocations: redriven.invocations,
        first_lease_epoch: redriven.first_lease.epoch,
        first_lease_number: redriven.first_lease.number,
        request_id: redriven.request_id.clone(),
        content_digest: redriven.content_digest.to_vec().into(),
    }
}

fn decode_redriven(kind: &'static str, redriven: wire::Redriven) -> Result<Redriven, Error> {
    let content_digest = <[u8; 32]>::try_from(&redriven.content_digest[..])
        .map_err(|_| Error::new(kind, "the digest of its redrive has not 32 bytes"))?;
    Ok(Redriven {
        at_ms: redriven.at_ms,
        target: decode_target(kind, redriven.function, redriven.argv)?,
        invocations: redriven.invocations,
        first_lease: LeaseId {
            epoch: redriven.first_lease_epoch,
            number: redriven.first_lease_number,
        },
        request_id: redriven.request_id,
        content_digest,
    })
}

fn encode_policy(policy: &Policy) -> wire::Policy {
    let (tolerate_count, tolerate_basis_points) = match policy.tolerate {
        None => (None, None),
        Some(Tolerance::Count(count)) => (Some(count), None),
        Some(Tolerance::BasisPoints(points)) => (None, Some(points)),
    };
    wire::Policy {
        max_attempts: policy.max_attempts,
        backoff_initial_ms: policy.backoff_initial_ms,
        backoff_max_ms: policy.backoff_max_ms,
        timeout_ms: policy.timeout_ms,
        deadline_ms: policy.deadline_ms,
        max_concurrency: policy.max_concurrency,
        tolerate_count,
        tolerate_basis_points,
        place_timeout_ms: policy.place_timeout_ms,
        require: policy.require.clone().into_iter().collect(),
        priority: policy.priority,
        log_basis_points: policy.log_basis_points,
        retry_on: policy.retry_on.iter().cloned().collect(),
        no_retry_on: policy.no_retry_on.iter().cloned().collect(),
        enough: policy.enough,
        pin: policy.pin,
    }
}

fn decode_policy(kind: &'static str, policy: wire::Policy) -> Result<Policy, Error> {
    if policy.max_attempts == 0 {
        return Err(Error::new(kind, "its policy allows no attempt"));
    }
    let tolerate = match (policy.tolerate_count, policy.tolerate_basis_points) {
        (None, None) => None,
        (Some(count), None) => Some(Tolerance::Count(count)),
        (None, Some(points)) => Some(Tolerance::BasisPoints(points)),
        (Some(_), Some(_)) => return Err(Error::new(kind, "it tolerates a number and a share")),
    };
    Ok(Policy {
        max_attempts: policy.max_attempts,
        backoff_initial_ms: policy.backoff_initial_ms,
        backoff_max_ms: policy.backoff_max_ms,
        timeout_ms: policy.timeout_ms,
        deadline_ms: policy.deadline_ms,
        max_concurrency: policy.max_concurrency,
        tolerate,
        place_timeout_ms: policy.place_timeout_ms,
        require: policy.require.into_iter().collect(),
        priority: policy.priority,
        log_basis_points: policy.log_basis_points,
        retry_on: policy.retry_on.into_iter().collect(),
        no_retry_on: policy.no_retry_on.into_iter().collect(),
        enough: policy.enough,
        pin: policy.pin,
    })
}

/// Encodes where a job stands.
#[must_use]
pub fn encode_status(status: &JobStatus) -> Bytes {
    let state = match status.state {
        JobState::Running => wire::JobState::Running,
        JobState::Succeeded => wire::JobState::Succeeded,
        JobState::Failed => wire::JobState::Failed,
        JobState::Cancelled => wire::JobState::Cancelled,
    };
    let kind = match status.failure.as_ref().map(|failure| failure.kind) {
        None => wire::JobFailureKind::Unspecified,
        Some(JobFailureKind::Tolerance) => wire::JobFailureKind::Tolerance,
        Some(JobFailureKind::Deadline) => wire::JobFailureKind::Deadline,
        Some(JobFailureKind::Invocations) => wire::JobFailureKind::Invocations,
    };
    let message = status
        .failure
        .as_ref()
        .map(|failure| failure.message.clone());
    let record = wire::JobStatus {
        state: state.into(),
        sealed: status.sealed,
        failure_kind: kind.into(),
        failure_message: message.unwrap_or_default(),
        started_ms: status.started_ms,
        finished_ms: status.finished_ms,
        redrives: status.redrives,
        summary: status.summary.map(encode_summary),
        redriven: status.redriven.as_deref().map(encode_redriven),
        pinned_version_id: status.pinned.map_or(0, |version| version.0),
        pinned_routing: status
            .routing
            .as_deref()
            .map(route::encode_routing)
            .unwrap_or_default(),
    };
    record.encode_to_vec().into()
}

/// Decodes where a job stands.
///
/// # Errors
///
/// When the bytes are no such record.
pub fn decode_status(bytes: Bytes) -> Result<JobStatus, Error> {
    const KIND: &str = "JobStatus";
    let record: wire::JobStatus = parse(KIND, bytes)?;
    let state = match wire::JobState::try_from(record.state) {
        Ok(wire::JobState::Running) => JobState::Running,
        Ok(wire::JobState::Succeeded) => JobState::Succeeded,
        Ok(wire::JobState::Failed) => JobState::Failed,
        Ok(wire::JobState::Cancelled) => JobState::Cancelled,
        Ok(wire::JobState::Unspecified) | Err(_) => {
            return Err(Error::new(
                KIND,
                format!("its state {} is not known", record.state),
            ));
        }
    };
    let kind = match wire::JobFailureKind::try_from(record.failure_kind) {
        Ok(wire::JobFailureKind::Unspecified) => None,
        Ok(wire::JobFailureKind::Tolerance) => Some(JobFailureKind::Tolerance),
        Ok(wire::JobFailureKind::Deadline) => Some(JobFailureKind::Deadline),
        Ok(wire::JobFailureKind::Invocations) => Some(JobFailureKind::Invocations),
        Err(_) => {
            let problem = format!("its failure's kind {} is not known", record.failure_kind);
            return Err(Error::new(KIND, problem));
        }
    };
    Ok(JobStatus {
        state,
        sealed: record.sealed,
        failure: kind.map(|kind| JobFailure {
            kind,
            message: record.failure_message,
        }),
        started_ms: record.started_ms,
        finished_ms: record.finished_ms,
        redrives: record.redrives,
        redriven: record
            .redriven
            .map(|redriven| decode_redriven(KIND, redriven).map(Arc::new))
            .transpose()?,
        pinned: Some(VersionId(record.pinned_version_id)).filter(|version| version.0 > 0),
        routing: route::decode_routing(KIND, record.pinned_routing)?,
        summary: record.summary.map(decode_summary),
    })
}

/// An ended job has nothing that waits or is leased.
fn encode_summary(summary: Summary) -> wire::Summary {
    wire::Summary {
        total: summary.counts.total,
        succeeded: summary.counts.succeeded,
        failed: summary.counts.failed,
        cancelled: summary.counts.cancelled,
        duration_us: summary.usage.duration_us,
        cpu_us: summary.usage.cpu_us,
        attempts: summary.usage.attempts,
    }
}

fn decode_summary(summary: wire::Summary) -> Summary {
    Summary {
        counts: Counts {
            total: summary.total,
            waiting: 0,
            leased: 0,
            succeeded: summary.succeeded,
            failed: summary.failed,
            cancelled: summary.cancelled,
        },
        usage: Usage {
            duration_us: summary.duration_us,
            cpu_us: summary.cpu_us,
            attempts: summary.attempts,
        },
    }
}

/// Encodes that a block was accepted; where it begins and who brought it is its key.
#[must_use]
pub fn encode_appended(block: BlockRef) -> Bytes {
    wire::AppendedRecord {
        count: block.count,
        bytes: block.bytes,
    }
    .encode_to_vec()
    .into()
}

/// Decodes the acceptance of the block that begins at `first` and was brought by `appender`.
///
/// # Errors
///
/// When the bytes are no such record.
pub fn decode_appended(first: Index, appender: Appender, bytes: Bytes) -> Result<BlockRef, Error> {
    const KIND: &str = "AppendedRecord";
    let record: wire::AppendedRecord = parse(KIND, bytes)?;
    if record.count == 0 || first.checked_add(record.count).is_none() {
        let problem = format!("a block at {first} cannot have {} inputs", record.count);
        return Err(Error::new(KIND, problem));
    }
    Ok(BlockRef {
        first,
        count: record.count,
        bytes: record.bytes,
        appender,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::disk::testing;

    proptest! {
        #[test]
        fn jobs_come_back(job in testing::job()) {
            prop_assert_eq!(decode_job(job.id, encode_job(&job)).unwrap(), job);
        }

        #[test]
        fn statuses_come_back(status in testing::status()) {
            prop_assert_eq!(decode_status(encode_status(&status)).unwrap(), status);
        }

        #[test]
        fn a_route_takes_no_more_than_it_says(status in testing::status(), routing in testing::routing()) {
            let said = routing.iter().flat_map(|routing| &routing.nodes);
            let said: usize = said.map(umbel_core::route::Node::bytes).sum();
            let bare = encode_status(&JobStatus { routing: None, ..status.clone() }).len();
            let routed = encode_status(&JobStatus { routing, ..status }).len();
            prop_assert!(routed - bare <= said, "{} bytes, said {}", routed - bare, said);
        }

        #[test]
        fn blocks_come_back(first in 0..u32::MAX / 2, count in 1..u32::MAX / 2, bytes: u32, by: u32) {
            let block = BlockRef { first, count, bytes, appender: Appender(by) };
            let back = decode_appended(first, block.appender, encode_appended(block)).unwrap();
            prop_assert_eq!(back, block);
        }

        #[test]
        fn garbage_is_an_error_and_no_panic(bytes: Vec<u8>) {
            let bytes = Bytes::from(bytes);
            let _ = decode_job(JobId::default(), bytes.clone());
            let _ = decode_status(bytes.clone());
            let _ = decode_appended(0, Appender(0), bytes);
        }
    }

    #[test]
    fn an_unknown_state_is_named() {
        let record = wire::JobStatus {
            state: 99,
            ..wire::JobStatus::default()
        };
        let error = decode_status(record.encode_to_vec().into()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a record of kind JobStatus cannot be read: its state 99 is not known"
        );
    }
}
