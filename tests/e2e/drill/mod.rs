//! Everything that can die is killed, stopped, cut off or starved at random while jobs of all
//! shapes run; in the end every job has ended, every output is exact and each result is there
//! once, the data check clean, and no process is left.
//!
//! `UMBEL_TEST_SEED=N` runs one again, `UMBEL_DRILL_MINUTES=N` goes on for so long. One that fails
//! shows its table too, and leaves data and logs.

mod fault;
mod fleet;
mod job;
mod proxy;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fleet::Fleet;

/// Rounds of a run whose length nobody chose: each fault comes at least once.
const ROUNDS: usize = 20;
/// After so many rounds all jobs are waited for, and the data looked through.
const SETTLE_EVERY: usize = 20;

/// A generator of our own, so that a drill can be run again with its seed.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    pub(crate) fn pick(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("a small number")
    }
}

/// What was done how often.
#[derive(Debug, Default)]
pub(crate) struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    pub(crate) fn add(&mut self, what: &'static str, count: u64) {
        *self.0.entry(what).or_default() += count;
    }

    /// As a table for a document.
    pub(crate) fn show(&self) {
        say("| what was done | how often |\n|---|---|");
        for (what, count) in &self.0 {
            say(&format!("| {what} | {count} |"));
        }
    }
}

fn seed() -> u64 {
    let given = std::env::var("UMBEL_TEST_SEED").ok();
    given.map_or_else(
        || u64::from(std::process::id()),
        |text| text.parse().expect("UMBEL_TEST_SEED is a number"),
    )
}

#[expect(
    clippy::print_stderr,
    reason = "a drill says what it did, also when it fails"
)]
fn say(words: &str) {
    eprintln!("{words}");
}

#[test]
fn whatever_dies_every_job_ends_with_every_result() {
    let seed = seed();
    let minutes = std::env::var("UMBEL_DRILL_MINUTES").ok();
    let minutes: Option<f64> = minutes.map(|text| text.parse().expect("a number of minutes"));
    let until = minutes.map(|minutes| Instant::now() + Duration::from_secs_f64(minutes * 60.0));
    say(&format!("drill with seed {seed}"));
    let began = Instant::now();
    let mut fleet = Fleet::start(seed);
    let mut deck = Vec::new();
    let mut round = 0;
    while until.map_or(round < ROUNDS, |until| Instant::now() < until) {
        round += 1;
        while fleet.jobs.len() < 4 {
            job::submit(&mut fleet);
        }
        if deck.is_empty() {
            deck = fault::deck(&mut fleet.dice);
        }
        let fault = deck.pop().expect("it is not empty");
        if until.is_some() {
            say(&format!("round {round}: {fault:?}"));
        }
        fault::carry_out(&mut fleet, fault);
        job::judge_ended(&mut fleet);
        if round.is_multiple_of(SETTLE_EVERY) {
            fleet.settle();
        }
    }
    fleet.settle();
    let tally = fleet.end();
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    say(&format!(
        "drill with seed {seed}: {round} rounds in {minutes:.1} minutes\n"
    ));
    tally.show();
}
