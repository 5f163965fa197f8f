//! One input that kills whichever worker runs it fails alone.

use crate::cluster::{Cluster, eventually};

const TOTAL: u64 = 10_000;
const POISON: u64 = 4_321;

#[test]
fn one_poison_input_among_ten_thousand_fails_alone() {
    let mut cluster = Cluster::start();
    // `umbel.crash` echoes numbers other than 0 and ends its worker on anything else:
    // a function that dies of one input is what a real bug looks like.
    let id = {
        let input = |i: u64| {
            if i == POISON {
                "poison".to_owned()
            } else {
                (i + 1).to_string()
            }
        };
        let inputs = cluster.inputs((0..TOTAL).map(input));
        let inputs = inputs.to_str().expect("UTF-8");
        cluster.run(&[
            "job",
            "submit",
            "umbel.crash",
            "--inputs",
            inputs,
            "--max-attempts",
            "1",
        ])
    };
    let id = id.trim();
    let mut started = 0;
    let mut workers = Vec::new();
    let job = eventually("the job ends though its workers die", || {
        workers.retain_mut(|worker: &mut crate::cluster::Process| !worker.is_gone());
        while workers.len() < 2 {
            started += 1;
            workers.push(cluster.spawn_worker(&format!("w{started}"), 1, &["--allow-crash"]));
        }
        Some(cluster.job(id)).filter(|job| job["state"] != "running")
    });
    cluster.workers = workers;
    assert_eq!(job["counts"]["succeeded"], TOTAL - 1, "{job}");
    assert_eq!(job["counts"]["failed"], 1, "{job}");
    let failed = cluster.run(&[
        "job", "results", id, "--state", "failed", "--output", "json",
    ]);
    let failed: serde_json::Value = serde_json::from_str(&failed).expect("one line of JSON");
    assert_eq!(failed["index"], POISON);
    assert_eq!(failed["failure"]["kind"], "crashed", "{failed}");
}
