//! The time as the machine sees it.

use crate::limit;
use crate::time::Now;

/// The last time that was handed in, and the engine time made from it.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    seen: Option<Now>,
    engine_ms: u64,
}

impl Clock {
    /// Takes in the time. Engine time advances by at most
    /// [`limit::TURN_GAP_MAX_MS`]: what a paused process missed it did not miss
    /// from others, so nobody expires by it.
    pub(crate) fn observe(&mut self, now: Now) {
        let gap = self
            .seen
            .map_or(0, |seen| now.mono_ms.saturating_sub(seen.mono_ms));
        self.engine_ms += gap.min(limit::TURN_GAP_MAX_MS);
        let mono_ms = self
            .seen
            .map_or(now.mono_ms, |seen| seen.mono_ms.max(now.mono_ms));
        self.seen = Some(Now {
            mono_ms,
            wall_ms: now.wall_ms,
        });
    }

    /// Milliseconds since the machine's first turn, as leases and graces count.
    pub(crate) fn engine_ms(&self) -> u64 {
        self.engine_ms
    }

    /// Milliseconds since 1970.
    pub(crate) fn wall_ms(&self) -> u64 {
        self.seen.unwrap_or_default().wall_ms
    }

    /// The latest monotonic time that was handed in.
    pub(crate) fn mono_ms(&self) -> u64 {
        self.seen.unwrap_or_default().mono_ms
    }

    /// When a turn is due for something at an engine time. Never further away
    /// than engine time can advance in one turn.
    pub(crate) fn wake_at_engine(&self, due_ms: u64) -> u64 {
        let wait = due_ms.saturating_sub(self.engine_ms);
        self.mono_ms() + wait.min(limit::TURN_GAP_MAX_MS)
    }

    /// When a turn is due for something at a time of the wall clock.
    pub(crate) fn wake_at_wall(&self, due_ms: u64) -> u64 {
        self.mono_ms()
            .saturating_add(due_ms.saturating_sub(self.wall_ms()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_counts_as_one_short_turn() {
        let mut clock = Clock::default();
        let at = |mono_ms| Now {
            mono_ms,
            wall_ms: 0,
        };
        clock.observe(at(5_000));
        assert_eq!(clock.engine_ms(), 0, "the first turn is the beginning");
        clock.observe(at(5_010));
        clock.observe(at(905_010));
        assert_eq!(clock.engine_ms(), 10 + limit::TURN_GAP_MAX_MS);
        clock.observe(at(10));
        assert_eq!(clock.mono_ms(), 905_010, "a clock that goes back stands");
    }
}
