//! `umbel bench all`: every scenario with the bounds that umbel sets itself, on two cores.

use super::published::OwnArgs;
use super::{
    Scenario, calls, coldstart, fanout, invoke, jobs, mixed, restart, sessions, single, spin,
};

pub(super) const HELP: &str = "\
Runs every scenario with its numbers below and prints which bounds are kept. The bounds are for an
idle machine of two cores. Takes some minutes; --only chooses by a part of the name.

  fanout-1m, fanout-10m, fanout-100-jobs, range-1m, range-10m, range-100m, invoke, single, spin,
  mixed, sessions, jobs, calls, coldstart, restart, restart-retrying

Examples:
  umbel bench all --output json > figures.json
  umbel bench all --only fanout --only range-1m --compare figures.json";

/// What the command takes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// Only scenarios whose name has this in it; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(super) only: Vec<String>,
}

/// A scenario by a short name, with what must hold of its figures.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) scenario: Scenario,
    /// A figure, what it must be, and what it should be.
    pub(super) bars: &'static [(&'static str, f64, f64)],
}

impl Args {
    /// The rows that were asked for.
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows = rows();
        if !self.only.is_empty() {
            rows.retain(|row| self.only.iter().any(|part| row.name.contains(part)));
        }
        rows
    }
}

const MIB: f64 = 1_048_576.0;

/// All of them.
fn rows() -> Vec<Row> {
    let mut rows = fan_outs();
    rows.extend(latencies());
    rows.extend(loads());
    rows
}

fn fan_outs() -> Vec<Row> {
    let fanout = |n, jobs, range| {
        Scenario::Fanout(fanout::Args {
            n,
            workers: 2,
            slots: 1,
            jobs,
            range,
        })
    };
    let row = |name, scenario, bars| Row {
        name,
        scenario,
        bars,
    };
    const RATE: (&str, f64, f64) = ("invocations_per_second", 500e3, 1e6);
    const CPU: (&str, f64, f64) = ("invocation_cpu_us", 4.0, 1.5);
    const COORDINATOR: (&str, f64, f64) = ("invocation_coordinator_cpu_us", 1.0, 0.3);
    const MEMORY: (&str, f64, f64) = ("coordinator_memory_peak_bytes", 300.0 * MIB, 100.0 * MIB);
    const MEMORY_100M: (&str, f64, f64) =
        ("coordinator_memory_peak_bytes", 500.0 * MIB, 200.0 * MIB);
    // A job over a range has no inputs on the disk.
    const DISK: (&str, f64, f64) = ("invocation_disk_bytes", 32.0, 12.0);
    vec![
        row(
            "fanout-1m",
            fanout(1_000_000, 1, false),
            &[RATE, CPU, COORDINATOR],
        ),
        row("fanout-10m", fanout(10_000_000, 1, false), &[CPU, MEMORY]),
        row("fanout-100-jobs", fanout(1_000_000, 100, false), &[CPU]),
        row("range-1m", fanout(1_000_000, 1, true), &[CPU, DISK]),
        row(
            "range-10m",
            fanout(10_000_000, 1, true),
            &[CPU, MEMORY, DISK],
        ),
        row(
            "range-100m",
            fanout(100_000_000, 1, true),
            &[CPU, MEMORY_100M, DISK],
        ),
    ]
}

fn latencies() -> Vec<Row> {
    vec![
        Row {
            name: "invoke",
            scenario: Scenario::Invoke(invoke::Args { n: 5_000 }),
            bars: &[
                ("latency_p50_us", 1_000.0, 300.0),
                ("latency_p99_us", 5_000.0, 2_000.0),
            ],
        },
        Row {
            name: "single",
            scenario: Scenario::Single(single::Args { n: 300 }),
            bars: &[("latency_p50_us", 5_000.0, 2_000.0)],
        },
        Row {
            name: "coldstart",
            scenario: Scenario::Coldstart(coldstart::Args {
                n: 20,
                runtimes: Vec::new(),
                own: OwnArgs::default(),
            }),
            bars: &[
                ("lambda_cold_p50_us", 30e3, 20e3),
                ("python_cold_p50_us", 150e3, 100e3),
                ("wasm_cold_p50_us", 3e3, 2e3),
            ],
        },
        Row {
            name: "restart",
            scenario: Scenario::Restart(restart::Args {
                n: 1_000_000,
                jobs: 1,
                left: restart::Left::Fresh,
            }),
            bars: &[("restart_seconds", 5.0, 1.0)],
        },
        Row {
            name: "restart-retrying",
            scenario: Scenario::Restart(restart::Args {
                n: 1_000_000,
                jobs: 16,
                left: restart::Left::Retrying,
            }),
            bars: &[("restart_seconds", 5.0, 1.0)],
        },
    ]
}

fn loads() -> Vec<Row> {
    vec![
        Row {
            name: "spin",
            scenario: Scenario::Spin(spin::Args {
                n: 10_000,
                us: 1_000,
                workers: 2,
            }),
            bars: &[("wall_efficiency", 0.95, 0.98)],
        },
        Row {
            name: "mixed",
            scenario: Scenario::Mixed(mixed::Args {
                n: 2_000,
                workers: 2,
            }),
            bars: &[("wall_efficiency", 0.90, 0.95)],
        },
        Row {
            name: "sessions",
            scenario: Scenario::Sessions(sessions::Args {
                sessions: 1_000,
                n: 1_000_000,
            }),
            bars: &[("slowdown", 2.0, 1.2)],
        },
        Row {
            name: "jobs",
            scenario: Scenario::Jobs(jobs::Args {
                n: 10_000,
                inputs: 100,
                clients: 16,
                at_once: 16,
                workers: 2,
            }),
            bars: &[("jobs_per_second", 1_000.0, 3_000.0)],
        },
        Row {
            name: "calls",
            scenario: Scenario::Calls(calls::Args {
                n: 20_000,
                slots: 2,
                runtimes: Vec::new(),
                own: OwnArgs::default(),
            }),
            bars: &[
                ("exec_calls_per_second", 500.0, 750.0),
                ("python_calls_per_second", 3_000.0, 4_500.0),
                ("lambda_calls_per_second", 6_000.0, 9_000.0),
                ("wasm_calls_per_second", 20_000.0, 30_000.0),
            ],
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_row() {
        for row in rows() {
            assert!(HELP.contains(row.name), "{}", row.name);
        }
    }

    #[test]
    fn rows_are_chosen_by_a_part_of_their_name() {
        let only = |part: &str| Args {
            only: vec![part.to_owned()],
        };
        assert_eq!(only("range-1").rows().len(), 3);
        assert_eq!(only("nothing").rows().len(), 0);
    }
}
