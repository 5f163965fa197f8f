//! What the coordinator says, at the worker's door.

use std::sync::Arc;

use umbel_core::function::{Keep, Version, VersionId};
use umbel_core::id::{InvokeId, LeaseId};
use umbel_core::limit::{CHUNK_INVOCATIONS_MAX, VERSIONS_KEPT_MAX, WORKER_SLOTS_MAX};
use umbel_core::message::{GrantHead, Invoke, OfferAnswer, Welcome};

use super::Invalid;
use super::function::{parse_arm, parse_id, parse_notice};
use super::grant::{Inputs, parse_slices};
use super::id::{job_bytes, lease};
use super::name::target;
use super::ranges::ranges;
use crate::v1;
use crate::v1::connect_response::Message;
use crate::v1::grant::Inputs as WireInputs;

/// What comes from the coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromCoordinator {
    /// The session stands.
    Welcome {
        /// What it says.
        welcome: Welcome,
        /// The coordinator's version of umbel.
        version: String,
    },
    /// What a version is.
    Version(Arc<Version>),
    /// All versions that are to stand ready from now on.
    Keep(Vec<Keep>),
    /// Work.
    Grant {
        /// What runs, and how.
        head: Box<GrantHead>,
        /// The inputs.
        inputs: Inputs,
    },
    /// The report of this number, and all before it, are durable.
    Ack(u64),
    /// Asks for what was not begun.
    TakeBack {
        /// Of which lease.
        lease: LeaseId,
        /// How many of those not begun the worker keeps.
        keep: u32,
    },
    /// These leases have ended.
    Revoke(Vec<LeaseId>),
    /// Take nothing new, finish, leave.
    Drain,
    /// One invocation to be run at once.
    Invoke(Invoke),
    /// An invocation nobody waits for any more.
    InvokeCancel(InvokeId),
}

/// Reads a message of the coordinator.
///
/// # Errors
/// When it is not well formed. The session is then to be ended.
pub fn from_coordinator(wire: v1::ConnectResponse) -> Result<FromCoordinator, Invalid> {
    match wire.message {
        None => Err(Invalid::broken(
            "message",
            "it is missing or of a newer protocol",
        )),
        Some(Message::Welcome(welcome)) => {
            let answers = welcome.answers.into_iter().map(parse_answer);
            Ok(FromCoordinator::Welcome {
                welcome: Welcome {
                    heartbeat_ms: welcome.heartbeat_ms,
                    epoch: welcome.epoch,
                    answers: answers.collect::<Result<_, _>>()?,
                },
                version: welcome.version,
            })
        }
        Some(Message::Version(notice)) => {
            Ok(FromCoordinator::Version(Arc::new(parse_notice(*notice)?)))
        }
        Some(Message::Keep(keep)) => {
            // What is beyond the bound is a newer coordinator's wish, and not kept.
            let kept = keep.versions.into_iter().take(VERSIONS_KEPT_MAX);
            let kept = kept.map(|wire| Keep {
                version: VersionId(wire.version_id),
                instances: wire.instances.clamp(1, WORKER_SLOTS_MAX),
            });
            Ok(FromCoordinator::Keep(kept.collect()))
        }
        Some(Message::Grant(grant)) => parse_grant(grant),
        Some(Message::Ack(ack)) => Ok(FromCoordinator::Ack(ack.report)),
        Some(Message::TakeBack(take)) => Ok(FromCoordinator::TakeBack {
            lease: lease("take_back", take.lease)?,
            keep: u32::try_from(take.keep).unwrap_or(u32::MAX),
        }),
        Some(Message::Revoke(revoke)) => {
            let leases = revoke.leases.into_iter();
            let leases = leases.map(|wire| lease("revoke", Some(wire)));
            Ok(FromCoordinator::Revoke(leases.collect::<Result<_, _>>()?))
        }
        Some(Message::Drain(v1::Drain {})) => Ok(FromCoordinator::Drain),
        Some(Message::Invoke(invoke)) => Ok(FromCoordinator::Invoke(Invoke {
            id: InvokeId(invoke.id),
            target: target("invoke.", invoke.function, invoke.program)?,
            version: parse_id(invoke.version_id),
            input: invoke.input,
            timeout_ms: invoke.timeout_ms,
        })),
        Some(Message::InvokeCancel(cancel)) => {
            Ok(FromCoordinator::InvokeCancel(InvokeId(cancel.id)))
        }
    }
}

fn parse_answer(wire: v1::OfferAnswer) -> Result<OfferAnswer, Invalid> {
    let field = "welcome.answers";
    let kept = ranges(field, &wire.kept, CHUNK_INVOCATIONS_MAX)?;
    let kept = match wire.lease {
        Some(new) => Some((lease(field, Some(new))?, kept)),
        None if kept.is_empty() => None,
        None => return Err(Invalid::broken(field, "what is kept has no lease")),
    };
    Ok(OfferAnswer {
        old_lease: lease(field, wire.old_lease)?,
        kept,
        slots: wire.slots,
    })
}

