//! Messages as tests say them, and both ways over the wire.

use bytes::Bytes;
use umbel_core::id::{JobId, LeaseId, WorkerId};
use umbel_core::message::{FromWorker, Hello, Offer};
use umbel_core::outcome::{FailedAttempt, Failure, FailureKind};
use umbel_core::ranges::Ranges;

use super::{FromCoordinator, Incoming, Invalid, Outgoing};
use umbel_core::function::{Digest, Holdings, Runtime, VersionId};

use crate::columns::ColumnsBuilder;

pub(crate) const LEASE: LeaseId = LeaseId {
    epoch: 3,
    number: 17,
};

pub(crate) fn some_hello() -> Hello {
    Hello {
        protocol: umbel_core::limit::PROTOCOL,
        worker: WorkerId([9; 16]),
        name: "w-1".into(),
        slots: 8,
        labels: [("zone".to_owned(), "a".to_owned())].into(),
        functions: vec!["resize".into(), "umbel.echo".into()],
        runs_programs: true,
        runtimes: [Runtime::Python, Runtime::Wasm].into_iter().collect(),
        holdings: Holdings {
            warm: vec![Digest([3; 32])],
            cached: vec![Digest([4; 32])],
            standing: vec![(Digest([3; 32]), 2)],
            failed: vec![Digest([6; 32])],
        },
        version: "0.1.0".into(),
        offers: vec![Offer {
            lease: LEASE,
            job: JobId([5; 16]),
            indices: Ranges::one(3..9),
            attempt: 2,
            version: Some(VersionId(5)),
            arm: Some(umbel_core::route::ArmId(6)),
        }],
    }
}

pub(crate) fn some_failure() -> Failure {
    Failure {
        kind: FailureKind::Timeout,
        error_type: "Timeout".into(),
        message: "ran longer than 5 ms".into(),
        stderr: "…".into(),
    }
}

pub(crate) fn failed(index: u32) -> FailedAttempt {
    FailedAttempt {
        index,
        failure: some_failure(),
        started_at_us: 7,
        duration_us: 5_000,
        cpu_us: Some(40),
        cold_start: None,
        no_retry: true,
    }
}

pub(crate) fn columns(count: u32) -> Bytes {
    let mut builder = ColumnsBuilder::new();
    for i in 0..count {
        builder.push(i.to_string().as_bytes(), 10, Some(9), 1_000 + u64::from(i));
    }
    builder.finish()
}

pub(crate) fn to_coordinator(message: FromWorker) -> Result<Incoming, Invalid> {
    super::incoming(super::from_worker(message))
}

pub(crate) fn to_worker(message: umbel_core::message::ToWorker) -> FromCoordinator {
    match super::outgoing(message) {
        Outgoing::Ready(wire) => super::from_coordinator(wire).unwrap(),
        Outgoing::Load(head, blocks) => panic!("{head:?} wants {blocks:?}"),
    }
}
