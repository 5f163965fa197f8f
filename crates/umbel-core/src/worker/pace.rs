//! How long each target runs, so that a piece is about as long as wanted.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::job::Target;

/// How long a piece should run: long beside a lock, short beside a take-back.
const PIECE_NS: u64 = 2_000_000;
/// Invocations of one piece.
const PIECE_INVOCATIONS_MAX: u64 = 1_024;
/// Targets whose pace is remembered.
const TARGETS_MAX: usize = 1_024;

/// Measured run times by target.
#[derive(Debug)]
pub(super) struct Paces {
    /// Nanoseconds of one invocation, a moving average.
    paces: BTreeMap<Arc<Target>, u64>,
}

impl Paces {
    pub(super) fn new() -> Self {
        Self {
            paces: BTreeMap::new(),
        }
    }

    /// How many invocations make a piece; one where nothing was measured.
    pub(super) fn piece_len(&self, target: &Target) -> u64 {
        self.paces.get(target).map_or(1, |&ns| {
            (PIECE_NS / ns.max(1)).clamp(1, PIECE_INVOCATIONS_MAX)
        })
    }

    /// So many invocations took so long.
    pub(super) fn measured(&mut self, target: &Arc<Target>, count: u64, duration_us: u64) {
        let ns = duration_us.saturating_mul(1_000) / count.max(1);
        if let Some(pace) = self.paces.get_mut(target) {
            // A quarter of the newest: a single slow one does not make pieces tiny.
            *pace = (pace.saturating_mul(3)).saturating_add(ns) / 4;
            return;
        }
        if self.paces.len() >= TARGETS_MAX {
            self.paces.clear();
        }
        self.paces.insert(Arc::clone(target), ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_two_milliseconds_of_work() {
        let target = Arc::new(Target::Function("f".to_owned()));
        for (us, expected) in [
            (0, 1_024),
            (1, 1_024),
            (20, 100),
            (1_500, 1),
            (60_000_000, 1),
        ] {
            let mut paces = Paces::new();
            assert_eq!(paces.piece_len(&target), 1, "nothing is known at first");
            paces.measured(&target, 10, us * 10);
            assert_eq!(paces.piece_len(&target), expected, "at {us} µs each");
        }
    }
}
