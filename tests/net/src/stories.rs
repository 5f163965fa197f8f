//! What must hold, fault by fault, and for whatever the seeds of the gate draw.

use crate::faults::{Fault, Step, WORKERS};
use crate::world::{self, Figures, Scene};

/// One fault to all workers, from one time to another.
fn to_all_workers(fault: impl Fn(&'static str) -> Fault, from_ms: u64, to_ms: u64) -> Vec<Step> {
    let mut steps = Vec::new();
    for (at_ms, begins) in [(from_ms, true), (to_ms, false)] {
        steps.extend(WORKERS.map(|worker| Step {
            at_ms,
            fault: fault(worker),
            begins,
        }));
    }
    steps
}

/// Plays two seeds; every result must be exact.
fn play(steps: &[Step], lease_timeout_ms: u64) -> Figures {
    let mut sum = Figures::default();
    for seed in [1, 2] {
        let steps = steps.to_vec();
        let (ended, trace) = world::play(&Scene {
            seed,
            steps,
            lease_timeout_ms,
        });
        match ended {
            Ok(figures) => sum.add(figures),
            Err(what) => panic!("seed {seed}: {what}\n{}", trace.join("\n")),
        }
    }
    sum
}

#[test]
fn a_network_that_is_slow_for_seconds_costs_nobody_an_attempt() {
    let figures = play(&to_all_workers(Fault::Hold, 300, 6_300), 10_000);
    assert_eq!(figures.reruns, 0, "{figures:?}");
}

/// The worker's own keepalive ends its session after ten seconds at most; the coordinator's would
/// notice after twenty. So the new session supersedes the old one, and keeps what it holds.
#[test]
fn a_worker_that_comes_back_by_a_new_connection_keeps_its_leases() {
    let figures = play(&to_all_workers(Fault::Partition, 300, 12_300), 60_000);
    assert_eq!(figures.reruns, 0, "{figures:?}");
}

#[test]
fn a_worker_that_hears_nothing_notices_and_comes_back_with_what_it_holds() {
    let figures = play(&to_all_workers(Fault::Deaf, 300, 12_300), 60_000);
    assert_eq!(figures.reruns, 0, "{figures:?}");
}

/// Two of the three workers stay silent for longer than everything takes.
#[test]
fn what_a_silent_worker_holds_is_done_by_another() {
    let mut steps = to_all_workers(Fault::Mute, 300, 300_000);
    steps.retain(|step| !matches!(step.fault, Fault::Mute("w2")));
    let figures = play(&steps, 10_000);
    assert!(figures.simulated_ms < 2 * 100_000, "{figures:?}");
}

/// A share of the seeds of the gate.
fn seeds(share: u64) {
    for seed in share * 16..(share + 1) * 16 {
        let (ended, trace) = world::run(seed);
        let told = trace.join("\n");
        assert!(ended.is_ok(), "seed {seed}: {ended:?}\n{told}");
    }
}

// In three shares, so that they run side by side.
#[test]
fn whatever_the_network_does_every_result_is_exact_1() {
    seeds(0);
}

#[test]
fn whatever_the_network_does_every_result_is_exact_2() {
    seeds(1);
}

#[test]
fn whatever_the_network_does_every_result_is_exact_3() {
    seeds(2);
}
