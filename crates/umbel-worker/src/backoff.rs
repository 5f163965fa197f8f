//! How long to wait before looking for the coordinator again.

use std::time::Duration;

use uuid::Uuid;

const INITIAL_MS: u64 = 100;
const MAX_MS: u64 = 5_000;

/// Doubling waits with full jitter, so that the workers of a coordinator that
/// restarted do not all come at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    ceiling_ms: u64,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self {
            ceiling_ms: INITIAL_MS,
        }
    }

    pub(crate) fn reset(&mut self) {
        self.ceiling_ms = INITIAL_MS;
    }

    pub(crate) fn next(&mut self) -> Duration {
        let random = Uuid::new_v4().as_u64_pair().1;
        let wait = random % (self.ceiling_ms + 1);
        self.ceiling_ms = (self.ceiling_ms * 2).min(MAX_MS);
        Duration::from_millis(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_five_seconds_and_begin_anew() {
        let mut backoff = Backoff::new();
        let mut ceilings = Vec::new();
        for _ in 0..8 {
            ceilings.push(backoff.ceiling_ms);
            assert!(backoff.next() <= Duration::from_millis(*ceilings.last().unwrap()));
        }
        assert_eq!(ceilings, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        backoff.reset();
        assert_eq!(backoff.ceiling_ms, INITIAL_MS);
    }
}
