//! Whole clusters on one thread from one seed, with faults, and checks that stand
//! apart from what they check. `README.md` beside this says what is simulated, what is
//! checked, and which deliberate bugs the checks have found.

mod agenda;
mod bug;
mod calm;
mod client;
mod dice;
mod disk;
mod function;
mod life;
mod load;
mod model;
mod moves;
mod mutate;
mod net;
mod plan;
mod publish;
mod redrive;
mod route;
mod runner;
mod seat;
mod session;
mod shell;
mod slots;
mod trace;
mod wire;
mod world;

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use bug::Bug;
use clap::{Parser, Subcommand};
use dice::Dice;
use plan::Plan;
use world::Figures;

/// Seeds that are tried for a deliberate bug.
const BUG_SEEDS_MAX: u64 = 5_000;

/// Simulates clusters of umbel.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs one seed twice, and tells what was violated.
    Run {
        seed: u64,
        /// Without routes and rollouts, as seeds were drawn before there were any.
        #[arg(long)]
        plain: bool,
        /// Prints all that happens.
        #[arg(short, long)]
        verbose: bool,
        /// Makes a failing plan smaller and prints it.
        #[arg(long)]
        shrink: bool,
    },
    /// Runs seeds for some minutes, or so many of them.
    Soak {
        minutes: f64,
        /// The first seed; otherwise the clock chooses.
        #[arg(long)]
        from: Option<u64>,
        /// At most so many seeds.
        #[arg(long)]
        seeds: Option<u64>,
        /// Goes on behind a failure.
        #[arg(long)]
        keep_going: bool,
    },
    /// Runs the seeds of a file, one a line.
    Replay { file: std::path::PathBuf },
    /// Tries every deliberate bug, or those named, until it is found.
    Bugs { names: Vec<String> },
}

#[expect(clippy::print_stdout, reason = "a simulator says what it found")]
fn say(words: &str) {
    println!("{words}");
}

fn main() -> ExitCode {
    runner::hush_panics();
    let good = match Cli::parse().command {
        Command::Run {
            seed,
            plain,
            verbose,
            shrink,
        } => one((seed, plain), verbose, shrink),
        Command::Soak {
            minutes,
            from,
            seeds,
            keep_going,
        } => soak(minutes, from, seeds, keep_going),
        Command::Replay { file } => replay(&file),
        Command::Bugs { names } => bugs(&names),
    };
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn one((seed, plain): (u64, bool), verbose: bool, shrink: bool) -> bool {
    let plan = drawn(seed, plain);
    let found = if verbose {
        runner::run(&plan, None, true)
    } else {
        runner::run_twice(&plan, true)
    };
    match found {
        Ok(figures) => {
            say(&format!("seed {seed} holds: {figures:?}"));
            true
        }
        Err(what) => {
            say(&format!("seed {seed} fails: {what}"));
            if shrink {
                let plan = runner::shrink(plan, None);
                let small = runner::run(&plan, None, verbose);
                say(&format!("smaller: {small:?}\n{}", runner::describe(&plan)));
            }
            false
        }
    }
}

fn drawn(seed: u64, plain: bool) -> Plan {
    if plain {
        Plan::plain(seed)
    } else {
        Plan::draw(seed)
    }
}

/// The seeds of a file, each with whether it is drawn without routes.
fn listed(text: &str) -> impl Iterator<Item = (u64, bool)> {
    text.lines().filter_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        Some((words.next()?.parse().ok()?, words.next() == Some("plain")))
    })
}

fn soak(minutes: f64, from: Option<u64>, seeds: Option<u64>, keep_going: bool) -> bool {
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let clock = clock.map_or(1, |since| since.as_secs());
    let first = from.unwrap_or_else(|| Dice::new(clock).roll() >> 32);
    let began = Instant::now();
    let span = Duration::from_secs_f64(minutes * 60.0);
    let (mut run, mut failed, mut sum) = (0, 0, Figures::default());
    while began.elapsed() < span && seeds.is_none_or(|seeds| run < seeds) {
        let seed = first + run;
        run += 1;
        // Every tenth proves that it depends on nothing but its seed.
        match runner::run_twice(&Plan::draw(seed), run.is_multiple_of(10)) {
            Ok(figures) => sum.add(figures),
            Err(what) => {
                failed += 1;
                say(&format!("seed {seed} fails: {what}"));
                if !keep_going {
                    break;
                }
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let simulated_h = sum.ended_ms / 3_600_000;
    say(&format!(
        "{run} seeds from {first}, {failed} failed, in {seconds:.1} s: {:.1} clusters a second; \
         {simulated_h} h simulated, {} coordinator crashes, {} turns, {} messages, {} executions, \
         {} happenings",
        run as f64 / seconds,
        sum.crashes,
        sum.turns,
        sum.messages,
        sum.executions,
        sum.happenings,
    ));
    failed == 0
}

fn replay(file: &std::path::Path) -> bool {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            say(&format!("cannot read {}: {error}", file.display()));
            return false;
        }
    };
    let mut good = true;
    for seed in listed(&text) {
        good &= one(seed, false, false);
    }
    good
}

fn bugs(names: &[String]) -> bool {
    let mut good = true;
    for bug in Bug::ALL {
        let name = format!("{bug:?}");
        if !names.is_empty() && !names.contains(&name) {
            continue;
        }
        let began = Instant::now();
        let fails = |seed: &u64| runner::run(&Plan::draw(*seed), Some(bug), false).is_err();
        let found = (1..=BUG_SEEDS_MAX).find(fails);
        let seconds = began.elapsed().as_secs_f64();
        match found {
            Some(seed) => {
                let what = runner::run(&Plan::draw(seed), Some(bug), false);
                let what = what.err().unwrap_or_default();
                let what = what.lines().next().unwrap_or_default().to_owned();
                say(&format!("| `{name}` | {seed} | {seconds:.1} | {what} |"));
            }
            None => {
                good = false;
                say(&format!(
                    "| `{name}` | not within {BUG_SEEDS_MAX} | {seconds:.1} | |"
                ));
            }
        }
    }
    good
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seeds of the gate: a fixed run of small numbers, and those that once failed.
    const SEEDS: &str = include_str!("../seeds.txt");

    #[test]
    fn the_fixed_seeds_hold() {
        runner::hush_panics();
        let seeds = listed(SEEDS).chain((1..=60).map(|seed| (seed, false)));
        let mut failures = Vec::new();
        for (seed, plain) in seeds {
            let plan = drawn(seed, plain);
            if let Err(what) = runner::run_twice(&plan, seed.is_multiple_of(5)) {
                failures.push(format!("seed {seed}: {what}"));
            }
        }
        // What failed is to be heard.
        drop(std::panic::take_hook());
        assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    }
}
