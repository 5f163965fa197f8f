//! What the tests of this crate share.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::{Commit, Error, Listener};

/// What a listener was told.
#[derive(Debug)]
pub(crate) enum Event {
    Durable(u64),
    Committed(Commit),
    Failed(Error),
    Fenced(Error),
}

impl Event {
    /// The number that became durable, if this is what was told.
    pub(crate) fn durable(&self) -> Option<u64> {
        match self {
            Self::Durable(number) => Some(*number),
            _ => None,
        }
    }
}

/// A listener that hands on what it is told.
pub(crate) struct Told(Sender<Event>);

impl Told {
    /// The listener and what it hears. The receiver ends with the engine.
    pub(crate) fn new() -> (Arc<Self>, Receiver<Event>) {
        let (sender, receiver) = channel();
        (Arc::new(Self(sender)), receiver)
    }

    fn tell(&self, event: Event) {
        // A test that has seen enough has dropped its end.
        let _ = self.0.send(event);
    }
}

impl Listener for Told {
    fn durable(&self, number: u64) {
        self.tell(Event::Durable(number));
    }

    fn committed(&self, commit: &Commit) {
        self.tell(Event::Committed(*commit));
    }

    fn failed(&self, error: &Error) {
        self.tell(Event::Failed(error.clone()));
    }

    fn fenced(&self, error: &Error) {
        self.tell(Event::Fenced(error.clone()));
    }
}
