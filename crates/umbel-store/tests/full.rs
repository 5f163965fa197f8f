//! A small disk that fills up under a store, again and again, each time given a little more room:
//! the store fails with words, never sleeps for ever, opens again in the same process, and has all
//! that it acknowledged.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "test code outside of test functions, and a test that was left out must be seen"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use umbel_store::{Commit, Engine, Error, Listener, Settings, SledEngine, WriteBatch};

/// How often the disk fills up.
const ROUNDS: u64 = 12;
const FIRST_MIB: u64 = 40;
const MORE_MIB: u64 = 12;

/// Who asks for what is acknowledged waits for it.
struct Unheard;

impl Listener for Unheard {
    fn durable(&self, _: u64) {}

    fn committed(&self, _: &Commit) {}

    fn failed(&self, _: &Error) {}

    fn fenced(&self, _: &Error) {}
}

/// A file system of its own, as long as it lives.
struct Small(PathBuf);

impl Small {
    fn mount(dir: &Path) -> Option<Self> {
        let options = format!("size={FIRST_MIB}m");
        mount(&["-t", "tmpfs", "-o", &options, "tmpfs"], dir).then(|| Self(dir.to_owned()))
    }

    fn grow(&self, mib: u64) {
        let options = format!("remount,size={mib}m");
        assert!(mount(&["-o", &options], &self.0), "it grows");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // What is left of it goes with the machine.
        let _ = Command::new("umount").arg(&self.0).output();
    }
}

fn mount(arguments: &[&str], dir: &Path) -> bool {
    let mounted = Command::new("mount").args(arguments).arg(dir).output();
    mounted.is_ok_and(|output| output.status.success())
}

fn key(number: u64, part: u64) -> Vec<u8> {
    [number.to_be_bytes(), part.to_be_bytes()].concat()
}

/// Different for each turn, so that nothing can stand for something else.
fn value(number: u64) -> Vec<u8> {
    let mut value = vec![u8::try_from(number % 251).unwrap(); 20_000];
    value[..8].copy_from_slice(&number.to_be_bytes());
    value
}

/// Writes turns from `next` on until the disk is full; notes those that were acknowledged. The one
/// that failed may be there later or not: its number is not used again.
fn fill(engine: &SledEngine, next: &mut u64, acknowledged: &mut Vec<u64>) -> Error {
    loop {
        let mut batch = WriteBatch::numbered(*next);
        for part in 0..8 {
            batch.put(key(*next, part), value(*next)).unwrap();
        }
        engine.submit(batch);
        *next += 1;
        match engine.settle() {
            Ok(()) => acknowledged.push(*next - 1),
            Err(error) => return error,
        }
    }
}

#[test]
fn a_disk_that_fills_up_again_and_again_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mount = dir.path().join("small");
    std::fs::create_dir(&mount).unwrap();
    let Some(small) = Small::mount(&mount) else {
        let required = std::env::var("UMBEL_TEST_REQUIRE").unwrap_or_default();
        assert!(
            !required.split(',').any(|one| one.trim() == "mount"),
            "UMBEL_TEST_REQUIRE asks for mount, and nothing can be mounted here"
        );
        println!("SKIPPED a_disk_that_fills_up: no file system can be mounted here");
        return;
    };
    let settings = Settings::new(mount.join("data"));
    let (mut acknowledged, mut next) = (Vec::new(), 1);
    for round in 1..=ROUNDS {
        let engine = SledEngine::open(&settings, Arc::new(Unheard));
        let engine = engine.unwrap_or_else(|error| panic!("round {round}: {error}"));
        for number in &acknowledged {
            for part in 0..8 {
                let found = engine.get(&key(*number, part)).unwrap();
                assert!(
                    found.is_some_and(|found| found[..] == value(*number)[..]),
                    "round {round}: turn {number} was acknowledged and is gone"
                );
            }
        }
        let before = acknowledged.len();
        let error = fill(&engine, &mut next, &mut acknowledged);
        assert!(
            matches!(error, Error::Full { .. }),
            "round {round}: {error}"
        );
        assert!(acknowledged.len() > before, "round {round}: there was room");
        assert!(engine.close().is_err(), "what lay in line is lost");
        small.grow(FIRST_MIB + MORE_MIB * round);
    }
    println!(
        "{ROUNDS} times full, {} turns acknowledged, all found",
        acknowledged.len()
    );
}
