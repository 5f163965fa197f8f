//! Room that was used once is used again: a store that is filled and emptied over and over does not
//! grow on the disk.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "test code outside of test functions, and figures that must be seen"
)]

use std::sync::Arc;

use umbel_store::{Commit, Engine, Error, Listener, Settings, SledEngine, WriteBatch};

/// Values of one round, and their length: 16 MiB in all.
const VALUES: u64 = 512;
const VALUE_BYTES: usize = 32 << 10;
/// Keys of one batch.
const STEP: u64 = 16;

struct Unheard;

impl Listener for Unheard {
    fn durable(&self, _: u64) {}

    fn committed(&self, _: &Commit) {}

    fn failed(&self, _: &Error) {}

    fn fenced(&self, _: &Error) {}
}

fn key(round: u64, number: u64) -> Vec<u8> {
    [round.to_be_bytes(), number.to_be_bytes()].concat()
}

/// One batch after the other for all keys of a round, each durable before the next.
fn each(engine: &SledEngine, turn: &mut u64, mut change: impl FnMut(&mut WriteBatch, u64)) {
    for first in (0..VALUES).step_by(STEP as usize) {
        let mut batch = WriteBatch::numbered(*turn);
        for number in first..first + STEP {
            change(&mut batch, number);
        }
        engine.submit(batch);
        *turn += 1;
        engine.settle().unwrap();
    }
}

/// `UMBEL_REUSE_ROUNDS` makes it longer.
#[test]
fn a_store_that_is_filled_and_emptied_again_and_again_stays_as_large() {
    let rounds = std::env::var("UMBEL_REUSE_ROUNDS").map_or(12, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::new(dir.path().join("data"));
    let mut engine = SledEngine::open(&settings, Arc::new(Unheard)).unwrap();
    let (mut turn, mut sizes) = (1, Vec::new());
    for round in 0..rounds {
        each(&engine, &mut turn, |batch, number| {
            // Nothing of it is like another, nor can it be made small.
            let value = (number..).take(VALUE_BYTES / 8).map(|word| {
                (word ^ (round << 32))
                    .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                    .to_be_bytes()
            });
            batch
                .put(key(round, number), value.flatten().collect::<Vec<u8>>())
                .unwrap();
        });
        each(&engine, &mut turn, |batch, number| {
            batch.delete(key(round, number));
        });
        if round % 4 == 3 {
            // A restart forgets no free room.
            engine.close().unwrap();
            engine = SledEngine::open(&settings, Arc::new(Unheard)).unwrap();
        }
        sizes.push(engine.stats().disk_bytes.unwrap() >> 20);
    }
    println!("{rounds} rounds of 16 MiB, on the disk after each, in MiB: {sizes:?}");
    let (early, late) = sizes.split_at(sizes.len() / 2);
    let (early, late) = (early.iter().max().unwrap(), late.iter().max().unwrap());
    assert!(
        *late <= early + 32,
        "it grew from {early} to {late} MiB: {sizes:?}"
    );
    assert!(
        *late <= 16 * rounds / 2,
        "{late} MiB of {} written",
        16 * rounds
    );
}
