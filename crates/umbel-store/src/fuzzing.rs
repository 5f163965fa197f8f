//! What fuzzers reach of the store's formats without opening one.

use crate::backup::fuzzing;
use crate::key::Key;

/// Reads a key. What is read is written as the same bytes: two keys of one meaning would be two
/// entries.
#[must_use]
pub fn key(bytes: &[u8]) -> bool {
    let Ok(key) = Key::decode(bytes) else {
        return false;
    };
    assert_eq!(key.encode(), bytes, "{key:?}");
    true
}

/// Reads a backup that comes in pieces of `piece` bytes; tells how many frames it has, if it is
/// whole.
#[must_use]
pub fn backup(bytes: &[u8], piece: usize) -> Option<usize> {
    fuzzing::frames(bytes, piece)
}

/// A small backup that is whole, with these keys and values.
#[must_use]
pub fn small_backup(entries: &[(&[u8], &[u8])]) -> Vec<u8> {
    fuzzing::small(entries)
}

/// A key of each kind.
#[must_use]
pub fn keys() -> Vec<bytes::Bytes> {
    use crate::key::{At, Block, Whole};
    use umbel_core::id::{Appender, JobId, LeaseId};
    let (job, at) = (JobId([0xab; 16]), At { commit: 3, n: 1 });
    let block = Block {
        first: 7,
        appender: Appender(2),
    };
    let lease = LeaseId {
        epoch: 1,
        number: 9,
    };
    let keys = [
        Key::Format,
        Key::Mark,
        Key::Function("resize".to_owned()),
        Key::Part(Whole::Job(job), 0),
        Key::Part(Whole::Record(job, at), 1),
        Key::Part(Whole::Columns(job, at), 2),
        Key::Part(Whole::Input(job, block), 3),
        Key::Status(job),
        Key::Appended(job, block),
        Key::Lease(lease),
        Key::ByIndex(job, 7, at),
        Key::Staged(job, block),
        Key::Deleting(job),
    ];
    keys.iter().map(Key::encode).collect()
}
