//! Both clocks as numbers, read with one call.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// Microseconds since the worker started, and what time that was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    /// Microseconds since 1970.
    origin_wall_us: u64,
}

impl Clock {
    /// Starts now. What moves on is tokio's clock: where that is simulated, so is this.
    pub(crate) fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            origin: Instant::now(),
            origin_wall_us: wall.map_or(0, |wall| micros(wall.as_secs(), wall.subsec_nanos())),
        }
    }

    #[inline]
    pub(crate) fn now_us(self) -> u64 {
        let since = self.origin.elapsed();
        micros(since.as_secs(), since.subsec_nanos())
    }

    /// The wall clock at a moment, microseconds since 1970.
    #[inline]
    pub(crate) fn wall_us(self, at_us: u64) -> u64 {
        self.origin_wall_us.saturating_add(at_us)
    }

    /// A moment as the runtime takes it; none if no clock reaches it.
    pub(crate) fn instant(self, at_us: u64) -> Option<std::time::Instant> {
        let at = (self.origin).checked_add(std::time::Duration::from_micros(at_us))?;
        Some(at.into_std())
    }
}

#[inline]
fn micros(secs: u64, nanos: u32) -> u64 {
    secs.saturating_mul(1_000_000)
        .saturating_add(u64::from(nanos / 1_000))
}

/// Processor time of this thread. A system call: once for a piece, not for each of
/// its invocations.
pub(crate) fn thread_cpu_us() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    micros(secs, u32::try_from(time.tv_nsec).unwrap_or(0))
}
