//! What was told to be durable outlives a process that is killed in the middle of its writing.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "test code outside of test functions, and a child that speaks on its stdout"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use umbel_store::{Commit, Engine, Error, Listener, Settings, SledEngine, WriteBatch};

/// Where the child process writes; unset in the test itself.
const DIR: &str = "UMBEL_STORE_KILL_DIR";

/// How many keys a batch has.
const KEYS: u64 = 40;

/// Prints the durable numbers for the parent.
struct Printer;

impl Listener for Printer {
    fn durable(&self, number: u64) {
        println!("durable {number}");
        std::io::stdout().flush().unwrap();
    }

    fn committed(&self, _: &Commit) {}

    fn failed(&self, error: &Error) {
        panic!("{error}");
    }

    fn fenced(&self, error: &Error) {
        panic!("{error}");
    }
}

fn open(dir: &Path) -> SledEngine {
    SledEngine::open(&Settings::new(dir), Arc::new(Printer)).unwrap()
}

fn key(number: u64, index: u64) -> Vec<u8> {
    [number.to_be_bytes(), index.to_be_bytes()].concat()
}

/// The child's part; it does nothing when it is run as a test.
#[test]
fn write_until_killed() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let engine = open(Path::new(&dir));
    for number in 1.. {
        let mut batch = WriteBatch::numbered(number);
        for index in 0..KEYS {
            batch
                .put(key(number, index), vec![number as u8; 400])
                .unwrap();
        }
        while engine.undurable_bytes() > 1 << 20 {
            std::thread::yield_now();
        }
        engine.submit(batch);
    }
}

#[test]
fn every_durable_batch_survives_a_kill_and_none_is_torn() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "write_until_killed", "--nocapture"])
        .env(DIR, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut durable = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        if let Some((_, number)) = line.unwrap().split_once("durable ") {
            durable = number.parse().unwrap();
        }
        if durable >= 200 {
            // Goes on reading to the end: what was told before the kill counts.
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(durable >= 200, "the child ended early, at {durable}");

    let engine = open(dir.path());
    for number in 1..=durable + 10_000 {
        let found = (0..KEYS).filter(|index| {
            let value = engine.get(&key(number, *index)).unwrap();
            value.is_some_and(|value| value == vec![number as u8; 400])
        });
        match found.count() as u64 {
            KEYS => {}
            0 if number > durable => break,
            found => panic!("batch {number} of {durable} has {found} of {KEYS} keys"),
        }
    }
}
