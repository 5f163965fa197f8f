//! How long a job's invocations take, and so how many make a chunk.

use crate::job::Usage;
use crate::limit;

/// A chunk grows to at most this many times what was measured in one.
const GROWTH: u64 = 8;
/// The first chunk of a new job has this part of what its function was measured with.
const GUESS: u64 = 4;
/// What an invocation costs a worker at the least, whatever its function says.
const OVERHEAD_US: u64 = 1;
/// At the end of a job chunks shrink, though not below this much run time.
const SHRUNK_CHUNK_US: u64 = 1_000;

/// What was measured of a job.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// The run time of one invocation, smoothed.
    run_us: Option<u64>,
    /// The most invocations that one chunk was measured with.
    measured: u64,
}

/// What a worker can take, in sight of what is left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Slots that the chunk may use.
    pub(crate) slots: u32,
    /// What the worker holds, in microseconds of run time.
    pub(crate) load_us: u64,
    /// What the job has waiting.
    pub(crate) waiting: u64,
    /// The slots of all workers that can run the job, this one's too.
    pub(crate) able_slots: u64,
}

impl Pace {
    /// Takes in what a report measured of one chunk.
    pub(crate) fn measure(&mut self, usage: Usage) {
        let Some(mean_us) = usage.duration_us.checked_div(usage.attempts) else {
            return;
        };
        self.run_us = Some(match self.run_us {
            Some(run_us) => (run_us.saturating_mul(3).saturating_add(mean_us)) / 4,
            None => mean_us,
        });
        self.measured = self.measured.max(usage.attempts);
    }

    /// What another job of the same function may begin with: its inputs may be of
    /// another kind, so its first chunk is a part of what was measured.
    pub(crate) fn guess(self) -> Self {
        Self {
            measured: self.measured / (GUESS * GROWTH),
            ..self
        }
    }

    /// The run time of one invocation, if it was ever measured.
    pub(crate) fn run_us(self) -> Option<u64> {
        self.run_us.map(|run_us| run_us.max(OVERHEAD_US))
    }

    /// The load that one invocation is: its run time, but never more than a slot
    /// should hold, so that one long run never makes the other slots look busy.
    pub(crate) fn load_us(self) -> u64 {
        self.run_us()
            .map_or(limit::HOLD_US, |run_us| run_us.min(limit::HOLD_US))
    }

    /// How many invocations the next chunk has, at least 1.
    pub(crate) fn chunk(self, room: Room) -> u32 {
        let each = self.load_us();
        let hold = limit::HOLD_US * u64::from(room.slots);
        let (wanted, parts) = if each < limit::HOLD_US {
            let grown = self.measured.max(u64::from(room.slots)) * GROWTH;
            ((hold / each).min(grown), 2)
        } else {
            (hold.saturating_sub(room.load_us).div_ceil(each), 1)
        };
        let share = room.waiting * u64::from(room.slots);
        let share = share.div_ceil(parts * room.able_slots.max(1));
        let least = self.run_us().map_or(1, |run_us| SHRUNK_CHUNK_US / run_us);
        let count = wanted.min(share.max(least)).max(1);
        let most = limit::CHUNK_INVOCATIONS_MAX;
        u32::try_from(count).unwrap_or(most).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(run_us: u64, attempts: u64) -> Pace {
        let mut pace = Pace::default();
        pace.measure(Usage {
            duration_us: run_us * attempts,
            cpu_us: 0,
            attempts,
        });
        pace
    }

    fn room(waiting: u64) -> Room {
        Room {
            slots: 4,
            load_us: 0,
            waiting,
            able_slots: 8,
        }
    }

    #[test]
    fn an_unmeasured_job_gets_one_for_each_slot() {
        assert_eq!(Pace::default().chunk(room(1_000_000)), 4);
    }

    #[test]
    fn fast_work_grows_step_by_step_and_slow_work_fills_slots() {
        assert_eq!(measured(1, 4).chunk(room(1_000_000)), 32);
        assert_eq!(
            measured(1, 4_000).chunk(room(1_000_000)),
            limit::CHUNK_INVOCATIONS_MAX
        );
        assert_eq!(measured(10_000_000, 4).chunk(room(1_000_000)), 4);
        let half = Room {
            load_us: 2 * limit::HOLD_US,
            ..room(1_000_000)
        };
        assert_eq!(measured(10_000_000, 4).chunk(half), 2);
    }

    #[test]
    fn the_fastest_work_is_not_cut_up_though_there_are_very_many_workers() {
        let many = Room {
            slots: 1,
            able_slots: 1_000,
            ..room(100_000)
        };
        assert_eq!(measured(0, 4_000).chunk(many), 1_000);
    }

    #[test]
    fn chunks_shrink_toward_the_end() {
        assert_eq!(measured(1_000, 500).chunk(room(100)), 25);
        assert_eq!(measured(1_000, 500).chunk(room(3)), 1);
        assert_eq!(
            measured(10, 4_000).chunk(room(3)),
            100,
            "a chunk of a millisecond is not cut up"
        );
    }
}
