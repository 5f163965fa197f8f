//! What lies on the disk was changed behind the store's back: cut, emptied, overwritten, removed.
//! It opens with all that it held, or says in words what is the matter and what to do, or a check
//! finds it. It never panics, and never waits.
//!
//! `UMBEL_DAMAGE_TIMES` does it more often, `UMBEL_DAMAGE_SEED` elsewhere.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "test code outside of test functions, and a drill that tells its figures"
)]

#[path = "power/random.rs"]
mod random;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use umbel_store::{
    Commit, Direction, Engine, Error, Listener, Scan, Settings, SledEngine, WriteBatch,
};

use random::Random;

/// How many turns the data hold.
const TURNS: u64 = 300;

struct Silent;

impl Listener for Silent {
    fn durable(&self, _: u64) {}

    fn committed(&self, _: &Commit) {}

    fn failed(&self, _: &Error) {}

    fn fenced(&self, _: &Error) {}
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn open(dir: &Path) -> Result<SledEngine, Error> {
    SledEngine::open(&Settings::new(dir), Arc::new(Silent))
}

/// Data as a coordinator leaves them that was closed, or killed, in the middle of its life.
fn make(dir: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut expected = BTreeMap::new();
    for session in 0..2 {
        let engine = open(dir).unwrap();
        for turn in session * TURNS / 2..(session + 1) * TURNS / 2 {
            let mut batch = WriteBatch::numbered(turn + 1);
            for (key, len) in [(turn * 7919, 9_000), (turn % 40, 300)] {
                let key = format!("key {key:09}").into_bytes();
                let value = vec![turn as u8; len];
                batch.put(key.clone(), value.clone()).unwrap();
                expected.insert(key, value);
            }
            engine.submit(batch);
        }
        engine.settle().unwrap();
        engine.close().unwrap();
    }
    expected
}

fn read(engine: &SledEngine) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Error> {
    let mut found = BTreeMap::new();
    let mut next = Some(Scan {
        // Behind the engine's own keys.
        keys: (&[14][..]).into()..(&[255][..]).into(),
        direction: Direction::Forward,
        entries_max: 1024,
        bytes_max: 4 << 20,
    });
    while let Some(scan) = next {
        let page = engine.scan(&scan)?;
        let entries = page.entries.iter();
        found.extend(entries.map(|entry| (entry.key.to_vec(), entry.value.to_vec())));
        next = page.next;
    }
    Ok(found)
}

/// All files below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Damage {
    Removed,
    Emptied,
    Cut,
    Zeroed,
    Garbled,
    Bit,
}

const DAMAGES: [Damage; 6] = [
    Damage::Removed,
    Damage::Emptied,
    Damage::Cut,
    Damage::Zeroed,
    Damage::Garbled,
    Damage::Bit,
];

fn inflict(path: &Path, damage: Damage, random: &mut Random) {
    let mut bytes = fs::read(path).unwrap();
    let len = bytes.len() as u64;
    let at = random.below(len) as usize;
    let end = (at + 1 + random.below(8_192) as usize).min(bytes.len());
    match damage {
        Damage::Removed => return fs::remove_file(path).unwrap(),
        Damage::Emptied => bytes.clear(),
        Damage::Cut => bytes.truncate(at),
        Damage::Zeroed => bytes[at..end].fill(0),
        Damage::Garbled => bytes[at..end]
            .iter_mut()
            .for_each(|byte| *byte = random.next() as u8),
        Damage::Bit => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
    }
    let mut file = OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(path)
        .unwrap();
    std::io::Write::write_all(&mut file, &bytes).unwrap();
}

/// What became of damaged data.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// All is there.
    Whole,
    /// It says what is the matter, at the open or when it is read.
    Told,
    /// It opens, and what was written last is not there.
    Shorter,
    /// It opens, and is what it never was.
    Wrong,
    /// It panics.
    Panic(String),
    /// An error that does not say what to do.
    NoWayOut(String),
}

fn judge(dir: &Path, expected: &BTreeMap<Vec<u8>, Vec<u8>>) -> Verdict {
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let engine = open(dir)?;
        let found = read(&engine);
        engine.close()?;
        found
    }));
    match opened {
        Err(panic) => {
            let words = panic.downcast_ref::<String>().cloned();
            Verdict::Panic(words.unwrap_or_default())
        }
        Ok(Err(error)) => {
            let words = error.to_string();
            let ways = [
                "restore the directory",
                "another directory",
                "an empty directory",
            ];
            if ways.iter().any(|way| words.contains(way)) {
                Verdict::Told
            } else {
                Verdict::NoWayOut(words)
            }
        }
        Ok(Ok(found)) if found == *expected => Verdict::Whole,
        Ok(Ok(found)) => {
            let known = |(key, value): (&Vec<u8>, &Vec<u8>)| {
                // A value of an earlier turn, whole.
                expected.contains_key(key) && value.iter().all(|byte| *byte == value[0])
            };
            if found.iter().all(known) {
                Verdict::Shorter
            } else {
                Verdict::Wrong
            }
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn a_damaged_file_is_overcome_or_told_of_with_the_way_out() {
    let times = setting("UMBEL_DAMAGE_TIMES", 2);
    let mut random = Random::new(setting("UMBEL_DAMAGE_SEED", 1));
    let scratch = tempfile::tempdir().unwrap();
    let sound = scratch.path().join("sound");
    let expected = make(&sound);
    let mut verdicts: BTreeMap<(String, Damage, Verdict), u64> = BTreeMap::new();
    for file in files(&sound) {
        for damage in DAMAGES {
            for _ in 0..times {
                let dir = scratch.path().join("damaged");
                copy(&sound, &dir);
                let name = file.strip_prefix(&sound).unwrap();
                inflict(&dir.join(name), damage, &mut random);
                let verdict = judge(&dir, &expected);
                fs::remove_dir_all(&dir).unwrap();
                // The name of a snapshot goes on with a number.
                let name = name.display().to_string();
                let name = match name.split_once("snap.") {
                    Some((start, _)) => format!("{start}snap"),
                    None => name,
                };
                *verdicts.entry((name, damage, verdict)).or_insert(0) += 1;
            }
        }
    }
    for ((name, damage, verdict), times) in &verdicts {
        println!("{times:5} {name} {damage:?}: {verdict:?}");
    }
    let bad = |verdict: &Verdict| {
        matches!(
            verdict,
            Verdict::Shorter | Verdict::Wrong | Verdict::Panic(_) | Verdict::NoWayOut(_)
        )
    };
    assert!(
        !verdicts.keys().any(|(_, _, verdict)| bad(verdict)),
        "{verdicts:#?}"
    );
}
