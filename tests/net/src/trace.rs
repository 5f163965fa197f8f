//! What happened, and when: the same seed gives the same lines.

use std::sync::{Arc, Mutex, PoisonError};

/// Lines with the simulated time in front. A clone writes to the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace(Arc<Mutex<Vec<String>>>);

impl Trace {
    /// Notes what happens on a host of the simulation.
    pub(crate) fn note(&self, what: &str) {
        let at = turmoil::sim_elapsed().unwrap_or_default().as_millis();
        self.note_at(at, what);
    }

    /// Notes what happens to the simulation.
    pub(crate) fn note_at(&self, at_ms: u128, what: &str) {
        let line = format!("{at_ms:>7} {what}");
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
