//! What the coordinator says within a session.

use std::sync::Arc;

use super::slots::Waiting;
use super::{InvokeHead, Slot, Worker};
use crate::function::VersionId;
use crate::id::{InvokeId, LeaseId};
use crate::message::{Begun, FromWorker, GrantHead, InvokeDone, TakenBack};
use crate::outcome::{Failure, FailureKind, WORKER_LEAVING};

impl<I: Clone, C> Worker<I, C> {
    /// A chunk is granted: it joins the line. A worker that leaves hands it back. What is
    /// of a version waits for [`Self::ready`] of it, without holding up others.
    pub fn grant(&mut self, head: GrantHead, inputs: I) {
        let _ = self.line.push(head, inputs);
        if self.draining {
            self.line.hand_back();
        }
    }

    /// What runs a version is there now, or it is known that it cannot be had.
    pub fn ready(&mut self, version: VersionId) {
        self.line.ready(version);
        self.slots.ready(version);
    }

    /// Reports up to a number are durable.
    pub fn acknowledged(&mut self, number: u64) {
        for (key, count) in self.outcomes.acknowledged(number) {
            self.line.settle(key, count);
        }
    }

    /// What has not begun of a lease is asked for, but for the first `keep`. There
    /// is always an answer, so that nobody waits for one.
    pub fn take_back(&mut self, lease: LeaseId, keep: u32) {
        let key = self.line.by_lease(lease);
        let taken = key.and_then(|key| self.line.take_back(key, u64::from(keep)));
        let (begun, indices) = taken.unwrap_or_else(|| {
            let count = 0;
            (Begun { lease, count }, crate::ranges::Ranges::new())
        });
        let taken_back = TakenBack { begun, indices };
        self.messages.push_back(FromWorker::TakenBack(taken_back));
    }

    /// Leases have ended; tells which slots are to be stopped.
    #[must_use]
    pub fn revoke(&mut self, leases: &[LeaseId]) -> Vec<Slot> {
        let mut stopped = Vec::new();
        for &lease in leases {
            if let Some(key) = self.line.by_lease(lease) {
                stopped.extend(self.drop_chunk(key));
            }
        }
        stopped
    }

    /// One invocation is to be run ahead of everything that waits, as soon as its version is
    /// ready.
    pub fn invoke(&mut self, head: InvokeHead, inputs: I) {
        if self.draining {
            self.messages.push_back(refused(head.id));
            return;
        }
        self.slots.push_invoke(Waiting {
            id: head.id,
            target: Arc::new(head.target),
            version: head.version,
            is_ready: head.version.is_none(),
            timeout_ms: head.timeout_ms,
            inputs,
        });
    }

    /// Nobody waits for an invoke any more; tells which slot is to be stopped.
    #[must_use]
    pub fn invoke_cancelled(&mut self, id: InvokeId) -> Option<Slot> {
        self.slots.drop_invoke(id)
    }

    /// Takes nothing new from now on, and hands back what has not begun.
    pub fn drain(&mut self) {
        if self.draining {
            return;
        }
        self.draining = true;
        self.line.hand_back();
        // First, so that nothing is sent here again.
        if self.connected {
            self.messages.push_back(FromWorker::Leaving);
        }
        for invoke in self.slots.take_invokes() {
            self.messages.push_back(refused(invoke.id));
        }
    }
}

fn refused(id: InvokeId) -> FromWorker {
    FromWorker::InvokeDone(InvokeDone {
        id,
        outcome: Err(Failure {
            kind: FailureKind::Rejected,
            error_type: WORKER_LEAVING.to_owned(),
            message: "the worker leaves and takes nothing new; invoke again".to_owned(),
            stderr: String::new(),
        }),
        duration_us: 0,
        cpu_us: None,
        cold_start: None,
    })
}
