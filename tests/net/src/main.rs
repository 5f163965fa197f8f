//! The real services, sessions and clients over a simulated network, from one seed: turmoil
//! carries the bytes and the clocks, faults are drawn, and every result must be exact in the end.
//! `README.md` beside this says what is real, what is simulated, and what the seed decides.

mod client;
mod coordinator;
mod dice;
mod faults;
#[cfg(test)]
mod stories;
mod trace;
mod wire;
mod worker;
mod world;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use world::Figures;

/// Runs umbel over a simulated network.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs one seed twice, prints what happened, and tells whether both were the same.
    Run { seed: u64 },
    /// Runs seeds for some minutes.
    Soak {
        minutes: f64,
        /// The first seed.
        #[arg(long, default_value_t = 1_000)]
        from: u64,
    },
}

#[expect(clippy::print_stdout, reason = "a simulator says what it found")]
fn say(words: &str) {
    println!("{words}");
}

fn main() -> ExitCode {
    let good = match Cli::parse().command {
        Command::Run { seed } => one(seed),
        Command::Soak { minutes, from } => soak(minutes, from),
    };
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn one(seed: u64) -> bool {
    let (ended, trace) = world::run(seed);
    let (_, again) = world::run(seed);
    say(&trace.join("\n"));
    match &ended {
        Ok(figures) => say(&format!("seed {seed} holds: {figures:?}")),
        Err(what) => say(&format!("seed {seed} fails: {what}")),
    }
    if trace != again {
        say(&format!(
            "the second run was another:\n{}",
            again.join("\n")
        ));
    }
    ended.is_ok()
}

fn soak(minutes: f64, from: u64) -> bool {
    let (began, span) = (Instant::now(), Duration::from_secs_f64(minutes * 60.0));
    let (mut seed, mut sum) = (from, Figures::default());
    while began.elapsed() < span {
        match world::run(seed) {
            (Ok(figures), _) => sum.add(figures),
            (Err(what), trace) => {
                say(&format!("{}\nseed {seed} fails: {what}", trace.join("\n")));
                return false;
            }
        }
        seed += 1;
    }
    let seconds = began.elapsed().as_secs_f64();
    say(&format!(
        "{} seeds from {from} hold, in {seconds:.0} s: {sum:?}",
        seed - from
    ));
    true
}
