//! What a worker says, on its way to the wire.

use umbel_core::function::{Digest, Holdings};
use umbel_core::message::{ChunkReport, FromWorker, Hello, InvokeDone, Offer, Report};

use super::function::{wire_arm, wire_id, wire_runtimes};
use super::id::{wire_bytes, wire_lease};
use super::outcome::{failure, wire_cold_start, wire_failed};
use super::ranges::wire_ranges;
use crate::histogram;
use crate::v1;
use crate::v1::connect_request::Message;

/// The worker introduces itself.
#[must_use]
pub fn hello(hello: Hello) -> v1::ConnectRequest {
    let offers = hello.offers.into_iter().map(|offer: Offer| v1::Offer {
        lease: Some(wire_lease(offer.lease)),
        job_id: wire_bytes(offer.job.0),
        indices: wire_ranges(&offer.indices),
        attempt: offer.attempt,
        version_id: wire_id(offer.version),
        arm_id: wire_arm(offer.arm),
    });
    envelope(Message::Hello(v1::Hello {
        protocol: hello.protocol,
        worker_id: wire_bytes(hello.worker.0),
        name: hello.name,
        slots: hello.slots,
        labels: hello.labels,
        functions: hello.functions,
        runs_programs: hello.runs_programs,
        version: hello.version,
        offers: offers.collect(),
        runtimes: wire_runtimes(hello.runtimes),
        holds: Some(wire_holds(hello.holdings)),
    }))
}

/// The worker says something.
#[must_use]
pub fn from_worker(message: FromWorker) -> v1::ConnectRequest {
    envelope(match message {
        FromWorker::Heartbeat(begun) => Message::Heartbeat(v1::Heartbeat {
            begun: begun
                .into_iter()
                .map(|begun| v1::Begun {
                    lease: Some(wire_lease(begun.lease)),
                    count: begun.count.into(),
                })
                .collect(),
        }),
        FromWorker::Holds(holdings) => Message::Holds(wire_holds(holdings)),
        FromWorker::Report(report) => Message::Report(wire_report(report)),
        FromWorker::TakenBack(taken) => Message::TakenBack(v1::TakenBack {
            lease: Some(wire_lease(taken.begun.lease)),
            indices: wire_ranges(&taken.indices),
            begun: taken.begun.count.into(),
        }),
        FromWorker::Leaving => Message::Leaving(v1::Leaving {}),
        FromWorker::InvokeDone(done) => Message::InvokeDone(wire_done(done)),
    })
}

fn wire_holds(holdings: Holdings) -> v1::Holds {
    let wire = |digests: Vec<Digest>| {
        let digests = digests.into_iter();
        digests.map(|digest| digest.0.to_vec().into()).collect()
    };
    let standing = holdings.standing.into_iter();
    let standing = standing.map(|(content, instances)| v1::Standing {
        content: content.0.to_vec().into(),
        instances,
    });
    v1::Holds {
        warm: wire(holdings.warm),
        cached: wire(holdings.cached),
        failed: wire(holdings.failed),
        standing: standing.collect(),
    }
}

fn envelope(message: Message) -> v1::ConnectRequest {
    v1::ConnectRequest {
        message: Some(message),
    }
}

fn wire_report(report: Report) -> v1::Report {
    let chunks = report.chunks.into_iter();
    v1::Report {
        number: report.number,
        chunks: chunks.map(wire_chunk).collect(),
    }
}

fn wire_chunk(chunk: ChunkReport) -> v1::ChunkReport {
    v1::ChunkReport {
        lease: Some(wire_lease(chunk.begun.lease)),
        begun: chunk.begun.count.into(),
        succeeded: wire_ranges(&chunk.succeeded),
        columns: chunk.columns,
        logs: chunk.logs,
        failed: chunk.failed.into_iter().map(wire_failed).collect(),
        duration_us: chunk.usage.duration_us,
        cpu_us: chunk.usage.cpu_us,
        handed_back: wire_ranges(&chunk.handed_back),
        warm: histogram::encode(&chunk.warm).into(),
    }
}

fn wire_done(done: InvokeDone) -> v1::InvokeDone {
    let outcome = match done.outcome {
        Ok(output) => v1::invoke_done::Outcome::Output(output),
        Err(reason) => v1::invoke_done::Outcome::Failure(failure(reason)),
    };
    v1::InvokeDone {
        id: done.id.0,
        outcome: Some(outcome),
        duration_us: done.duration_us,
        cpu_us: done.cpu_us,
        cold_start: done.cold_start.map(wire_cold_start),
    }
}
