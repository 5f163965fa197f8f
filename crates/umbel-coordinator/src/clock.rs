//! The one place that asks for the time on behalf of the machine.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use umbel_core::time::Now;

/// Both clocks: one that never goes back, and the wall's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    wall_ms: fn() -> u64,
}

impl Clock {
    /// Starts now. The first clock is tokio's: where that is simulated, so is this.
    pub(crate) fn start(wall_ms: fn() -> u64) -> Self {
        Self {
            start: Instant::now(),
            wall_ms,
        }
    }

    pub(crate) fn now(self) -> Now {
        Now {
            mono_ms: millis(self.start.elapsed()),
            wall_ms: (self.wall_ms)(),
        }
    }

    /// When the monotonic clock shows `mono_ms`.
    pub(crate) fn at(self, mono_ms: u64) -> Option<std::time::Instant> {
        let at = self.start.checked_add(Duration::from_millis(mono_ms))?;
        Some(at.into_std())
    }
}

/// Milliseconds since 1970; a clock that stands before that year shows 0.
pub(crate) fn wall_ms() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, millis)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
