//! What must not leave before the disk has what it shows or promises.

use std::collections::VecDeque;

/// Things in the order of the turns they come from, each held until its turn is durable.
#[derive(Debug)]
pub(super) struct Gate<T> {
    /// The batch that each waits for; ascending.
    held: VecDeque<(u64, T)>,
}

impl<T> Gate<T> {
    pub(super) fn new() -> Self {
        Self {
            held: VecDeque::new(),
        }
    }

    /// Holds something until the batch `number` is durable.
    pub(super) fn hold(&mut self, number: u64, what: T) {
        debug_assert!(self.held.back().is_none_or(|(last, _)| *last <= number));
        self.held.push_back((number, what));
    }

    /// Lets the next go whose batch is durable.
    pub(super) fn release(&mut self, durable: u64) -> Option<T> {
        let (number, _) = self.held.front()?;
        if *number > durable {
            return None;
        }
        self.held.pop_front().map(|(_, what)| what)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_before_its_batch_is_durable_and_the_order_stays() {
        let mut gate = Gate::new();
        for (number, what) in [(3, "a"), (3, "b"), (4, "c")] {
            gate.hold(number, what);
        }
        assert_eq!(gate.release(2), None);
        assert_eq!(gate.release(3), Some("a"));
        assert_eq!(gate.release(3), Some("b"));
        assert_eq!(gate.release(3), None);
        assert_eq!(gate.release(9), Some("c"));
        assert!(gate.is_empty());
    }
}