fn parse_grant(wire: v1::Grant) -> Result<FromCoordinator, Invalid> {
    let indices = ranges("grant.indices", &wire.indices, CHUNK_INVOCATIONS_MAX)?;
    if indices.is_empty() || wire.slots == 0 || wire.attempt == 0 {
        return Err(Invalid::broken(
            "grant",
            "indices, slots or attempt are missing",
        ));
    }
    let inputs = match wire.inputs {
        None => return Err(Invalid::broken("grant.inputs", "they are missing")),
        Some(WireInputs::RangeBegin(begin)) => Inputs::Range { begin },
        Some(WireInputs::Slices(slices)) => Inputs::Slices(parse_slices(slices.slices, &indices)?),
    };
    let head = GrantHead {
        lease: lease("grant.lease", wire.lease)?,
        job: job_bytes("grant.job_id", &wire.job_id)?,
        target: target("grant.", wire.function, wire.program)?,
        version: parse_id(wire.version_id),
        arm: parse_arm(wire.arm_id),
        indices,
        attempt: wire.attempt,
        timeout_ms: Some(wire.timeout_ms).filter(|&timeout_ms| timeout_ms > 0),
        slots: wire.slots,
        log_basis_points: wire.log_basis_points,
    };
    Ok(FromCoordinator::Grant {
        head: Box::new(head),
        inputs,
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use umbel_core::id::JobId;
    use umbel_core::job::Target;
    use umbel_core::message::{Grant, GrantInputs, ToWorker};
    use umbel_core::ranges::Ranges;

    use super::*;
    use crate::convert::testing::{LEASE, to_worker};
    use crate::convert::{InputSlice, grant_message};

    fn head() -> GrantHead {
        let mut indices = Ranges::one(4..6);
        indices.push(9..10);
        GrantHead {
            lease: LEASE,
            job: JobId([5; 16]),
            target: Target::Program(vec!["tr".into(), "a-z".into()]),
            version: Some(umbel_core::function::VersionId(7)),
            arm: Some(umbel_core::route::ArmId(8)),
            indices,
            attempt: 2,
            timeout_ms: None,
            slots: 3,
            log_basis_points: 25,
        }
    }

    fn slice(first: u32, count: u32) -> v1::InputSlice {
        v1::InputSlice {
            first_index: first.into(),
            count: count.into(),
            lengths: vec![1; count as usize].into(),
            body: vec![b'x'; count as usize].into(),
        }
    }

    const KEEP: Keep = Keep {
        version: VersionId(7),
        instances: 2,
    };

    #[test]
    fn every_message_comes_back() {
        let welcome = Welcome {
            heartbeat_ms: 1_000,
            epoch: 4,
            answers: vec![
                OfferAnswer {
                    old_lease: LEASE,
                    kept: None,
                    slots: 0,
                },
                OfferAnswer {
                    old_lease: LEASE,
                    kept: Some((LEASE, Ranges::one(3..5))),
                    slots: 2,
                },
            ],
        };
        let invoke = Invoke {
            id: InvokeId(8),
            target: Target::Function("umbel.echo".into()),
            version: None,
            input: Bytes::from_static(b"in"),
            timeout_ms: 60_000,
        };
        let version = crate::VERSION.to_owned();
        for (sent, expected) in [
            (
                ToWorker::Welcome(welcome.clone()),
                FromCoordinator::Welcome { welcome, version },
            ),
            (ToWorker::Ack(7), FromCoordinator::Ack(7)),
            (
                ToWorker::Keep(vec![KEEP]),
                FromCoordinator::Keep(vec![KEEP]),
            ),
            (
                ToWorker::TakeBack {
                    lease: LEASE,
                    keep: 2,
                },
                FromCoordinator::TakeBack {
                    lease: LEASE,
                    keep: 2,
                },
            ),
            (
                ToWorker::Revoke(vec![LEASE]),
                FromCoordinator::Revoke(vec![LEASE]),
            ),
            (ToWorker::Drain, FromCoordinator::Drain),
            (
                ToWorker::Invoke(invoke.clone()),
                FromCoordinator::Invoke(invoke),
            ),
            (
                ToWorker::InvokeCancel(InvokeId(8)),
                FromCoordinator::InvokeCancel(InvokeId(8)),
            ),
            (
                ToWorker::Grant(Grant {
                    head: head(),
                    inputs: GrantInputs::Range { begin: 7 },
                }),
                FromCoordinator::Grant {
                    head: Box::new(head()),
                    inputs: Inputs::Range { begin: 7 },
                },
            ),
        ] {
            assert_eq!(to_worker(sent), expected);
        }
    }

    #[test]
    fn a_grant_with_slices_comes_back() {
        let wire = grant_message(head(), vec![slice(4, 2), slice(9, 1)]);
        let Ok(FromCoordinator::Grant { head: back, inputs }) = from_coordinator(wire) else {
            panic!("a grant comes back as one");
        };
        assert_eq!(*back, head());
        let Inputs::Slices(slices) = inputs else {
            panic!("slices come back as slices");
        };
        let firsts: Vec<(u32, u32)> = slices
            .iter()
            .map(|s: &InputSlice| (s.first, s.count))
            .collect();
        assert_eq!(firsts, [(4, 2), (9, 1)]);
    }

    #[test]
    fn a_grant_that_lacks_something_is_refused() {
        for wire in [
            grant_message(head(), vec![slice(4, 2)]),
            grant_message(
                GrantHead { slots: 0, ..head() },
                vec![slice(4, 2), slice(9, 1)],
            ),
            grant_message(
                GrantHead {
                    indices: Ranges::new(),
                    ..head()
                },
                vec![],
            ),
            v1::ConnectResponse { message: None },
        ] {
            assert!(from_coordinator(wire).is_err());
        }
    }
}
