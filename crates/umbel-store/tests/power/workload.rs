//! The run that is recorded: every turn's writes follow from its number, so that what the store
//! should hold after any turn is known without asking it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use umbel_store::{Commit, Engine, Error, Listener, Settings, SledEngine, WriteBatch};

/// How often the run closes its store and opens it again.
const SESSIONS: u64 = 3;

/// The key under which every turn leaves its number.
pub(crate) const NUMBER: &[u8] = b"number";

/// Writes down each durable number, in the middle of what the recorder sees.
struct Acknowledge(Mutex<File>);

impl Listener for Acknowledge {
    fn durable(&self, number: u64) {
        self.0
            .lock()
            .unwrap()
            .write_all(&number.to_le_bytes())
            .unwrap();
    }

    fn committed(&self, _: &Commit) {}

    fn failed(&self, error: &Error) {
        panic!("{error}");
    }

    fn fenced(&self, error: &Error) {
        panic!("{error}");
    }
}

/// Runs all turns on the data in `root/data` and acknowledges in `root/ack`. Up to three times
/// `line_bytes` are in line at a time.
pub(crate) fn run(root: &Path, turns: u64, line_bytes: usize) {
    let ack = Arc::new(Acknowledge(Mutex::new(
        File::create(root.join("ack")).unwrap(),
    )));
    for session in 0..SESSIONS {
        let listener = Arc::clone(&ack) as Arc<dyn Listener>;
        let engine = SledEngine::open(&Settings::new(root.join("data")), listener).unwrap();
        for number in session * turns / SESSIONS + 1..=(session + 1) * turns / SESSIONS {
            let mut batch = WriteBatch::numbered(number);
            for (key, len) in writes(number) {
                match len {
                    Some(len) => batch.put(key, value(number, len)).unwrap(),
                    None => batch.delete(key),
                }
            }
            // Some turns travel together, some alone: both kinds of commit are to be cut.
            while engine.undurable_bytes() > (number % 4) as usize * line_bytes {
                std::thread::yield_now();
            }
            engine.submit(batch);
        }
        engine.close().unwrap();
    }
}

/// What a turn writes: keys with the length of their values; none is a removal.
fn writes(number: u64) -> Vec<(Vec<u8>, Option<usize>)> {
    let key = |kind: &str, n: u64| format!("{kind}{n:06}").into_bytes();
    let mut writes = vec![(NUMBER.to_vec(), Some(8))];
    // Results: new keys, removed a while later, so that segments empty out and are used again.
    writes.push((
        key("result", number),
        Some(6_000 + (number * 37 % 9_000) as usize),
    ));
    if number > 300 {
        writes.push((key("result", number - 300), None));
    }
    // Statuses: small, and written over again and again.
    for n in 0..8 {
        writes.push((key("status", (number * 7 + n * 13) % 500), Some(100)));
    }
    // Now and then the parts of a long value.
    if number.is_multiple_of(40) {
        for part in 0..4 {
            writes.push((key("part", number / 40 % 6 * 4 + part), Some(64 << 10)));
        }
    }
    writes
}

/// The value that a turn gives a key.
pub(crate) fn value(number: u64, len: usize) -> Vec<u8> {
    let mut value = vec![number as u8; len];
    value[..8].copy_from_slice(&number.to_le_bytes());
    value
}

/// What the store should hold after a turn: keys, with the turn that wrote them and their length.
pub(crate) fn expected(number: u64) -> BTreeMap<Vec<u8>, (u64, usize)> {
    let mut expected = BTreeMap::new();
    for number in 1..=number {
        for (key, len) in writes(number) {
            match len {
                Some(len) => expected.insert(key, (number, len)),
                None => expected.remove(&key),
            };
        }
    }
    expected
}
