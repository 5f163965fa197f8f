//! How much there is: the bytes of all keys and values, but for the mark.
//!
//! Sled keeps what it has freed for itself and only ever cuts the end of its file off, so the
//! length of its files says little of what is in them.

use std::collections::HashMap;

use crate::key::Key;
use crate::{Error, Write, WriteBatch};

/// The live bytes once `batches` are written in their order. `before` are those of now, and
/// `value` gives the length of a key's value as it is now.
pub(crate) fn after(
    before: u64,
    batches: &[WriteBatch],
    value: impl Fn(&[u8]) -> Result<Option<usize>, Error>,
) -> Result<u64, Error> {
    let mark = Key::Mark.encode();
    let (mut more, mut less) = (0, 0);
    let mut seen: HashMap<&[u8], Option<usize>> = HashMap::new();
    for write in batches.iter().flat_map(WriteBatch::writes) {
        let (key, now) = match write {
            Write::Put { key, value } => (key, Some(value.len())),
            Write::Delete { key } => (key, None),
        };
        if *key == mark {
            continue;
        }
        let old = match seen.insert(&key[..], now) {
            Some(old) => old,
            None => value(key)?,
        };
        less += old.map_or(0, |old| key.len() + old);
        more += now.map_or(0, |now| key.len() + now);
    }
    Ok((before + more as u64).saturating_sub(less as u64))
}

/// What a mark's value holds: the number of the last turn, and the live bytes where it is of a
/// version that counts them.
pub(crate) fn read_mark(value: &[u8]) -> Option<(u64, Option<u64>)> {
    let (number, rest) = value.split_first_chunk::<8>()?;
    let live = <[u8; 8]>::try_from(rest).ok().map(u64::from_be_bytes);
    Some((u64::from_be_bytes(*number), live))
}

/// A mark's value.
pub(crate) fn mark(number: u64, live_bytes: u64) -> [u8; 16] {
    let mut value = [0; 16];
    value[..8].copy_from_slice(&number.to_be_bytes());
    value[8..].copy_from_slice(&live_bytes.to_be_bytes());
    value
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn bytes(map: &BTreeMap<Vec<u8>, usize>) -> u64 {
        map.iter().map(|(key, len)| (key.len() + len) as u64).sum()
    }

    proptest! {
        #[test]
        fn whatever_is_written_over_or_removed_is_counted_once(
            commits in prop::collection::vec(
                prop::collection::vec((1_u8..6, prop::option::of(0_usize..40)), 1..12),
                1..8,
            )
        ) {
            let mut map: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
            let mut live = 0;
            for commit in commits {
                let mut batches = Vec::new();
                for (key, value) in &commit {
                    let mut batch = WriteBatch::unnumbered();
                    match value {
                        Some(len) => batch.put(vec![*key; 3], vec![0; *len]).unwrap(),
                        None => batch.delete(vec![*key; 3]),
                    }
                    batches.push(batch);
                }
                live = after(live, &batches, |key| Ok(map.get(key).copied())).unwrap();
                for (key, value) in commit {
                    match value {
                        Some(len) => map.insert(vec![key; 3], len),
                        None => map.remove(&vec![key; 3]),
                    };
                }
                prop_assert_eq!(live, bytes(&map));
            }
        }
    }

    #[test]
    fn a_mark_is_read_back_and_so_is_one_that_does_not_count() {
        assert_eq!(read_mark(&mark(7, 9)), Some((7, Some(9))));
        assert_eq!(read_mark(&7_u64.to_be_bytes()), Some((7, None)));
        assert_eq!(read_mark(b"x"), None);
    }
}
