//! What the coordinator says to a worker, on its way to the wire.

use umbel_core::function::Keep;
use umbel_core::job::BlockRef;
use umbel_core::message::{Grant, GrantHead, GrantInputs, Invoke, OfferAnswer, ToWorker};

use super::function::{wire_arm, wire_id, wire_notice};
use super::id::{wire_bytes, wire_lease};
use super::name::wire_target;
use super::ranges::wire_ranges;
use crate::v1;
use crate::v1::connect_response::Message;
use crate::v1::grant::Inputs as WireInputs;

/// What becomes of a message to a worker.
#[derive(Clone, Debug, PartialEq)]
pub enum Outgoing {
    /// It can leave.
    Ready(v1::ConnectResponse),
    /// A grant whose blocks are to be loaded first; [`super::cut`] what it needs
    /// out of each, then [`grant_message`].
    Load(Box<GrantHead>, Vec<BlockRef>),
}

/// Turns a message to a worker into what the wire bears.
#[must_use]
pub fn outgoing(message: ToWorker) -> Outgoing {
    let message = match message {
        ToWorker::Grant(Grant { head, inputs }) => match inputs {
            GrantInputs::Blocks(blocks) => return Outgoing::Load(Box::new(head), blocks),
            GrantInputs::Range { begin } => {
                Message::Grant(wire_grant(head, WireInputs::RangeBegin(begin)))
            }
        },
        ToWorker::Welcome(welcome) => Message::Welcome(v1::Welcome {
            heartbeat_ms: welcome.heartbeat_ms,
            epoch: welcome.epoch,
            answers: welcome.answers.into_iter().map(wire_answer).collect(),
            version: crate::VERSION.to_owned(),
        }),
        ToWorker::Version(version) => Message::Version(Box::new(wire_notice(&version))),
        ToWorker::Keep(kept) => Message::Keep(v1::Keep {
            versions: kept.into_iter().map(wire_keep).collect(),
        }),
        ToWorker::Ack(report) => Message::Ack(v1::Ack { report }),
        ToWorker::TakeBack { lease, keep } => Message::TakeBack(v1::TakeBack {
            lease: Some(wire_lease(lease)),
            keep: keep.into(),
        }),
        ToWorker::Revoke(leases) => Message::Revoke(v1::Revoke {
            leases: leases.into_iter().map(wire_lease).collect(),
        }),
        ToWorker::Drain => Message::Drain(v1::Drain {}),
        ToWorker::Invoke(invoke) => Message::Invoke(wire_invoke(invoke)),
        ToWorker::InvokeCancel(id) => Message::InvokeCancel(v1::InvokeCancel { id: id.0 }),
    };
    Outgoing::Ready(envelope(message))
}

fn wire_keep(keep: Keep) -> v1::KeptVersion {
    v1::KeptVersion {
        version_id: keep.version.0,
        instances: keep.instances,
    }
}

/// A grant with the slices of its blocks, in the order of its indices.
#[must_use]
pub fn grant_message(head: GrantHead, slices: Vec<v1::InputSlice>) -> v1::ConnectResponse {
    let inputs = WireInputs::Slices(v1::InputSlices { slices });
    envelope(Message::Grant(wire_grant(head, inputs)))
}

fn envelope(message: Message) -> v1::ConnectResponse {
    v1::ConnectResponse {
        message: Some(message),
    }
}

fn wire_grant(head: GrantHead, inputs: WireInputs) -> v1::Grant {
    let (function, program) = wire_target(head.target);
    v1::Grant {
        lease: Some(wire_lease(head.lease)),
        job_id: wire_bytes(head.job.0),
        function,
        program,
        indices: wire_ranges(&head.indices),
        attempt: head.attempt,
        timeout_ms: head.timeout_ms.unwrap_or(0),
        slots: head.slots,
        log_basis_points: head.log_basis_points,
        inputs: Some(inputs),
        version_id: wire_id(head.version),
        arm_id: wire_arm(head.arm),
    }
}

fn wire_answer(answer: OfferAnswer) -> v1::OfferAnswer {
    let (lease, kept) = match &answer.kept {
        Some((lease, kept)) => (Some(wire_lease(*lease)), wire_ranges(kept)),
        None => (None, Vec::new()),
    };
    v1::OfferAnswer {
        old_lease: Some(wire_lease(answer.old_lease)),
        lease,
        kept,
        slots: answer.slots,
    }
}

fn wire_invoke(invoke: Invoke) -> v1::Invoke {
    let (function, program) = wire_target(invoke.target);
    v1::Invoke {
        id: invoke.id.0,
        function,
        program,
        input: invoke.input,
        timeout_ms: invoke.timeout_ms,
        version_id: wire_id(invoke.version),
    }
}
