//! How long to wait before looking for the coordinator again.

use std::time::Duration;

use umbel_core::id::WorkerId;

const INITIAL_MS: u64 = 100;
const MAX_MS: u64 = 5_000;

/// Doubling waits with full jitter, so that the workers of a coordinator that
/// restarted do not all come at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    ceiling_ms: u64,
    dice: u64,
}

impl Backoff {
    /// Waits of one worker. Its id, which is random, is all the chance there is in them.
    pub(crate) fn new(worker: WorkerId) -> Self {
        let (high, low) = worker.0.split_at(8);
        let half = |half: &[u8]| half.iter().fold(0, |n, &byte| n << 8 | u64::from(byte));
        Self {
            ceiling_ms: INITIAL_MS,
            dice: half(high).rotate_left(32).wrapping_add(half(low)),
        }
    }

    pub(crate) fn reset(&mut self) {
        self.ceiling_ms = INITIAL_MS;
    }

    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.roll() % (self.ceiling_ms + 1);
        self.ceiling_ms = (self.ceiling_ms * 2).min(MAX_MS);
        Duration::from_millis(wait)
    }

    /// Vigna's SplitMix64.
    fn roll(&mut self) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut n = self.dice;
        n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_five_seconds_and_begin_anew() {
        let mut backoff = Backoff::new(WorkerId([7; 16]));
        let mut ceilings = Vec::new();
        for _ in 0..8 {
            ceilings.push(backoff.ceiling_ms);
            assert!(backoff.next() <= Duration::from_millis(*ceilings.last().unwrap()));
        }
        assert_eq!(ceilings, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        backoff.reset();
        assert_eq!(backoff.ceiling_ms, INITIAL_MS);
    }

    #[test]
    fn two_workers_do_not_come_back_in_step() {
        let waits = |id| {
            let mut backoff = Backoff::new(WorkerId([id; 16]));
            (0..8).map(|_| backoff.next()).collect::<Vec<_>>()
        };
        assert_ne!(waits(1), waits(2));
        assert_eq!(waits(1), waits(1));
    }
}
