//! What a data directory holds in bytes, by what it is for.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::check::Unheard;
use crate::key::Kind;
use crate::{Direction, Engine, Error, Scan, Settings, SledEngine};

/// How much is read at once.
const PAGE_ENTRIES_MAX: usize = 4_096;
const PAGE_BYTES_MAX: usize = 4 << 20;

/// The bytes of all keys and values as they lie in the store. What the files hold beyond them is
/// dead, or not used yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    results: u64,
    inputs: u64,
    rest: u64,
}

impl Census {
    /// All of them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.results + self.inputs + self.rest
    }

    /// Records, their columns, and the keys that find them.
    #[must_use]
    pub fn result_bytes(&self) -> u64 {
        self.results
    }

    /// Blocks of inputs, and what says that they were accepted.
    #[must_use]
    pub fn input_bytes(&self) -> u64 {
        self.inputs
    }

    fn count(&mut self, key: &[u8], bytes: u64) {
        let is = |kinds: &[Kind]| {
            let kind = key.first().copied();
            kinds.iter().any(|known| kind == Some(*known as u8))
        };
        if is(&[Kind::Record, Kind::Columns, Kind::ByIndex]) {
            self.results += bytes;
        } else if is(&[Kind::Input, Kind::Appended, Kind::Staged]) {
            self.inputs += bytes;
        } else {
            self.rest += bytes;
        }
    }
}

/// Counts what a data directory holds that no coordinator uses.
///
/// # Errors
///
/// When it is another process's, or cannot be read.
pub fn census(dir: &Path) -> Result<Census, Error> {
    let engine = SledEngine::open(&Settings::new(dir), Arc::new(Unheard))?;
    let counted = count(&engine)?;
    engine.close()?;
    Ok(counted)
}

fn count(engine: &dyn Engine) -> Result<Census, Error> {
    let mut census = Census::default();
    let mut next = Some(Scan {
        keys: Bytes::new()..Bytes::from_static(&[u8::MAX]),
        direction: Direction::Forward,
        entries_max: PAGE_ENTRIES_MAX,
        bytes_max: PAGE_BYTES_MAX,
    });
    while let Some(scan) = next {
        let page = engine.scan(&scan)?;
        for entry in page.entries {
            let bytes = entry.key.len() + entry.value.len();
            census.count(&entry.key, bytes as u64);
        }
        next = page.next;
    }
    Ok(census)
}

#[cfg(test)]
mod tests {
    use umbel_core::change::Change;
    use umbel_core::ranges::Ranges;

    use super::*;
    use crate::testing::{open, record};

    #[test]
    fn what_lies_in_the_store_is_counted_by_what_it_is_for() {
        let (opened, engine) = open();
        let before = count(&*engine).unwrap();
        let recorded = Change::Recorded(Box::new(record(1, Ranges::one(0..300), 100)));
        opened
            .store
            .commit(opened.next_number, &[recorded])
            .unwrap();
        opened.store.settle().unwrap();

        let after = count(&*engine).unwrap();

        assert!(after.result_bytes() > before.result_bytes() + 300 * 100);
        assert_eq!(after.input_bytes(), 0);
        assert!(after.bytes() >= after.result_bytes());
    }
}
