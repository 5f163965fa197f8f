//! The engine's ways to its workers.

use std::collections::HashMap;

use umbel_core::command::Refusal;
use umbel_core::id::SessionId;
use umbel_core::message::ToWorker;

use crate::session::outbox::Outbox;

/// The outboxes of the live sessions.
#[derive(Debug, Default)]
pub(super) struct Outboxes {
    open: HashMap<SessionId, Way>,
}

/// The way to one worker.
#[derive(Debug)]
struct Way {
    outbox: Outbox,
    /// What is said behind the welcome, as long as that waits for the disk.
    held: Option<Vec<ToWorker>>,
}

impl Outboxes {
    pub(super) fn open(&mut self, session: SessionId, outbox: Outbox) {
        let held = Some(Vec::new());
        self.open.insert(session, Way { outbox, held });
    }

    /// Says something to a worker; to one that is gone nothing is said. The welcome comes first,
    /// whenever it is said.
    pub(super) fn send(&mut self, session: SessionId, message: ToWorker) {
        let Some(way) = self.open.get_mut(&session) else {
            return;
        };
        let behind = match (&mut way.held, &message) {
            (Some(_), ToWorker::Welcome(_)) => way.held.take().unwrap_or_default(),
            (Some(held), _) => return held.push(message),
            (None, _) => Vec::new(),
        };
        let mut messages = std::iter::once(message).chain(behind);
        if !messages.all(|message| way.outbox.send(message)) {
            // It does not read: the end of its stream will be noticed as any other.
            let refusal = Refusal::ProtocolBroken {
                what: "it does not read".to_owned(),
            };
            self.close(session, refusal);
        }
    }

    /// Ends a session behind all that was said to it.
    pub(super) fn close(&mut self, session: SessionId, refusal: Refusal) {
        if let Some(way) = self.open.remove(&session) {
            way.outbox.close(refusal);
        }
    }

    pub(super) fn remove(&mut self, session: SessionId) {
        self.open.remove(&session);
    }

    /// Tells all workers that this coordinator ends.
    pub(super) fn stop(&mut self) {
        for (_, way) in self.open.drain() {
            way.outbox.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use umbel_core::message::Welcome;

    use super::*;
    use crate::session::outbox;

    #[test]
    fn nothing_is_said_before_the_welcome() {
        let (session, mut outboxes) = (SessionId(1), Outboxes::default());
        let (outbox, mut delivery, _network) = outbox::open();
        outboxes.open(session, outbox);
        outboxes.send(session, ToWorker::Drain);
        assert_eq!(delivery.said(), []);

        let welcome = ToWorker::Welcome(Welcome {
            heartbeat_ms: 1_000,
            epoch: 1,
            answers: Vec::new(),
        });
        outboxes.send(session, welcome.clone());
        outboxes.send(session, ToWorker::Ack(7));
        assert_eq!(
            delivery.said(),
            [welcome, ToWorker::Drain, ToWorker::Ack(7)]
        );
    }
}
