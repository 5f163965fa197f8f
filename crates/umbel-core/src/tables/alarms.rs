//! Points in time at which something is to be looked at, one for each key.

use std::collections::{BTreeMap, BTreeSet};

/// Alarms by key and by time.
#[derive(Debug)]
pub(crate) struct Alarms<K> {
    by_key: BTreeMap<K, u64>,
    by_time: BTreeSet<(u64, K)>,
}

impl<K> Default for Alarms<K> {
    fn default() -> Self {
        Self {
            by_key: BTreeMap::new(),
            by_time: BTreeSet::new(),
        }
    }
}

impl<K: Ord + Copy> Alarms<K> {
    /// Sets the alarm of a key in place of an earlier one; none: clears it.
    pub(crate) fn set(&mut self, key: K, due_ms: Option<u64>) {
        let old = match due_ms {
            Some(due) => self.by_key.insert(key, due),
            None => self.by_key.remove(&key),
        };
        if old == due_ms {
            return;
        }
        if let Some(old) = old {
            self.by_time.remove(&(old, key));
        }
        if let Some(due) = due_ms {
            self.by_time.insert((due, key));
        }
    }

    /// Takes out the earliest alarm that is due.
    pub(crate) fn pop_due(&mut self, now_ms: u64) -> Option<K> {
        let (due, key) = self.by_time.first().copied()?;
        if due > now_ms {
            return None;
        }
        self.set(key, None);
        Some(key)
    }

    /// When the earliest is due.
    pub(crate) fn next(&self) -> Option<u64> {
        self.by_time.first().map(|(due, _)| *due)
    }

    /// Whether both views of the alarms agree; for tests and simulations.
    pub(crate) fn check(&self) {
        assert_eq!(self.by_key.len(), self.by_time.len());
        assert!(
            self.by_key
                .iter()
                .all(|(key, due)| self.by_time.contains(&(*due, *key)))
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_alarm() {
        let mut alarms = Alarms::default();
        alarms.set('a', Some(10));
        alarms.set('b', Some(5));
        alarms.set('a', Some(3));
        assert_eq!(alarms.next(), Some(3));
        assert_eq!(alarms.pop_due(2), None);
        assert_eq!(alarms.pop_due(9), Some('a'));
        alarms.set('b', None);
        assert_eq!(alarms.pop_due(9), None);
        alarms.check();
    }
}
