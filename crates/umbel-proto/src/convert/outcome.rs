//! Failures.

use umbel_core::cold_start::ColdStart;
use umbel_core::limit::{FAILURE_MESSAGE_BYTES_MAX, FAILURE_TYPE_BYTES_MAX, LOG_BYTES_MAX};
use umbel_core::outcome::{FailedAttempt, Failure, FailureKind};

use super::Invalid;
use super::ranges::index;
use super::text::{head, tail};
use crate::v1;

/// Reads a failure and cuts its texts to their limits: it is told all the same.
pub(super) fn parse_failure(field: &str, wire: Option<v1::Failure>) -> Result<Failure, Invalid> {
    let wire = wire.ok_or_else(|| Invalid::broken(field, "the failure is missing"))?;
    let kind = match wire.kind() {
        v1::FailureKind::Function => FailureKind::Function,
        v1::FailureKind::Timeout => FailureKind::Timeout,
        v1::FailureKind::Crashed => FailureKind::Crashed,
        v1::FailureKind::Lost => FailureKind::Lost,
        v1::FailureKind::Rejected => FailureKind::Rejected,
        v1::FailureKind::Unspecified => {
            let kind = wire.kind;
            return Err(Invalid::broken(
                field,
                format!("failure kind {kind} is not known"),
            ));
        }
    };
    Ok(Failure {
        kind,
        error_type: head(&wire.r#type, FAILURE_TYPE_BYTES_MAX).to_owned(),
        message: head(&wire.message, FAILURE_MESSAGE_BYTES_MAX).to_owned(),
        stderr: tail(&wire.stderr, LOG_BYTES_MAX).to_owned(),
    })
}

pub(super) fn parse_failed(wire: v1::FailedInvocation) -> Result<FailedAttempt, Invalid> {
    let field = "report.chunks.failed";
    Ok(FailedAttempt {
        index: index(field, wire.index)?,
        failure: parse_failure(field, wire.failure)?,
        started_at_us: wire.started_at_us,
        duration_us: wire.duration_us,
        cpu_us: wire.cpu_us,
        cold_start: wire.cold_start.map(cold_start),
        no_retry: wire.no_retry,
    })
}

pub(super) fn cold_start(wire: v1::ColdStart) -> ColdStart {
    ColdStart {
        fetch_us: wire.fetch_us,
        load_us: wire.load_us,
        init_us: wire.init_us,
        first_call_us: wire.first_call_us,
    }
}

/// A cold start, as it is shown and reported.
#[must_use]
pub fn wire_cold_start(cold_start: ColdStart) -> v1::ColdStart {
    v1::ColdStart {
        fetch_us: cold_start.fetch_us,
        load_us: cold_start.load_us,
        init_us: cold_start.init_us,
        first_call_us: cold_start.first_call_us,
    }
}

/// A kind of failure.
#[must_use]
pub fn wire_failure_kind(kind: FailureKind) -> v1::FailureKind {
    match kind {
        FailureKind::Function => v1::FailureKind::Function,
        FailureKind::Timeout => v1::FailureKind::Timeout,
        FailureKind::Crashed => v1::FailureKind::Crashed,
        FailureKind::Lost => v1::FailureKind::Lost,
        FailureKind::Rejected => v1::FailureKind::Rejected,
    }
}

/// A failure, as it is shown and reported.
#[must_use]
pub fn failure(failure: Failure) -> v1::Failure {
    v1::Failure {
        kind: wire_failure_kind(failure.kind).into(),
        r#type: failure.error_type,
        message: failure.message,
        stderr: failure.stderr,
    }
}

pub(super) fn wire_failed(failed: FailedAttempt) -> v1::FailedInvocation {
    v1::FailedInvocation {
        index: failed.index.into(),
        failure: Some(failure(failed.failure)),
        started_at_us: failed.started_at_us,
        duration_us: failed.duration_us,
        cpu_us: failed.cpu_us,
        no_retry: failed.no_retry,
        cold_start: failed.cold_start.map(wire_cold_start),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_and_the_last_of_stderr_is_kept() {
        let wire = v1::Failure {
            kind: v1::FailureKind::Function.into(),
            r#type: "t".repeat(300),
            message: "m".repeat(70_000),
            stderr: format!("{}end", "x".repeat(20_000)),
        };
        let failure = parse_failure("f", Some(wire)).unwrap();
        assert_eq!(failure.error_type.len(), FAILURE_TYPE_BYTES_MAX);
        assert_eq!(failure.message.len(), FAILURE_MESSAGE_BYTES_MAX);
        assert_eq!(failure.stderr.len(), LOG_BYTES_MAX);
        assert!(failure.stderr.ends_with("end"));
    }

    #[test]
    fn a_kind_that_is_not_known_is_refused() {
        for kind in [0, 99] {
            let wire = v1::Failure {
                kind,
                ..v1::Failure::default()
            };
            assert!(parse_failure("f", Some(wire)).is_err());
        }
    }
}
