//! The engine's ways to its workers.

use std::collections::HashMap;

use umbel_core::command::Refusal;
use umbel_core::id::SessionId;
use umbel_core::message::ToWorker;

use crate::session::outbox::Outbox;

/// The outboxes of the live sessions.
#[derive(Debug, Default)]
pub(super) struct Outboxes {
    open: HashMap<SessionId, Outbox>,
}

impl Outboxes {
    pub(super) fn open(&mut self, session: SessionId, outbox: Outbox) {
        self.open.insert(session, outbox);
    }

    /// Says something to a worker; to one that is gone nothing is said.
    pub(super) fn send(&mut self, session: SessionId, message: ToWorker) {
        let Some(outbox) = self.open.get(&session) else {
            return;
        };
        if !outbox.send(message) {
            // It does not read: the end of its stream will be noticed as any other.
            let refusal = Refusal::ProtocolBroken {
                what: "it does not read".to_owned(),
            };
            self.close(session, refusal);
        }
    }

    /// Ends a session behind all that was said to it.
    pub(super) fn close(&mut self, session: SessionId, refusal: Refusal) {
        if let Some(outbox) = self.open.remove(&session) {
            outbox.close(refusal);
        }
    }

    pub(super) fn remove(&mut self, session: SessionId) {
        self.open.remove(&session);
    }

    /// Tells all workers that this coordinator ends.
    pub(super) fn stop(&mut self) {
        for (_, outbox) in self.open.drain() {
            outbox.stop();
        }
    }
}
