//! Workers and the coordinator are killed at random; nothing is lost.

use crate::cluster::{Cluster, eventually};

/// A small generator of our own, so that a failure can be run again with its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn seed() -> u64 {
    match std::env::var("UMBEL_TEST_SEED") {
        Ok(text) => text.parse().expect("UMBEL_TEST_SEED is a number"),
        Err(_) => u64::from(std::process::id()),
    }
}

const TOTAL: u64 = 100_000;

/// Microseconds of CPU for input i: all are told apart often enough that a swapped
/// output would be seen.
fn spin_us(index: u64) -> u64 {
    60 + index * 7 % 100
}

#[test]
fn ten_kills_at_random_lose_nothing_and_record_nothing_twice() {
    let seed = seed();
    let mut dice = Dice(seed);
    let mut cluster = Cluster::with_workers(4, 1);
    let inputs = cluster.inputs((0..TOTAL).map(|i| spin_us(i).to_string()));
    let inputs = inputs.to_str().expect("UTF-8");
    let id = cluster.run(&["job", "submit", "umbel.spin", "--inputs", inputs]);
    let id = id.trim();

    for kill in 0..10u64 {
        // Kills are spread over the job by its progress, not by time.
        let due = kill * TOTAL / 12;
        let finished = || {
            let job = cluster.job(id);
            Some(job["counts"]["succeeded"].as_u64()?).filter(|&done| done >= due)
        };
        eventually(&format!("{due} have succeeded (seed {seed})"), finished);
        let victim = dice.below(5);
        if victim == 4 {
            cluster.restart_coordinator();
        } else {
            let number = usize::try_from(victim).expect("a small number");
            cluster.workers[number].kill();
            // Another name: the old one is taken until its holder counts as lost.
            let name = format!("w{number}-{kill}");
            cluster.workers[number] = cluster.spawn_worker(&name, 1, &[]);
        }
    }

    let job = cluster.ended(id);
    assert_eq!(job["state"], "succeeded", "seed {seed}: {job}");
    assert_eq!(job["counts"]["succeeded"], TOTAL, "seed {seed}: {job}");
    let results = cluster.results(id);
    assert_eq!(
        results.len() as u64,
        TOTAL,
        "seed {seed}: each index has one result"
    );
    for (index, result) in (0u64..).zip(&results) {
        assert_eq!(result["index"], index, "seed {seed}: {result}");
        assert_eq!(result["output"], spin_us(index), "seed {seed}: {result}");
    }
    let completed = cluster.run(&["job", "results", id, "--as-completed", "--output", "json"]);
    let mut seen = vec![false; results.len()];
    for line in completed.lines() {
        let result: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let index = usize::try_from(result["index"].as_u64().expect("an index")).expect("small");
        assert!(
            !std::mem::replace(&mut seen[index], true),
            "seed {seed}: {index} recorded twice"
        );
    }
    assert!(
        seen.into_iter().all(|seen| seen),
        "seed {seed}: a result is missing"
    );
}
