//! What a recorded run did to its files, event by event.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

/// One thing that the run did, as the recorder wrote it down. Paths are relative to its root.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    Create {
        inode: u64,
        path: String,
    },
    Write {
        inode: u64,
        at: u64,
        bytes: Range<usize>,
    },
    Truncate {
        inode: u64,
        len: u64,
    },
    Sync {
        inode: u64,
    },
    /// The same by `fdatasync`: in the store that is its own sync, never sled's.
    SyncData {
        inode: u64,
    },
    SyncDir {
        path: String,
    },
    Rename {
        from: String,
        to: String,
    },
    Unlink {
        path: String,
    },
    MakeDir {
        path: String,
    },
    /// Sled's `sync_file_range`, which promises nothing about a loss of power.
    SyncRange,
}

/// A recorded run.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) events: Vec<Event>,
    /// The bytes of all writes lie in here.
    pub(crate) bytes: Vec<u8>,
}

impl Trace {
    /// Reads what `record.c` wrote about the directory `root`.
    pub(crate) fn read(path: &Path, root: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let mut events = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let word =
                |from: usize| u32::from_le_bytes(bytes[at + from..][..4].try_into().unwrap());
            let long =
                |from: usize| u64::from_le_bytes(bytes[at + from..][..8].try_into().unwrap());
            let (kind, inode, number) = (bytes[at], long(1), long(9));
            let one = at + 25..at + 25 + word(17) as usize;
            let two = one.end..one.end + word(21) as usize;
            at = two.end;
            let path = |range: &Range<usize>| {
                let path = Path::new(std::str::from_utf8(&bytes[range.clone()]).unwrap());
                path.strip_prefix(root).unwrap().display().to_string()
            };
            events.push(match kind {
                1 => Event::Create {
                    inode,
                    path: path(&one),
                },
                2 => Event::Write {
                    inode,
                    at: number,
                    bytes: one,
                },
                3 => Event::Truncate { inode, len: number },
                4 => Event::Sync { inode },
                5 => Event::Rename {
                    from: path(&one),
                    to: path(&two),
                },
                6 => Event::Unlink { path: path(&one) },
                7 => Event::MakeDir { path: path(&one) },
                8 => Event::SyncDir { path: path(&one) },
                9 => Event::SyncRange,
                10 => Event::SyncData { inode },
                other => panic!("the recorder wrote an event of kind {other}"),
            });
        }
        Self { events, bytes }
    }

    /// How many bytes were written where others had been: segments that are used again.
    pub(crate) fn rewritten(&self) -> u64 {
        let mut lengths = BTreeMap::new();
        let mut rewritten = 0;
        for event in &self.events {
            match event {
                Event::Create { inode, .. } => drop(lengths.insert(*inode, 0)),
                Event::Truncate { inode, len } => drop(lengths.insert(*inode, *len)),
                Event::Write { inode, at, bytes } => {
                    let length: &mut u64 = lengths.entry(*inode).or_insert(0);
                    let end = at + bytes.len() as u64;
                    rewritten += end.min(*length).saturating_sub(*at);
                    *length = end.max(*length);
                }
                _ => {}
            }
        }
        rewritten
    }
}
