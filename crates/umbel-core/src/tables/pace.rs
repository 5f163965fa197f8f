//! How long a job's invocations take, and so how many make a chunk.

use crate::job::Usage;
use crate::limit;

/// A chunk grows to at most this many times what was measured so far.
const GROWTH: u64 = 8;
/// The first chunk of a new job has this part of what its function was measured with.
const GUESS: u64 = 4;
/// Invocations above which more of them say nothing new.
const MEASURED_MAX: u64 = limit::CHUNK_INVOCATIONS_MAX as u64;
/// What an invocation costs a worker at the least, whatever its function says.
const OVERHEAD_NS: u64 = 100;
/// Work that a worker should hold for each slot.
const HOLD_NS: u64 = limit::HOLD_US * 1_000;
/// At the end of a job, and where there are very many workers, chunks shrink, though not below
/// this much run time: what a chunk costs the cluster would be more than what it spreads.
const SHRUNK_CHUNK_NS: u64 = 1_000_000;

/// What was measured of a job. In nanoseconds, though a report counts microseconds: it counts
/// them over many invocations, and the fastest take a tenth of one each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// The run time of one invocation, smoothed.
    run_ns: Option<u64>,
    /// Invocations that were measured, by whichever workers.
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
        let duration_ns = usage.duration_us.saturating_mul(1_000);
        let Some(mean_ns) = duration_ns.checked_div(usage.attempts) else {
            return;
        };
        self.run_ns = Some(match self.run_ns {
            Some(run_ns) => (run_ns.saturating_mul(3).saturating_add(mean_ns)) / 4,
            None => mean_ns,
        });
        let measured = self.measured.saturating_add(usage.attempts);
        self.measured = measured.min(MEASURED_MAX);
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
        self.run_ns.map(|run_ns| (run_ns / 1_000).max(1))
    }

    /// The load that one invocation is: its run time, but never more than a slot
    /// should hold, so that one long run never makes the other slots look busy.
    pub(crate) fn load_us(self) -> u64 {
        self.run_us()
            .map_or(limit::HOLD_US, |run_us| run_us.min(limit::HOLD_US))
    }

    /// How many invocations the next chunk has, at least 1.
    pub(crate) fn chunk(self, room: Room) -> u32 {
        let run_ns = self.run_ns.map(|run_ns| run_ns.max(OVERHEAD_NS));
        let each_ns = run_ns.map_or(HOLD_NS, |run_ns| run_ns.min(HOLD_NS));
        let hold_ns = HOLD_NS * u64::from(room.slots);
        let (wanted, parts) = if each_ns < HOLD_NS {
            let grown = self.measured.max(u64::from(room.slots)) * GROWTH;
            ((hold_ns / each_ns).min(grown), 2)
        } else {
            let load_ns = room.load_us.saturating_mul(1_000);
            (hold_ns.saturating_sub(load_ns).div_ceil(each_ns), 1)
        };
        let share = room.waiting * u64::from(room.slots);
        let share = share.div_ceil(parts * room.able_slots.max(1));
        let least = run_ns.map_or(1, |run_ns| SHRUNK_CHUNK_NS / run_ns);
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
        let most = limit::CHUNK_INVOCATIONS_MAX;
        assert_eq!(measured(0, 4_000).chunk(many), most, "it is a free run");
        assert_eq!(measured(1, 4_000).chunk(many), 1_000);
        assert_eq!(measured(100, 4_000).chunk(many), 50);
    }

    #[test]
    fn what_is_far_below_a_microsecond_is_told_from_what_takes_one() {
        let many = Room {
            slots: 1,
            able_slots: 1_000,
            ..room(100_000)
        };
        let mut pace = Pace::default();
        pace.measure(Usage {
            duration_us: 2_000,
            cpu_us: 0,
            attempts: 4_000,
        });
        assert_eq!(pace.chunk(many), 2_000, "a millisecond at half of one each");
        assert_eq!((pace.run_us(), pace.load_us()), (Some(1), 1));
    }

    #[test]
    fn what_many_workers_measured_counts_together() {
        let mut pace = Pace::default();
        for _ in 0..100 {
            pace.measure(Usage {
                duration_us: 1,
                cpu_us: 0,
                attempts: 1,
            });
        }
        let one = Room {
            slots: 1,
            ..room(1_000_000)
        };
        assert_eq!(pace.chunk(one), 800);
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
